"""VoxCeleb1 in FOMM's form, from a table and videos with known pixels."""

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.data import prepare as module
from difffae.data.boxes import Box
from difffae.data.prepare import Preparation, prepare
from difffae.data.report import Summary
from difffae.data.shards import ShardReader
from difffae.data.split import read_clips
from difffae.data.video import read_clip
from difffae.data.voxceleb import read_rows

HEADER = "video_id,start,end,bbox,fps,width,height,partition,person_id"
WriteMp4 = Callable[[Path, list[NDArray[np.uint8]]], None]


def ramp(number: int, width: int = 160, height: int = 90) -> NDArray[np.uint8]:
    """Red grows to the right, green downwards, blue with the frame's number."""
    y, x = np.mgrid[0:height, 0:width]
    values = [240 * x / (width - 1), 240 * y / (height - 1), np.full_like(x, 4 * number)]
    return np.stack(values, -1).astype(np.uint8)


def assert_shows(clip: Path, part: NDArray[np.uint8]) -> None:
    """The first frame of a clip is a part of a picture, resized."""
    frame = next(read_clip(clip))
    wanted = cv2.resize(part, frame.shape[:2], interpolation=cv2.INTER_AREA)
    assert np.abs(frame.astype(int) - wanted).mean() < 4


@dataclass(frozen=True, kw_only=True)
class Source:
    """A folder of videos and a table, recorded at 320×180 and found at 160×90."""

    folder: Path
    table: Path
    output: Path

    def prepare(self, *rows: str, **changes: object) -> Summary:
        self.table.write_text("\n".join([HEADER, *rows]) + "\n", "utf-8")
        job = Preparation(folder=self.folder, output=self.output, table=self.table, form="mp4")
        return prepare(replace(job, **changes))  # type: ignore[arg-type]

    def lines(self, result: str) -> list[dict[str, str]]:
        text = (self.output / "report.jsonl").read_text("utf-8")
        found = [json.loads(line) for line in text.splitlines()]
        return [line for line in found if line.get("result") == result]

    def clips(self) -> list[Path]:
        return sorted(self.output.rglob("*#*.mp4"))


@pytest.fixture
def source(tmp_path: Path, mp4_writer: WriteMp4) -> Source:
    (tmp_path / "in").mkdir()
    mp4_writer(tmp_path / "in" / "vid-a_1.mp4", [ramp(number) for number in range(50)])
    return Source(folder=tmp_path / "in", table=tmp_path / "vox.csv", output=tmp_path / "out")


