"""`python -m difffae.figures`: every picture, table and document about a model, by one command.

Parts can be named: `evaluation` prints the table, `grids` draws the paper's figures, `contact` the
contact sheet, `fairness` compares groups of people, `card` tells of all in the model card and the
ledger. Pictures go into docs, figures into the documents there, between marked lines.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
from rich.console import Console
from rich.progress import Progress, TaskID

from difffae.figures.card import write_card
from difffae.figures.fairness_report import gap_lines
from difffae.figures.parts import run_contact, run_evaluation, run_fairness, run_grids
from difffae.figures.settings import PARTS, FiguresConfig
from difffae.figures.studio import Studio
from difffae.loading import load_pipeline
from difffae.metrics import paper_table
from difffae.metrics.instruments import load_measurement
from difffae.metrics.report import table
from difffae.pipeline import Pipeline

USER_ERROR = 2
TABLE_WIDTH = 160  # a narrower terminal folds lines rather than cut figures off
_MEASURED = ("grids", "contact", "fairness")


def make(config: FiguresConfig, console: Console, errors: Console) -> None:
    """Make the parts that are asked for, in their order.

    Args:
        config: what is asked for.
        console: gets tables.
        errors: gets progress and warnings.

    Raises:
        ValueError: media, weights or documents cannot be used.
        OSError: a file cannot be written.
    """
    if set(config.parts) != {"card"}:
        pipeline = load_pipeline(config.model, device=config.device, runtime=config.runtime)
        _measure(config, pipeline, console, errors)
    if "card" in config.parts:
        write_card(config)


def _measure(config: FiguresConfig, pipeline: Pipeline, console: Console, errors: Console) -> None:
    if "evaluation" in config.parts:
        report = run_evaluation(config, pipeline, errors)
        console.print(table(report))
        console.print(paper_table.table(report))
        for warning in report.warnings:
            errors.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)
    if not set(_MEASURED) & set(config.parts):
        return
    cv2.setNumThreads(1)
    instruments = load_measurement(config.evaluation).instruments
    studio = Studio(pipeline, instruments, steps=config.steps)
    with Progress(console=errors, transient=True) as progress:
        for part in _MEASURED:
            if part in config.parts:
                _one(part, config, studio, progress, console)


def _one(
    part: str, config: FiguresConfig, studio: Studio, progress: Progress, console: Console
) -> None:
    task: TaskID = progress.add_task(part, total=None)

    def advance() -> None:
        progress.advance(task)

    if part == "grids":
        run_grids(config, studio, advance)
    elif part == "contact":
        run_contact(config, studio, advance)
    else:
        found = run_fairness(config, studio, advance)
        for line in gap_lines(found):
            console.print(line, markup=False, highlight=False)
    progress.remove_task(task)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m difffae.figures",
        description="Make the pictures, tables, model card and ledger figures of a model anew.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; none: all")
    add("--model", default="lite-256", help="bundled name, or folder")
    add("--device", default="cpu", help="where the networks run")
    add("--runtime", default="auto", help="how they are compiled")
    data = Path(os.environ.get("DIFFFAE_DATA", "../shared/data"))
    add("--data", type=Path, default=data, help="folder with clips, stills and weights")
    add("--docs", type=Path, default=Path("docs"), help="where pictures and documents are")
    add("--work", type=Path, default=Path("runs/figures"), help="where figures are kept as JSON")
    add("--split", default="val", help="which people drive and are measured")
    add("--steps", type=int, default=1, help="of the sampler")
    add("--max-frames", type=int, default=16, help="of a clip that the evaluation measures")
    add("--num-stills", type=int, default=40, help="of each still set, for fairness")
    add("--seed", type=int, default=0, help="of every draw")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Make and print; return 0, or 2 after one line on what is wrong and what to do."""
    options = vars(_parser().parse_args(arguments))
    options["parts"] = tuple(options["parts"]) or PARTS
    errors = Console(stderr=True, soft_wrap=True)
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    try:
        make(FiguresConfig(**options), console, errors)
    except (ValueError, OSError) as error:
        errors.print(str(error), style="red", markup=False, highlight=False)
        return USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
