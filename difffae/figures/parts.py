"""The parts of a run: each makes pictures, rewrites its document and leaves its figures as JSON."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from difffae.checkpoint import write_atomically
from difffae.evaluate import evaluate
from difffae.figures.contact import Case, driven, portraits, posed
from difffae.figures.contact_sheet import (
    draw_driven,
    draw_failures,
    draw_posed,
    draw_stillness,
    find_worst,
    portrait_lines,
    topic_lines,
    worst_lines,
)
from difffae.figures.document import write_sections
from difffae.figures.fairness import Fairness, measure_fairness
from difffae.figures.fairness_report import gap_lines, table_lines
from difffae.figures.grids import mix, reenactment, relight, swap
from difffae.figures.media import carphone, studio_portrait, validation_drivers
from difffae.figures.over_time import (
    flicker_table,
    long_run_table,
    measure_flicker,
    measure_long_run,
)
from difffae.figures.settings import FiguresConfig, Part, model_digest
from difffae.figures.sheet import write_webp
from difffae.figures.stillness import measure_stillness, table
from difffae.figures.studio import Studio
from difffae.metrics.report import Report, markdown
from difffae.pipeline import Pipeline

GRID_STRANGERS = 2  # of the people who drive, in the reenactment grid
STILL_PEOPLE = ("P001", "P003", "P008")
_NUM_STILL_DRIVERS = 5
MAX_BYTES: Mapping[str, int] = {
    "reenactment": 190_000, "relight": 120_000, "mix": 120_000, "swap": 120_000,
    "contact-sheet-drivers": 320_000, "contact-sheet-portraits": 400_000,
    "contact-sheet-stillness": 50_000, "failures": 120_000,
}  # fmt: skip

Advance = Callable[[], None]


def run_evaluation(config: FiguresConfig, pipeline: Pipeline, console: Console) -> Report:
    """The evaluation table: floors, the model, the ceiling.

    Raises:
        ValueError: the media or what measures is missing.
        OSError: the work folder cannot be written.
    """
    settings = config.evaluation
    report = evaluate(settings, {settings.precision[0]: pipeline}, console)
    rows = {
        protocol: {name: asdict(row.mean) for name, row in named.items()}
        for protocol, named in report.rows.items()
    }
    lines = markdown(report).strip().splitlines()
    _keep(config, "evaluation", {"title": lines[0].lstrip("# "), "table": lines[1:], "rows": rows})
    return report


def run_grids(config: FiguresConfig, studio: Studio, advance: Advance) -> None:
    """The paper's four figures.

    Raises:
        ValueError: media are missing.
        OSError: the documents cannot be written.
    """
    strangers = _drivers(config)[:GRID_STRANGERS]
    _draw(config, "reenactment", reenactment(studio, strangers))
    advance()
    _draw(config, "relight", relight(studio))
    advance()
    _draw(config, "mix", mix(studio))
    advance()
    swapped, notes = swap(studio)
    _draw(config, "swap", swapped)
    lines = [f"Left empty, for the swap changed nothing: {'; '.join(notes)}."] if notes else []
    write_sections(
        config.docs / "pictures.md", {"swap": lines or ["Every swap changed the picture."]}
    )
    _keep(config, "grids", {"idle swaps": notes})
    advance()


def run_contact(config: FiguresConfig, studio: Studio, advance: Advance) -> None:
    """The contact sheet, with its worst cases by name.

    Raises:
        ValueError: media are missing.
        OSError: the documents cannot be written.
    """
    drivers = [carphone(), *_drivers(config)]
    by_driver = []
    for cases in driven(studio, drivers):
        by_driver.append(cases)
        advance()
    by_portrait = []
    for portrait in portraits(studio):
        by_portrait.append(posed(studio, portrait))
        advance()
    still = []
    for person in STILL_PEOPLE:
        still.append(measure_stillness(studio, studio.seat(studio_portrait(person)), carphone()))
        advance()
    sitter, flicker = studio.seat(studio_portrait(STILL_PEOPLE[0])), []
    for clip in drivers[:_NUM_STILL_DRIVERS]:
        flicker += measure_flicker(studio, sitter, clip)
        advance()
    long_run = measure_long_run(studio, sitter, drivers[0])
    advance()
    every = [case for cases in (*by_driver, *by_portrait) for case in cases]
    worst = find_worst(every)
    marked = [case for each in worst for case in each.cases]
    _draw(config, "contact-sheet-drivers", draw_driven(by_driver, marked))
    _draw(config, "contact-sheet-portraits", draw_posed(by_portrait, marked))
    _draw(config, "contact-sheet-stillness", draw_stillness(still))
    _draw(config, "failures", draw_failures(worst))
    sections = {
        "worst": worst_lines(worst),
        "topics": topic_lines(every),
        "portraits": portrait_lines([case for cases in by_portrait for case in cases]),
        "stillness": table(still),
        "flicker": flicker_table(flicker),
        "long runs": long_run_table([long_run]),
    }
    write_sections(config.docs / "contact-sheet.md", sections)
    _keep(config, "contact", {"cases": [_plain(case) for case in every], **sections})


def _plain(case: Case) -> dict[str, object]:
    figures = {"identity": case.shot.identity, "followed": case.followed}
    return {"case": case.name, **figures}


def run_fairness(config: FiguresConfig, studio: Studio, advance: Advance) -> Fairness:
    """Figures by skin tone, sex and age.

    Raises:
        ValueError: media are missing.
        OSError: the document cannot be written.
    """
    found = measure_fairness(
        studio,
        config.data / "stills",
        num_stills=config.num_stills,
        seed=config.seed,
        advance=advance,
    )
    sections = {"groups": table_lines(found.comparisons), "gaps": gap_lines(found)}
    if found.left_out:
        sections["gaps"] += ["", "Left out: " + " ".join(found.left_out)]
    write_sections(config.docs / "fairness.md", sections)
    _keep(config, "fairness", {**asdict(found), **sections})
    return found


def _drivers(config: FiguresConfig) -> list[Any]:
    clips = config.data / "clips"
    return list(validation_drivers(clips, config.data / "clips.csv", config.split))


def _draw(config: FiguresConfig, name: str, image: Any) -> None:
    write_webp(config.docs / f"{name}.webp", image, max_bytes=MAX_BYTES[name])


def _keep(config: FiguresConfig, part: Part, content: Mapping[str, object]) -> None:
    """A part's figures, and of which weights they are."""
    config.work.mkdir(parents=True, exist_ok=True)
    document = {"model": config.model, "digest": model_digest(config.model), **content}
    text = json.dumps(_without_nan(document), indent=1, ensure_ascii=False) + "\n"
    write_atomically(config.work / f"{part}.json", text.encode())


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: not measured is null."""
    if isinstance(value, Mapping):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and value != value else value


def kept(config: FiguresConfig, part: Part) -> dict[str, Any]:
    """What a part found, if it was of these very weights.

    Raises:
        ValueError: it has not been run, or on other weights.
    """
    path: Path = config.work / f"{part}.json"
    again = f"run scripts/figures {part}"
    if not path.is_file():
        raise ValueError(f"Got no figures at {path}, which the model card tells: {again}")
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if document["digest"] != model_digest(config.model):
        raise ValueError(f"Got figures at {path} of other weights than {config.model}'s: {again}")
    return document