def test_a_row_becomes_a_clip_with_fomms_name_frames_and_box(source: Source) -> None:
    summary = source.prepare("vid-a_1,10,34,80-20-240-180,25,320,180,train,id1", size=64)
    assert (summary.written, summary.rejected) == (1, 0)
    (clip,) = source.clips()
    assert clip.name == "id1#vid-a_1#000010#000034.mp4"
    frames = list(read_clip(clip))
    assert len(frames) == 24
    for number, frame in zip(range(10, 34), frames, strict=True):
        assert frame.shape == (64, 64, 3)
        wanted = cv2.resize(ramp(number)[10:90, 40:120], (64, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(frame.astype(int) - wanted).mean() < 4
    with av.open(str(clip)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].average_rate == 25


def test_a_box_that_is_not_square_is_stretched_or_on_request_made_square(source: Source) -> None:
    row = "vid-a_1,0,4,80-0-160-180,25,320,180,train,id1"  # 40 by 90 in the video found
    source.prepare(row, size=32)
    assert_shows(source.clips()[0], ramp(0)[:, 40:80])
    whole = replace(source, output=source.output / "square")
    whole.prepare(row, size=32, is_stretched=False)
    assert_shows(whole.clips()[0], ramp(0)[:, 15:105])


def test_a_video_of_another_rate_is_cut_by_time_and_resampled(source: Source) -> None:
    path = source.folder / "fast.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=50, options={"crf": "8"})
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        for number in range(60):
            frame = av.VideoFrame.from_ndarray(ramp(number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    source.prepare("fast,5,15,80-20-240-180,25,320,180,train,id1", size=64)
    blue = [float(frame[..., 2].mean()) / 4 for frame in read_clip(source.clips()[0])]
    assert blue == pytest.approx([2 * number for number in range(5, 15)], abs=1)


def test_a_box_over_the_frames_edge_is_trimmed_as_rows_of_the_real_table_need(
    source: Source,
) -> None:
    summary = source.prepare("vid-a_1,0,4,80-0-240-200,25,320,180,train,id1", size=32)
    assert summary.written == 1
    assert_shows(source.clips()[0], ramp(0)[:, 40:120])


WRONG = {
    "vid-a_1,x,20,0-0-90-90,25,320,180,train,id1": "start 'x' is not a number",
    "vid-a_1,1.5,20,0-0-90-90,25,320,180,train,id1": "start '1.5' is not a whole number",
    "vid-a_1,20,20,0-0-90-90,25,320,180,train,id1": "no frames from 20 to 20",
    "vid-a_1,-4,20,0-0-90-90,25,320,180,train,id1": "no frames from -4 to 20",
    "vid-a_1,0,20,90-0-10-90,25,320,180,train,id1": "bbox 90-0-10-90 is inverted or empty",
    "vid-a_1,0,20,0-0-90,25,320,180,train,id1": "bbox '0-0-90' is not left-top-right-bottom",
    "vid-a_1,0,21,300-0-390-90,25,320,180,train,id1": "lies outside the 320x180 frame",
    "vid-a_1,0,20,0-0-90-90,nan,320,180,train,id1": "fps 'nan' is not a number",
    "vid-a_1,0,20,0-0-90-90,0,320,180,train,id1": "no picture of 320x180 at 0 frames",
    "vid-a_1,0,20,0-0-90-90,25,0,180,train,id1": "no picture of 0x180",
    "vid-a_1,0,20,0-0-90-90,25,320": "no value in column height",
    "vid-a_1,0,20,0-0-90-90,25,320,180,train,": "no value in column person_id",
    "vid-a_1,0,20,0-0-90-90,25,320,180,train,id1,more": "more values than columns",
    "../etc,0,20,0-0-90-90,25,320,180,train,id1": "video_id '../etc' is not of letters",
    "vid-a_1,0,20,0-0-90-90,25,320,180,train,a/b": "person_id 'a/b' is not of letters",
    "vid-a_1,4,24,0-0-90-90,25,320,180,train,id1": "a second row of the same clip",
}
ELSEWHERE = {
    "missing,0,20,0-0-90-90,25,320,180,train,id1": "no video missing in the folder",
    "vid-a_1,0,20,0-0-90-90,25,320,240,train,id1": "the video is 160x90, not of the shape 320x240",
    "vid-a_1,0,22,0-0-40-90,25,320,180,train,id1": "the box is only 20x45 px in this video",
    "vid-a_1,40,90,0-0-90-90,25,320,180,train,id1": "the video ends before: 10 of the clip's 50",
}


def test_every_wrong_row_has_its_reason_and_stops_nothing(source: Source) -> None:
    good = "vid-a_1,4,24,0-0-90-90,25,320,180,train,id1"
    summary = source.prepare(good, *WRONG, *ELSEWHERE, size=32)
    assert (summary.written, summary.rejected) == (1, len(WRONG) + len(ELSEWHERE))
    told = source.lines("rejected")
    by_row = {line["row"]: line["reason"] for line in told if "row" in line}
    for number, reason in enumerate(WRONG.values(), start=3):
        assert reason in by_row[number]  # type: ignore[index]
    others = [line["reason"] for line in told if "row" not in line]
    assert len(others) == len(ELSEWHERE)
    for reason in ELSEWHERE.values():
        assert any(reason in other for other in others)
    assert len(source.clips()) == 1
    assert not list(source.output.rglob("*.partial"))


def test_a_table_without_a_column_is_refused_with_each_row_reported(source: Source) -> None:
    source.table.write_text("video_id,start\nvid-a_1,3\nvid-a_1,9\n", "utf-8")
    with pytest.raises(ValueError, match=r"no usable row in .*no value in column end"):
        prepare(Preparation(folder=source.folder, output=source.output, table=source.table))
    assert len(source.lines("rejected")) == 2


def test_an_empty_or_missing_table_is_refused(source: Source) -> None:
    source.table.write_text(HEADER + "\n", "utf-8")
    with pytest.raises(ValueError, match="no rows in"):
        read_rows(source.table)
    with pytest.raises(ValueError, match=r"no readable table at .*--voxceleb"):
        read_rows(source.table.with_name("none.csv"))


def test_the_models_note_of_the_box_column_is_read_too(tmp_path: Path) -> None:
    header = HEADER.replace("bbox", "bbox(l-t-r-b)")
    (tmp_path / "vox.csv").write_text(f"{header}\na,0,9,1-2-30-40,25,64,64,train,p\n", "utf-8")
    rows, findings = read_rows(tmp_path / "vox.csv")
    assert findings == []
    assert rows[0].box == Box(left=1, top=2, right=30, bottom=40)


def people_rows(count: int) -> list[str]:
    return [
        f"vid-a_1,{number},{number + 4},0-0-90-90,25,320,180,train,id{number}"
        for number in range(count)
    ]


def test_people_are_divided_and_their_clips_lie_apart_with_lists_and_table(
    source: Source,
) -> None:
    source.prepare(*people_rows(10), size=32)
    people = {
        part: {path.name.split("#")[0] for path in (source.output / part).iterdir()}
        for part in ("train", "test")
    }
    assert (len(people["train"]), len(people["test"])) == (8, 2)
    for part in ("train", "test"):
        assert set((source.output / f"{part}.txt").read_text("utf-8").split()) == people[part]
    stored = json.loads((source.output / "split.json").read_text("utf-8"))
    assert stored["clips"] == {"train": 8, "test": 2}
    assert "10 people of vox.csv; VoxCeleb1 has 1251" in stored["population"]
    clips = read_clips(source.output, source.output / "clips.csv", "test")
    assert {clip.person for clip in clips} == people["test"]
    assert {clip.num_frames for clip in clips} == {4}


def test_people_of_the_first_table_stay_when_a_longer_one_follows(source: Source) -> None:
    source.prepare(*people_rows(10), size=32)
    before = {
        part: set((source.output / f"{part}.txt").read_text("utf-8").split())
        for part in ("train", "test")
    }
    summary = source.prepare(*people_rows(20), size=32)
    assert (summary.written, summary.kept) == (10, 10)
    after = {
        part: set((source.output / f"{part}.txt").read_text("utf-8").split())
        for part in ("train", "test")
    }
    assert before["train"] < after["train"]
    assert before["test"] < after["test"]
    assert len(after["test"]) == 4


def test_people_of_videos_not_downloaded_yet_are_divided_too(source: Source) -> None:
    rows = [
        row if k < 5 else row.replace("vid-a_1", f"later{k}")
        for k, row in enumerate(people_rows(10))
    ]
    source.prepare(*rows, size=32)
    stored = json.loads((source.output / "split.json").read_text("utf-8"))
    assert stored["people"] == {"train": 8, "test": 2}
    with (source.output / "clips.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 5


def test_a_second_run_decodes_nothing_and_a_lost_clip_comes_back(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = people_rows(3)
    source.prepare(*rows, size=32)
    before = {path: path.stat().st_mtime_ns for path in source.clips()}
    with monkeypatch.context() as patch:
        patch.setattr("difffae.data.voxceleb.read_clip", None)
        summary = source.prepare(*rows, size=32)
    assert (summary.written, summary.kept) == (0, 3)
    lost = source.clips()[1]
    content = lost.read_bytes()
    lost.unlink()
    summary = source.prepare(*rows, size=32)
    assert (summary.written, summary.kept) == (1, 2)
    assert lost.read_bytes() == content
    kept = {path: time for path, time in before.items() if path != lost}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_where_a_video_breaks_off_the_clips_before_are_written(
    source: Source, carphone: Path
) -> None:
    with (
        av.open(str(carphone)) as whole,
        av.open(
            str(source.folder / "broken.mp4"), "w", container_options={"movflags": "faststart"}
        ) as container,
    ):
        stream = container.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(whole.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    path = source.folder / "broken.mp4"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    early = "broken,0,20,20-0-160-140,25,176,144,train,id1"
    late = "broken,60,98,20-0-160-140,25,176,144,train,id1"
    summary = source.prepare(early, late, size=32)
    assert (summary.written, summary.rejected) == (1, 1)
    assert source.clips()[0].name == "id1#broken#000000#000020.mp4"
    (line,) = source.lines("rejected")
    assert "of the clip's 38 frames" in line["reason"]


def test_png_clips_are_fomms_folders(source: Source) -> None:
    source.prepare("vid-a_1,10,14,80-20-240-180,25,320,180,train,id1", size=64, form="png")
    (clip,) = source.clips()
    assert [path.name for path in sorted(clip.iterdir())] == [f"{n:07d}.png" for n in range(4)]
    wanted = cv2.resize(ramp(12)[10:90, 40:120], (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(list(read_clip(clip))[2].astype(int) - wanted).mean() < 4


def test_clips_go_straight_to_tracked_shards_by_the_command(
    source: Source, mp4_writer: WriteMp4, portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = cv2.resize(cv2.imread(str(portrait)), (256, 256), interpolation=cv2.INTER_AREA)
    mp4_writer(source.folder / "face.mp4", [np.ascontiguousarray(face[..., ::-1])] * 6)
    source.table.write_text(f"{HEADER}\nface,1,5,0-0-512-512,25,512,512,train,id7\n", "utf-8")
    arguments = ["--voxceleb", str(source.table), "--as", "shards", "--size", "128"]
    monkeypatch.setattr(
        sys, "argv", ["prepare", str(source.folder), str(source.output), *arguments]
    )
    module.main()
    reader = ShardReader(source.output / "train", "frames")
    assert reader.labels("person") == ["id7", "id7"]
    assert reader.labels("clip") == ["id7#face#000001#000005.mp4"] * 2
    assert reader.column("frame").tolist() == [0, 2]
    assert reader.picture("image", 0).shape == (128, 128, 3)
    assert 30 < reader.row("points", 0)[1, 0] < 98  # the nose, in the crop's pixels
