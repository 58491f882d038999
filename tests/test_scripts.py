"""The scripts that are Python do what they say."""

import runpy
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image


@pytest.fixture
def bench(repository: Path) -> dict[str, Any]:
    """What scripts/bench.py defines."""
    return runpy.run_path(str(repository / "scripts" / "bench.py"))


def test_bench_finds_the_media_of_the_demo(
    bench: dict[str, Any], carphone: Path, openpeople: list[Path]
) -> None:
    assert bench["packaged_file"](*bench["DRIVER"]) == carphone
    assert bench["packaged_file"](*bench["PORTRAIT"]) in openpeople


def test_bench_cuts_a_driver_to_one_frame_and_counts_all(
    bench: dict[str, Any], tmp_path: Path, carphone: Path
) -> None:
    assert bench["cut"](carphone, tmp_path / "one.mp4", 1) == 120
    with av.open(str(tmp_path / "one.mp4")) as video:
        (frame,) = video.decode(video=0)
    assert (frame.width, frame.height) == (176, 144)


def test_bench_scales_the_portrait_and_keeps_the_picture(
    bench: dict[str, Any], tmp_path: Path, portrait: Path
) -> None:
    bench["scale"](portrait, tmp_path / "small.jpg", 256)
    with Image.open(tmp_path / "small.jpg") as small, Image.open(portrait) as large:
        assert small.size == (256, 256)
        pixel, original = small.getpixel((128, 128)), large.resize((256, 256)).getpixel((128, 128))
    assert pixel == pytest.approx(original, abs=12)


def test_bench_stops_when_the_command_fails(bench: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="exited with 2"):
        bench["run_offline"](tmp_path / "no.mp4", tmp_path / "no.jpg", tmp_path / "out.mp4", [])
