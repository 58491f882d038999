"""The scripts behind `make demo` and `make bench` prepare what they say."""

import hashlib
import runpy
from pathlib import Path

import av
from PIL import Image


def test_demo_media_are_a_square_portrait_and_the_untouched_driver(
    repository: Path, tmp_path: Path, carphone: Path
) -> None:
    script = runpy.run_path(str(repository / "scripts" / "demo_media.py"))
    script["prepare"](tmp_path / "demo")
    with Image.open(tmp_path / "demo" / "portrait.jpg") as portrait:
        assert (portrait.size, portrait.mode) == ((720, 720), "RGB")
        colours = portrait.getcolors(maxcolors=720 * 720)
    assert colours is None or len(colours) > 1000
    written = (tmp_path / "demo" / "driver.mp4").read_bytes()
    assert hashlib.sha256(written).digest() == hashlib.sha256(carphone.read_bytes()).digest()


def test_bench_cuts_a_driver_to_one_frame_and_counts_all(
    repository: Path, tmp_path: Path, carphone: Path
) -> None:
    script = runpy.run_path(str(repository / "scripts" / "bench.py"))
    assert script["cut"](carphone, tmp_path / "one.mp4", 1) == 120
    with av.open(str(tmp_path / "one.mp4")) as video:
        (frame,) = video.decode(video=0)
    assert (frame.width, frame.height) == (176, 144)
