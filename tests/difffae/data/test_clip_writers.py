"""Clips on the disk: whole or not there, and the same bytes for the same frames."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.data.clip_writers import ClipName, ClipWriter, Mp4Writer, PngWriter, clip_path
from difffae.data.shards import CannotWriteError, ShardContents, write_shard
from difffae.data.video import read_clip


def frames(count: int, side: int = 64) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (side, side, 3)).astype(np.uint8) for _ in range(count)]


def write(writer: ClipWriter, images: list[NDArray[np.uint8]]) -> str | None:
    for number, image in enumerate(images):
        writer.add(number, image, None)
    return writer.finish()


def test_names_are_fomms_and_folders_of_pngs_are_named_like_videos() -> None:
    name = str(ClipName(person="id10001", video="a-_b", start=66, end=172))
    assert name == "id10001#a-_b#000066#000172"
    assert clip_path(Path("o"), name, "mp4") == clip_path(Path("o"), name, "png")
    assert clip_path(Path("o"), name, "shards").name == f"frames-{name}.safetensors"


def test_an_mp4_keeps_its_frames_and_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    y, x = np.mgrid[0:64, 0:64]
    smooth = [np.stack([3 * x, 3 * y, 0 * x + 10 * k], -1).astype(np.uint8) for k in range(9)]
    for name in ("a.mp4", "b.mp4"):
        assert write(Mp4Writer(tmp_path / name), smooth) is None
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    for one, other in zip(smooth, read_clip(tmp_path / "a.mp4"), strict=True):
        assert np.abs(one.astype(int) - other).mean() < 3


def test_pngs_keep_every_bit(tmp_path: Path) -> None:
    images = frames(3)
    assert write(PngWriter(tmp_path / "a.mp4"), images) is None
    assert all(map(np.array_equal, images, read_clip(tmp_path / "a.mp4")))


@pytest.mark.parametrize("kind", [Mp4Writer, PngWriter])
def test_nothing_is_in_sight_before_the_end_nor_after_a_discard(
    tmp_path: Path, kind: type[Mp4Writer] | type[PngWriter]
) -> None:
    writer = kind(tmp_path / "a.mp4")
    writer.add(0, frames(1)[0], None)
    assert not (tmp_path / "a.mp4").exists()
    writer.discard()
    assert list(tmp_path.iterdir()) == []
    assert write(kind(tmp_path / "b.mp4"), []) == "no frames"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [Mp4Writer, PngWriter])
def test_what_a_killed_run_left_is_written_over(
    tmp_path: Path, kind: type[Mp4Writer] | type[PngWriter]
) -> None:
    left = kind(tmp_path / "a.mp4")
    for number, image in enumerate(frames(5)):
        left.add(number, image, None)
    assert write(kind(tmp_path / "a.mp4"), frames(2)) is None
    assert len(list(read_clip(tmp_path / "a.mp4"))) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def write_noise(kind: str, folder: Path) -> None:
    noise = frames(12, side=192)
    if kind == "shard":
        contents = ShardContents(pictures={}, arrays={"noise": np.stack(noise)}, labels={})
        write_shard(folder / "frames-a.safetensors", contents)
    else:
        write({"mp4": Mp4Writer, "png": PngWriter}[kind](folder / "a.mp4"), noise)


@pytest.mark.parametrize("kind", ["mp4", "png", "shard"])
def test_a_really_full_disk_gives_one_error_and_leaves_nothing(tiny_disk: Path, kind: str) -> None:
    (tiny_disk / "finished").write_bytes(b"x" * 9000)
    with pytest.raises(CannotWriteError, match=r"cannot write .*No space left on device.*give the"):
        write_noise(kind, tiny_disk)
    assert [path.name for path in tiny_disk.iterdir()] == ["finished"]


@pytest.mark.parametrize("kind", [Mp4Writer, PngWriter])
def test_a_disk_that_fails_at_the_last_moment_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Mp4Writer] | type[PngWriter]
) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    writer = kind(tmp_path / "a.mp4")
    writer.add(0, frames(1)[0], None)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(CannotWriteError, match="Input/output error"):
        writer.finish()
    assert list(tmp_path.iterdir()) == []
