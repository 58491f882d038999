"""Measure the offline command as a user runs it: start-up, frames a second, memory."""

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import av
import jsonargparse


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of the command.

    Attributes:
        seconds: Wall-clock time from start of the process to its end.
        peak_megabytes: Largest resident memory of the process.
    """

    seconds: float
    peak_megabytes: float


def run_offline(driver: Path, source: Path, output: Path, options: list[str]) -> Measured:
    """Run `python -m streamer.offline` to its end in a process of its own.

    Raises:
        SystemExit: The command failed.
    """
    command = [sys.executable, "-m", "streamer.offline", str(driver), str(source)]
    command += ["--output", str(output), "--overwrite", *options]
    start = time.perf_counter()
    child = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} exited with {code}")
    return Measured(seconds=seconds, peak_megabytes=usage.ru_maxrss / 1000)


def cut(driver: Path, output: Path, num_frames: int) -> int:
    """Write the first frames of a video as a new one; without a limit, only count them."""
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


def bench(driver: Path, source: Path, options: list[str] | None = None) -> None:
    """Print what a run over the whole driver costs, and what its first frame costs.

    Args:
        driver: Video that moves the portrait.
        source: The portrait.
        options: More options for the offline command.
    """
    with tempfile.TemporaryDirectory() as folder:
        single = Path(folder) / "single.mp4"
        num_frames = cut(driver, single, 1)
        first = run_offline(single, source, Path(folder) / "first.mp4", options or [])
        whole = run_offline(driver, source, Path(folder) / "whole.mp4", options or [])
    rate = (num_frames - 1) / (whole.seconds - first.seconds)
    print(f"driver {driver}, {num_frames} frames; {os.cpu_count()} cores")
    print(f"one-frame run, start to finished file: {first.seconds:.1f} s")
    print(f"every further frame, decode to encode: {rate:.1f} frames/s")
    print(f"peak memory: {whole.peak_megabytes:.0f} MB")


if __name__ == "__main__":
    jsonargparse.auto_cli(bench)
