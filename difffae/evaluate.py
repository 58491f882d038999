"""The command that says how good a model is: clips in; one table, JSON, Markdown and pictures out.

`python -m difffae.evaluate --model lite-256 --steps 1,2,4` measures, on people of one split, the
unmoved source and the composite (floors), the model at each number of steps, and the true latent
decoded (ceiling) by the same code; `--external NAME=FOLDER` adds rows of videos made elsewhere.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import cv2
from rich.console import Console
from rich.progress import Progress

from difffae.data.split import Clip, read_clips
from difffae.loading import load_pipeline
from difffae.metrics.evaluation import UNMOVED_ROW, CaseResult, Evaluation, Methods
from difffae.metrics.grid import GridRow, draw_grid
from difffae.metrics.identity import Embedder
from difffae.metrics.landmarks import LandmarkMeter
from difffae.metrics.meter import Instruments
from difffae.metrics.outputs import Case, ProtocolName
from difffae.metrics.perceptual import load_feature_distance
from difffae.metrics.protocol import cross_pairs
from difffae.metrics.report import Report, as_json, markdown, table
from difffae.metrics.scores import by_person
from difffae.pipeline import Pipeline
from difffae.runtime.network import RuntimeName

NOTHING = "none"
USER_ERROR = 2
TABLE_WIDTH = 160  # a narrower terminal folds lines rather than cut figures off


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What to measure, and with what."""

    model: str = "lite-256"  # a bundled name, a folder, or "none": floors and external rows only
    device: str = "cpu"
    runtime: RuntimeName = "auto"
    clips: Path
    csv: Path
    split: str = "val"
    steps: tuple[int, ...] = (1, 2, 4)
    protocol: Literal["self", "cross", "both"] = "both"
    max_frames: int = 60  # a clip, in neighbouring pairs spread over it
    max_clips: int | None = None  # the first ones of the split only
    seed: int = 0  # draws the pairs of the cross protocol
    external: dict[str, Path] = field(default_factory=dict)
    weights_embedder: Path | None = None
    weights_features: Path | None = None
    output: Path = Path("runs/evaluate")
    grid_rows: int = 12

    def __post_init__(self) -> None:
        """Refuse numbers that measure nothing."""
        if self.max_frames < 2 or any(count < 1 for count in self.steps):
            raise ValueError(
                f"Got {self.max_frames=} and {self.steps=}; expected at least 2 frames and 1 step"
            )


def draw_cases(clips: list[Clip], config: EvaluateConfig) -> list[Case]:
    """What is measured: every clip driven by itself, by (seeded) pairs of strangers, or both."""
    cases: list[Case] = []
    if config.protocol in ("self", "both"):
        cases += [Case(protocol="self", source=clip, driver=clip) for clip in clips]
    if config.protocol in ("cross", "both"):
        pairs = cross_pairs(clips, config.seed)
        cases += [Case(protocol="cross", source=source, driver=driver) for source, driver in pairs]
    return cases


def gather(results: Sequence[CaseResult], config: EvaluateConfig) -> Report:
    """The report of all cases: rows by protocol, averaged by person."""
    protocols: list[ProtocolName] = ["self", "cross"]
    rows = {}
    for protocol in protocols:
        chosen = [result for result in results if result.case.protocol == protocol]
        names = list(chosen[0].scores) if chosen else []
        rows[protocol] = {
            name: by_person((r.case.driver.person, r.scores[name]) for r in chosen)
            for name in names
        }
    num_people = len({result.case.driver.person for result in results})
    return Report(
        title=f"{config.model} on {num_people} people of split {config.split}",
        rows={protocol: named for protocol, named in rows.items() if named},
        settings={name: _plain(value) for name, value in asdict(config).items()},
        cases=[
            {
                "protocol": result.case.protocol,
                "source": result.case.source.path.name,
                "driver": result.case.driver.path.name,
                "person": result.case.driver.person,
            }
            for result in results
        ],
    )


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return str(value) if isinstance(value, Path) else value


def _ordered(pictures: GridRow, source: str = UNMOVED_ROW) -> GridRow:
    """Source, driver, then every other row."""
    first = [source, *(name for name in pictures.pictures if name.startswith("driver"))]
    names = [*first, *(name for name in pictures.pictures if name not in first)]
    return GridRow(label=pictures.label, pictures={n: pictures.pictures[n] for n in names})


