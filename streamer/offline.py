"""The offline command: `python -m streamer.offline VIDEO PORTRAIT`, paths in, an MP4 out.

It exits with 0 when the video is written, 2 after a user's error (one line on stderr), and 130
when interrupted.
"""

import argparse
import logging
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Literal, NoReturn, get_args

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from streamer.certificate import SigningSettings
from streamer.engine import Engine, EngineSettings, Runtime, load_engine
from streamer.errors import StreamerError, UsageError
from streamer.options import Parser, add_edits, add_motion, controls_of, places_of
from streamer.provenance import can_sign
from streamer.reenactment import Job, Summary, reenact_file
from streamer.segment import View

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

Load = Callable[[EngineSettings], Engine]


def main(arguments: Sequence[str] | None = None, *, load: Load = load_engine) -> int:
    """Run the command and return its exit code."""

    def command(console: Console) -> None:
        given = _parser().parse_args(arguments)
        if not (given.quiet or given.no_sign or can_sign()):
            console.print("the video will not be signed: run pip install '.[server]' for that")
        run_with_progress(to_job(given), console, is_quiet=given.quiet, load=load)

    return run_command(command)


def run_command(command: Callable[[Console], None]) -> int:
    """Give a command a quiet stderr; turn its errors and interruption into lines and codes."""
    with _stderr_of_our_own(), _terminating_interrupts():
        console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
        try:
            command(console)
        except StreamerError as error:
            console.print(f"error: {error}")
            return EXIT_USER_ERROR
        except KeyboardInterrupt:
            console.print("interrupted")
            return EXIT_INTERRUPTED
    return 0


def run_with_progress(job: Job, console: Console, *, is_quiet: bool, load: Load) -> Summary:
    """Run a job under a progress bar, then say what came of it.

    Raises:
        StreamerError: a user's error.
        KeyboardInterrupt: passed on, after a line that says how to go on.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    is_hidden = is_quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=is_hidden) as progress:
        task = progress.add_task("loading the model", total=None)

        def on_frame(num_done: int, expected: int | None, is_new: bool) -> None:
            total = None if expected is None else max(expected, num_done)
            description = "reenacting" if is_new else "catching up"
            progress.update(task, description=description, completed=num_done, total=total)

        try:
            summary = reenact_file(job, load=load, on_frame=on_frame)
        except KeyboardInterrupt:
            if job.partial_folder.is_dir():
                progress.print(
                    f"finished work is in {job.partial_folder}; --resume goes on with it"
                )
            raise
    if not is_quiet:
        console.print(describe(summary, time.monotonic() - started))
    return summary


def describe(summary: Summary, elapsed_s: float) -> str:
    """The lines that close a run."""
    num_made = summary.num_frames - summary.num_resumed
    lines = [f"wrote {path}" for path in summary.outputs]
    lines.append(
        f"{summary.num_frames} frames, {summary.duration_s:.2f} s at "
        f"{summary.size[0]}x{summary.size[1]}; made {num_made} in {elapsed_s:.1f} s, "
        f"{num_made / max(elapsed_s, 1e-3):.1f} frames/s with loading"
    )
    lines.append(f"frames without a face, motion held: {summary.num_held}")
    if summary.signed_with is not None:
        lines.append(f"labelled as modified by AI, signed with a {summary.signed_with}")
    if summary.num_damaged:
        lines.append(f"damaged pieces of the driver left out: {summary.num_damaged}")
    return "\n".join(lines)


def to_job(given: argparse.Namespace) -> Job:
    """The job that parsed arguments ask for."""
    output = given.output or default_output(given.video, given.source)
    outputs = {View.SIDE_BY_SIDE if given.side_by_side else View.RESULT: output}
    if given.mask_out is not None:
        outputs[View.MASK] = given.mask_out
    return Job(
        driver=given.video,
        source=given.source,
        outputs=outputs,
        engine=replace(engine_of(given), warm_start=given.warm_start),
        reference=given.reference,
        places=places_of(given),
        face=given.face,
        can_overwrite=given.overwrite,
        can_resume=given.resume,
        keeps_source=not given.forget_source,
        signing=signing_of(given),
    )


def engine_of(given: argparse.Namespace) -> EngineSettings:
    """The model and controls that parsed arguments ask for."""
    return EngineSettings(
        model=given.model,
        device=given.device,
        runtime=given.runtime,
        controls=controls_of(given),
        seed=given.seed,
    )


def signing_of(given: argparse.Namespace) -> SigningSettings | None:
    """How outputs are signed: always where a certificate is named, else where packages allow."""
    is_named = given.certificate is not None or given.key is not None
    if given.no_sign and is_named:
        raise UsageError("--no-sign and a certificate exclude one another; leave one out")
    if given.no_sign or not (is_named or can_sign()):
        return None
    return SigningSettings(certificate=given.certificate, key=given.key)


def default_output(driver: Path, source: Path) -> Path:
    """SOURCE_VIDEO.mp4 beside the source."""
    return source.with_name(f"{source.stem}_{driver.stem}.mp4")


class _RateColumn(ProgressColumn):
    """Frames a second over the last moments."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} frames/s")


