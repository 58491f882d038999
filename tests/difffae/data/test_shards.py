"""Shards of pictures and arrays."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.data.shards import (
    CannotWriteError,
    ShardContents,
    ShardReader,
    encode_jpeg,
    write_shard,
)


def picture(tone: int, *, height: int = 32, width: int = 48) -> NDArray[np.uint8]:
    """Red grows to the right, green downwards, blue is the tone: channels must not swap."""
    y, x = np.mgrid[0:height, 0:width]
    blue = np.full_like(x, tone)
    return np.stack([40 + 3 * x, 60 + 4 * y, blue], -1).astype(np.uint8)


def write(path: Path, tones: list[int]) -> None:
    contents = ShardContents(
        pictures={
            "image": [encode_jpeg(picture(tone)) for tone in tones],
            "mask": [encode_jpeg(picture(255 - tone, height=16)) for tone in tones],
        },
        arrays={
            "points": np.array(tones, np.float32)[:, None, None] + np.zeros((1, 5, 3), np.float32),
            "frame": np.array(tones, np.int32),
        },
        labels={"person": [f"person {tone}" for tone in tones]},
    )
    write_shard(path, contents)


def test_pictures_come_back_as_jpeg_keeps_them_and_arrays_exactly(tmp_path: Path) -> None:
    write(tmp_path / "frames-a.safetensors", [10, 90, 200])
    reader = ShardReader(tmp_path, "frames")
    assert len(reader) == 3
    for row, tone in enumerate((10, 90, 200)):
        for name, wanted in (("image", picture(tone)), ("mask", picture(255 - tone, height=16))):
            read = reader.picture(name, row)
            assert read.dtype == np.uint8
            assert read.shape == wanted.shape
            assert np.abs(read.astype(int) - wanted).max() <= 8
        assert reader.row("frame", row) == tone
        assert np.array_equal(reader.row("points", row), np.full((5, 3), tone, np.float32))
    assert reader.labels("person") == ["person 10", "person 90", "person 200"]


def test_samples_of_several_shards_are_counted_on_by_file_name(tmp_path: Path) -> None:
    shards = {"e": [170], "b": [60, 70], "d": [150, 160], "a": [20, 30, 40], "c": [90]}
    for name, written in shards.items():
        write(tmp_path / f"frames-{name}.safetensors", written)
    reader = ShardReader(tmp_path, "frames")
    tones = [20, 30, 40, 60, 70, 90, 150, 160, 170]
    assert len(reader) == len(tones)
    assert reader.column("frame").tolist() == tones
    assert reader.labels("person") == [f"person {tone}" for tone in tones]
    for row, tone in enumerate(tones):
        assert reader.row("frame", row) == tone
        assert reader.picture("image", row)[..., 2].mean() == pytest.approx(tone, abs=2)


def test_shards_of_another_prefix_are_not_read(tmp_path: Path) -> None:
    write(tmp_path / "frames-a.safetensors", [20])
    write(tmp_path / "pairs-a.safetensors", [30, 40])
    assert len(ShardReader(tmp_path, "frames")) == 1
    assert len(ShardReader(tmp_path, "pairs")) == 2


def test_a_shard_without_pictures_counts_its_rows(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float16).reshape(4, 3)
    contents = ShardContents(pictures={}, arrays={"target": array}, labels={})
    write_shard(tmp_path / "latents-0.safetensors", contents)
    reader = ShardReader(tmp_path, "latents")
    assert len(reader) == 4
    assert np.array_equal(reader.row("target", 2), array[2])


def test_a_shard_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "frames-a.safetensors"

    def fail_half_way(self: Path, target: Path) -> None:
        raise OSError("disk gone")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail_half_way)
        with pytest.raises(CannotWriteError, match=r"disk gone.*give the command again"):
            write(path, [1])
    with pytest.raises(ValueError, match="no frames-"):
        ShardReader(path.parent, "frames")
    write(path, [1])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_shards_says_how_to_make_them(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path if exists else tmp_path / "none"
    with pytest.raises(ValueError, match=r"no frames-\*.safetensors in .*difffae.data.prepare"):
        ShardReader(folder, "frames")
