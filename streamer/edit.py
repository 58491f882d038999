"""The still command: `python -m streamer.edit PORTRAIT --output FILE`, edits in, a picture out.

It exits with 0 when the picture is written, 2 after a user's error (one line on stderr), and 130
when interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from streamer.engine import load_engine
from streamer.offline import Load, add_model, add_output, engine_of, run_command, signing_of
from streamer.options import Parser, add_edits, places_of
from streamer.provenance import can_sign
from streamer.still import StillJob, edit_file


def main(arguments: Sequence[str] | None = None, *, load: Load = load_engine) -> int:
    """Run the command and return its exit code."""

    def command(console: Console) -> None:
        given = _parser().parse_args(arguments)
        if not (given.quiet or given.no_sign or can_sign()):
            console.print("the picture will not be signed: run pip install '.[server]' for that")
        job = to_job(given)
        edit_file(job, load=load)
        if not given.quiet:
            console.print(f"wrote {job.output}")

    return run_command(command)


def to_job(given: argparse.Namespace) -> StillJob:
    """The job that parsed arguments ask for."""
    return StillJob(
        source=given.source,
        output=given.output or given.source.with_name(f"{given.source.stem}_edited.png"),
        engine=engine_of(given),
        places=places_of(given),
        face=given.face,
        can_overwrite=given.overwrite,
        signing=signing_of(given),
    )


def _parser() -> Parser:
    parser = Parser(
        prog="python -m streamer.edit",
        description="Change a portrait: each attribute from another picture, or by number.",
    )
    add = parser.add_argument
    add("source", type=Path, help="the portrait: a picture of one face")
    help_text = "a .png or .jpg (default: SOURCE_edited.png beside SOURCE)"
    add("--output", type=Path, metavar="FILE", help=help_text)
    add_edits(parser, has_driver=False)
    add_model(parser)
    add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