def _parser() -> Parser:
    defaults = EngineSettings()
    parser = Parser(
        prog="python -m streamer.offline",
        description="Make a portrait move as the face in a video does.",
    )
    add = parser.add_argument
    add("video", type=Path, help="the driver: a video of one face")
    add("source", type=Path, help="the portrait: a picture of one face")
    add("--output", type=Path, metavar="FILE", help="default: SOURCE_VIDEO.mp4 beside SOURCE")
    add(
        "--motion",
        choices=("relative", "absolute"),
        default=defaults.controls.motion,
        help="relative: the motion since the reference frame; absolute: pose and expression as "
        "they are (default: %(default)s)",
    )
    add(
        "--reference",
        type=_reference,
        default="auto",
        metavar="FRAME|auto",
        help="where relative motion starts: a frame number from 0, or auto, the frame of the "
        "first 10 s most like the portrait (default: %(default)s)",
    )
    add_motion(parser)
    add_edits(parser, has_driver=True)
    add_model(parser)
    add("--side-by-side", action="store_true", help="show the driver left of the result")
    add("--mask-out", type=Path, metavar="FILE", help="also write a video of the edited pixels")
    add("--resume", action="store_true", help="go on where an interrupted run stopped")
    add("--warm-start", action="store_true", help="start each frame from the one before it")
    add(
        "--forget-source",
        action="store_true",
        help="leave nothing of the portrait in the cache folder (DIFFFAE_CACHE); the next run with "
        "it starts slower",
    )
    add_output(parser)
    return parser


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, where, and of whom."""
    defaults, add = EngineSettings(), parser.add_argument
    add("--steps", type=_whole(1), default=1, help="sampler steps a frame (default: %(default)s)")
    add("--seed", type=_whole(0), default=0, help="the same seed gives the same pictures")
    add(
        "--device",
        type=_device,
        default=defaults.device,
        help="cpu, cuda, cuda:1 (default: %(default)s)",
    )
    add("--runtime", choices=get_args(Runtime), default=defaults.runtime, help="how networks run")
    add("--model", default=defaults.model, help="bundled name, or folder with safetensors")
    add("--face", type=_whole(1), metavar="N", help="which face of the portrait, 1 the leftmost")


def add_output(parser: argparse.ArgumentParser) -> None:
    """How outputs are written, signed and told of."""
    add = parser.add_argument
    add("--overwrite", action="store_true", help="replace what is there")
    add("--no-sign", action="store_true", help="leave out the signed label (C2PA)")
    add(
        "--certificate",
        type=Path,
        metavar="FILE",
        help="PEM file of the signer's certificate and those above it; without it a test "
        "certificate made on this computer signs, which proves integrity, not origin",
    )
    add("--key", type=Path, metavar="FILE", help="PEM file of the certificate's private key")
    add("--quiet", action="store_true", help="print errors only")


def _reference(text: str) -> int | Literal["auto"]:
    return "auto" if text == "auto" else _whole(0)(text)


def _device(text: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"expected cpu, cuda or cuda:N, got {text}")
    return text


def _whole(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"expected a whole number from {minimum}, got {text}")
        return int(text)

    return parse


@contextmanager
def _stderr_of_our_own() -> Iterator[None]:
    """Keep stderr for our lines: MediaPipe and TFLite log to the descriptor past Python."""
    try:
        has_descriptor = sys.stderr.fileno() == 2
    except (OSError, ValueError):
        has_descriptor = False
    if not has_descriptor:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        with (
            os.fdopen(os.dup(kept), "w", encoding="utf-8", errors="replace", buffering=1) as ours,
            redirect_stderr(ours),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _terminating_interrupts() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, also where the shell started us with Ctrl-C ignored."""
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(code: int) -> NoReturn:
    """End the process at once: taking a loaded model apart, object by object, takes a second."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
