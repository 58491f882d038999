"""The measurement of the offline command finds and cuts its media, and notices failures."""

import os
import subprocess
import sys
from pathlib import Path

import av
import pytest
from PIL import Image

from streamer.bench.offline import (
    DRIVER,
    PORTRAIT,
    cut,
    packaged_file,
    resident_megabytes,
    run_offline,
    scale,
)
from streamer.errors import UsageError


def test_bench_finds_the_media_of_the_demo(carphone: Path, openpeople: list[Path]) -> None:
    assert packaged_file(*DRIVER) == carphone
    assert packaged_file(*PORTRAIT) in openpeople


def test_bench_cuts_a_driver_to_one_frame_and_counts_all(tmp_path: Path, carphone: Path) -> None:
    assert cut(carphone, tmp_path / "one.mp4", 1) == 120
    with av.open(str(tmp_path / "one.mp4")) as video:
        (frame,) = video.decode(video=0)
    assert (frame.width, frame.height) == (176, 144)


def test_bench_scales_the_portrait_and_keeps_the_picture(tmp_path: Path, portrait: Path) -> None:
    scale(portrait, tmp_path / "small.jpg", 256)
    with Image.open(tmp_path / "small.jpg") as small, Image.open(portrait) as large:
        assert small.size == (256, 256)
        pixel, original = small.getpixel((128, 128)), large.resize((256, 256)).getpixel((128, 128))
    assert pixel == pytest.approx(original, abs=12)


def test_bench_stops_when_the_command_fails(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exited with 2"):
        run_offline(tmp_path / "no.mp4", tmp_path / "no.jpg", tmp_path / "out.mp4", [])


def test_resident_memory_is_that_of_the_process() -> None:
    code = "kept = bytearray(b'x' * 40_000_000); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 40 < resident_megabytes(process.pid) < 120
        process.communicate(b"\n")


def test_a_process_that_is_gone_holds_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert resident_megabytes(process.pid) == 0
    assert resident_megabytes(os.getpid()) > 0
