"""Videos and stills to shards of tracked frames."""

import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.data import prepare as module
from difffae.data.prepare import Preparation, prepare
from difffae.data.shards import ShardReader
from difffae.data.video import read_clip

FOMM, MP4 = "man#carphone#000000#000024", "man#carphone#000060#000084"
NOSE = 1


def test_each_clip_becomes_a_shard_and_the_stills_another(frames: Path) -> None:
    names = sorted(path.name for path in frames.iterdir())
    assert names[:2] == [f"frames-{FOMM}.safetensors", f"frames-{MP4}.safetensors"]
    assert names[2].startswith("frames-stills-media")
    assert names[3:] == ["report.jsonl"]


def test_frames_of_clips_carry_person_clip_and_number(frames: Path) -> None:
    reader = ShardReader(frames, "frames")
    assert reader.labels("person")[:12] == ["man"] * 12
    assert reader.labels("clip")[:12] == [f"{FOMM}.mp4"] * 6 + [f"{MP4}.mp4"] * 6
    assert reader.column("frame")[:12].tolist() == [0, 4, 8, 12, 16, 20] * 2


def test_each_still_is_a_person_of_its_own(frames: Path, openpeople: list[Path]) -> None:
    reader = ShardReader(frames, "frames-stills")
    wanted = [path.parents[1].name for path in openpeople[:3]]
    assert reader.labels("person") == reader.labels("clip") == wanted


def test_stills_whose_names_begin_alike_are_of_one_person(
    openpeople: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, path in zip(("a#laughs", "a#neutral", "b"), openpeople, strict=False):
        shutil.copyfile(path, folder / f"{name}.jpg")
    prepare(Preparation(folder=folder, output=tmp_path / "out"))
    reader = ShardReader(tmp_path / "out", "frames")
    assert reader.labels("person") == reader.labels("clip") == ["a", "a", "b"]


def test_every_picture_shows_its_points_and_its_person(frames: Path) -> None:
    reader = ShardReader(frames, "frames")
    for index in range(len(reader)):
        image, points = reader.picture("image", index), reader.row("points", index)
        mask = reader.picture("person_mask", index)[..., 0]
        assert image.shape == (256, 256, 3)
        assert points.shape == (478, 3)
        assert (points[:, :2] > 0).all()
        assert (points[:, :2] < 256).all()
        assert points[33, 0] < points[263, 0]  # the subject's right eye is left in the picture
        x, y = np.rint(points[NOSE, :2]).astype(int)
        assert mask[y, x] > 200
        assert mask[:8, :8].mean() < 60


def test_frames_of_a_wide_video_are_cut_square_and_enlarged(frames: Path, media: Path) -> None:
    first = next(read_clip(media / f"{FOMM}.mp4"))
    assert first.shape == (144, 176, 3)
    wanted = cv2.resize(first[:, 16:160], (256, 256), interpolation=cv2.INTER_CUBIC)
    shown = ShardReader(frames, "frames").picture("image", 0)
    assert np.abs(shown.astype(float) - wanted).mean() < 3


def test_a_folder_of_pngs_and_a_video_of_the_same_frames_read_alike(
    media: Path, tmp_path: Path, mp4_writer: Callable[[Path, list[NDArray[np.uint8]]], None]
) -> None:
    from_pngs = list(read_clip(media / f"{FOMM}.mp4"))[:6]
    mp4_writer(tmp_path / "same.mp4", from_pngs)
    from_mp4 = list(read_clip(tmp_path / "same.mp4"))
    assert len(from_mp4) == 6
    for one, other in zip(from_pngs, from_mp4, strict=True):
        assert np.abs(one.astype(float) - other).mean() < 4


def test_what_cannot_be_used_is_left_out_with_a_warning(
    media: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    whole = (media / f"{MP4}.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[:300])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.png").write_text("no picture", "utf-8")
    grey = np.full((128, 128, 3), 127, np.uint8)
    cv2.imwrite(str(folder / "grey.png"), grey)
    (folder / "faceless.mp4").mkdir()
    cv2.imwrite(str(folder / "faceless.mp4" / "0000000.png"), grey)
    portrait = cv2.imread(str(sorted(media.glob("P*.jpg"))[0]))
    cv2.imwrite(str(folder / "two.jpg"), np.concatenate([portrait, portrait], 1))
    shutil.copyfile(sorted(media.glob("P*.jpg"))[1], folder / "good.jpg")
    with caplog.at_level(logging.WARNING, "difffae.data.report"):
        summary = prepare(Preparation(folder=folder, output=tmp_path / "out"))
    assert (summary.written, summary.kept, summary.rejected) == (1, 0, 6)
    said = "\n".join(caplog.messages)
    for wanted in (
        "cut.mp4: not a readable video (",
        "empty.mp4: an empty file, left out",
        "faceless.mp4: no face, left out",
        "text.png: not a picture, left out",
        "grey.png: 0 faces, left out",
        "two.jpg: 2 faces, left out",
    ):
        assert wanted in said
    assert ShardReader(tmp_path / "out", "frames").labels("person") == ["good"]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["frames-stills-mixed-000000.safetensors", "report.jsonl"]


def test_shards_already_there_are_kept(frames: Path, media: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in frames.iterdir()}
    summary = prepare(Preparation(folder=media, output=frames, stride=4))
    assert (summary.written, summary.kept, summary.rejected) == (0, 5, 0)
    assert {path: path.stat().st_mtime_ns for path in frames.iterdir()} == before


def test_a_table_picks_the_clips_of_one_split(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "clips.csv"
    table.write_text(f"file,split\n{FOMM}.mp4,test\n{MP4}.mp4,train\n", "utf-8")
    arguments = [str(media), str(tmp_path / "out"), "--stride", "12", "--csv", str(table)]
    monkeypatch.setattr(sys, "argv", ["prepare", *arguments])
    module.main()
    assert [path.stem for path in (tmp_path / "out").glob("frames-*")] == [f"frames-{MP4}"]
    assert ShardReader(tmp_path / "out", "frames").column("frame").tolist() == [0, 12]


def test_a_folder_without_media_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="no videos and no pictures in"):
        prepare(Preparation(folder=tmp_path, output=tmp_path / "out"))
    monkeypatch.setattr(sys, "argv", ["prepare", str(tmp_path), str(tmp_path / "out")])
    with pytest.raises(SystemExit) as raised:
        module.main()
    assert raised.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"in {tmp_path}")