def write_report(report: Report, results: Sequence[CaseResult], config: EvaluateConfig) -> None:
    """Write figures.json, figures.md and a grid of pictures for each protocol.

    Raises:
        OSError: the folder cannot be written.
    """
    config.output.mkdir(parents=True, exist_ok=True)
    (config.output / "figures.json").write_text(as_json(report), encoding="utf-8")
    (config.output / "figures.md").write_text(markdown(report), encoding="utf-8")
    for protocol in report.rows:
        people: dict[str, GridRow] = {}
        for result in results:
            if result.case.protocol == protocol:
                people.setdefault(result.case.driver.person, _ordered(result.pictures))
        grid = draw_grid(list(people.values())[: config.grid_rows])
        written = cv2.imwrite(str(config.output / f"grid_{protocol}.png"), grid[..., ::-1])
        if not written:
            raise OSError(f"Got no picture written to {config.output}: is it writable?")


def evaluate(config: EvaluateConfig, pipeline: Pipeline | None, console: Console) -> Report:
    """Measure all cases and write the report.

    Raises:
        ValueError: media or weights cannot be used.
        OSError: the output folder cannot be written.
    """
    embedder = Embedder(config.weights_embedder) if config.weights_embedder else None
    features = load_feature_distance(config.weights_features) if config.weights_features else None
    instruments = Instruments(LandmarkMeter(), embedder=embedder, features=features)
    clips = read_clips(config.clips, config.csv, config.split)[: config.max_clips]
    cases = draw_cases(clips, config)
    methods = Methods(
        pipeline=pipeline,
        name=Path(config.model).name,
        steps=config.steps,
        external=config.external,
    )
    evaluation = Evaluation(methods, cases, instruments=instruments, max_frames=config.max_frames)
    results = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=len(cases))
        for case in cases:
            results.append(evaluation.measure(case))
            progress.advance(task)
    report = gather(results, config)
    write_report(report, results, config)
    return report


def _steps(text: str) -> tuple[int, ...]:
    return tuple(int(count) for count in text.split(","))


def _external(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not (name and separator and folder):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected 'ROW NAME=FOLDER'")
    return name, Path(folder)


def _optional_path(text: str) -> Path | None:
    return None if text == NOTHING else Path(text)


def _parser() -> argparse.ArgumentParser:
    data = Path(os.environ.get("DIFFFAE_DATA", "../shared/data"))
    parser = argparse.ArgumentParser(
        prog="python -m difffae.evaluate",
        description="Measure a model on unseen people, beside its floors and its ceiling.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model", default="lite-256", help="bundled name, folder, or none: floors only")
    add("--device", default="cpu", help="where the networks run")
    add("--runtime", default="auto", help="how they are compiled")
    add("--clips", type=Path, default=data / "clips", help="folder of 256x256 face crops")
    add("--csv", type=Path, default=data / "clips.csv", help="their table")
    add("--split", default="val", help="which people")
    add("--steps", type=_steps, default=(1, 2, 4), metavar="N,N", help="sampler steps")
    add("--protocol", choices=("self", "cross", "both"), default="both", help="what drives whom")
    add("--max-frames", type=int, default=60, help="frames of a clip that are measured")
    add("--max-clips", type=int, help="only the first clips of the split")
    add("--seed", type=int, default=0, help="draws the pairs of the cross protocol")
    add(
        "--external",
        type=_external,
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="a row of videos made elsewhere, named like the driver's clip (self) or "
        "SOURCE__DRIVER.mp4 (cross); may be given again",
    )
    add(
        "--weights-embedder",
        type=_optional_path,
        default=data / "weights" / "MobileFaceNet.onnx",
        help="face embedder, 112x112 ArcFace alignment; none: no identity column",
    )
    add(
        "--weights-features",
        type=_optional_path,
        default=data / "weights" / "squeezenet11.safetensors",
        help="SqueezeNet 1.1; none: no feature column",
    )
    add("--output", type=Path, default=Path("runs/evaluate"), help="folder of the report")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 0, or 2 after one line on what is wrong and what to do."""
    options = vars(_parser().parse_args(arguments))
    options["external"] = dict(options["external"])
    errors = Console(stderr=True, soft_wrap=True)
    try:
        config = EvaluateConfig(**options)
        pipeline = None
        if config.model != NOTHING:
            pipeline = load_pipeline(config.model, device=config.device, runtime=config.runtime)
        report = evaluate(config, pipeline, errors)
    except (ValueError, OSError) as error:
        errors.print(str(error), style="red", markup=False, highlight=False)
        return USER_ERROR
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    console.print(table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
