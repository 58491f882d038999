"""The command that says how good a model is: clips in; tables, JSON, Markdown and pictures out.

`python -m difffae.evaluate --model lite-256 --steps 1,2,4` measures, on people of one split, the
unmoved source and the composite (floors), the model at each number of steps, and the true latent
decoded (ceiling) by the same code; `--external NAME=FOLDER` adds rows of videos made elsewhere.
`--precision fp32,bf16,int8` says what the others cost against the first on the same frames.
`--protocol all` adds light transfer and attribute disentanglement; the figures are also given in
the format of the paper's table 1. What each is and was read by stands in the report (figures.md).
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.progress import Progress

from difffae.loading import load_pipeline
from difffae.metrics import edit_table, paper_table, precision_table
from difffae.metrics.report import Report, table
from difffae.metrics.settings import FACEMESH_TRACKER, NO_MODEL, PROTOCOLS, EvaluateConfig
from difffae.metrics.study import Study, costs, gather, write_report
from difffae.pipeline import Pipeline
from difffae.runtime.network import Precision

NOTHING = "none"
USER_ERROR = 2
TABLE_WIDTH = 160  # a narrower terminal folds lines rather than cut figures off


def evaluate(
    config: EvaluateConfig, pipelines: Mapping[Precision, Pipeline], console: Console
) -> Report:
    """Measure all cases and write the report.

    Args:
        config: what is asked for.
        pipelines: the model at each precision; empty for floors and external rows only.
        console: shows the progress.

    Raises:
        ValueError: media or weights cannot be used.
        OSError: the output folder cannot be written.
    """
    first = config.precision[0]
    variants = {precision: each for precision, each in pipelines.items() if precision != first}
    study = Study(config, pipelines.get(first), variants)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=len(study.cases))
        result = study.run(lambda: progress.advance(task))
    report = gather(result, config)
    write_report(report, result, config)
    return report


def _steps(text: str) -> tuple[int, ...]:
    return tuple(int(count) for count in text.split(","))


def _external(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not (name and separator and folder):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected 'ROW NAME=FOLDER'")
    return name, Path(folder)


def _optional(text: str) -> str | None:
    return None if text == NOTHING else text


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
    add(
        "--precision",
        type=lambda text: tuple(text.split(",")),
        default=("auto",),
        metavar="NAME,NAME",
        help=f"some of {', '.join(get_args(Precision))}; others are compared with the first",
    )
    add("--clips", type=Path, default=data / "clips", help="folder of 256x256 face crops")
    add("--csv", type=Path, default=data / "clips.csv", help="their table")
    add("--split", default="val", help="which people")
    add("--steps", type=_steps, default=(1, 2, 4), metavar="N,N", help="sampler steps")
    add(
        "--protocol",
        default="both",
        metavar="NAME,NAME",
        help=f"what drives whom: some of {', '.join(PROTOCOLS)}",
    )
    add(
        "--motion",
        choices=("relative", "absolute"),
        default="relative",
        help="cross: the driver's motion since its first frame, or its pose as it is (the paper)",
    )
    add(
        "--light",
        choices=("source", "driver"),
        default="source",
        help="cross: the portrait's own light, or the driver's (the paper)",
    )
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
    _add_weights(parser, data / "weights")
    add("--output", type=Path, default=Path("runs/evaluate"), help="folder of the report")
    return parser


def _add_weights(parser: argparse.ArgumentParser, folder: Path) -> None:
    """What measures: the tracker and the networks, by default the stand-ins in a folder."""
    add = parser.add_argument
    add(
        "--tracker",
        default=FACEMESH_TRACKER,
        help="reads APD, AED and ALD: facemesh, the stand-in; or a model's YAML with face.rig: "
        "flame and the licensed files, for DECA and FLAME",
    )
    add(
        "--weights-embedder",
        type=_optional,
        default=str(folder / "MobileFaceNet.onnx"),
        help="face embedder, 112x112 ArcFace alignment: an ONNX file, or insightface's buffalo_l "
        "or antelopev2; none: no identity column",
    )
    add(
        "--weights-inception",
        type=_optional_path,
        help="pt_inception-2015-12-05-6726825d.pth of pytorch-fid, or its tensors as safetensors; "
        "without it FID and KID give way to distances on SqueezeNet, under their own names",
    )
    add(
        "--weights-lpips",
        type=_optional_path,
        help="LPIPS 0.1 on AlexNet as safetensors (see difffae.metrics.lpips); without it no LPIPS "
        "column, and tFD in tLP's place",
    )
    add(
        "--weights-features",
        type=_optional_path,
        default=folder / "squeezenet11.safetensors",
        help="SqueezeNet 1.1; none: no feature column",
    )


def _pipelines(config: EvaluateConfig) -> dict[Precision, Pipeline]:
    """The model at each precision asked for; none without a model."""
    if config.model == NO_MODEL:
        return {}
    return {
        precision: load_pipeline(
            config.model, device=config.device, runtime=config.runtime, precision=precision
        )
        for precision in config.precision
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 0, or 2 after one line on what is wrong and what to do."""
    options = vars(_parser().parse_args(arguments))
    options["external"] = dict(options["external"])
    errors = Console(stderr=True, soft_wrap=True)
    try:
        config = EvaluateConfig(**options)
        report = evaluate(config, _pipelines(config), errors)
    except (ValueError, OSError) as error:
        errors.print(str(error), style="red", markup=False, highlight=False)
        return USER_ERROR
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    console.print(table(report))
    compared = costs(report, config)
    if compared:
        console.print(precision_table.table(compared))
    console.print(paper_table.table(report))
    if report.edits is not None:
        console.print(edit_table.table(report.edits))
        console.print(edit_table.moved_table(report.edits))
    for warning in report.warnings:
        errors.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)
    console.print(f"definitions and pictures: {config.output}", markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
