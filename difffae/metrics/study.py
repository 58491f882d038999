"""A run: settings and a model in; every protocol measured, one report out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2

from difffae.data.split import Clip, read_clips
from difffae.face.mediapipe import triangles
from difffae.face.tracker import FaceNotFoundError, SeveralFacesError
from difffae.metrics.definitions import definitions
from difffae.metrics.disentanglement import (
    MAX_QUERIES,
    Disentanglement,
    EditedCase,
    matrix,
)
from difffae.metrics.edit_table import markdown_sections as edit_sections
from difffae.metrics.editing import Bench, Editor
from difffae.metrics.evaluation import UNMOVED_ROW, CaseResult, Evaluation, Methods
from difffae.metrics.grid import GridRow, draw_grid
from difffae.metrics.instruments import Measurement, load_measurement
from difffae.metrics.light_transfer import LightTransfer
from difffae.metrics.outputs import Case, ProtocolName, model_name
from difffae.metrics.paper_table import NOT_COMPARABLE, PAPER_ROWS
from difffae.metrics.paper_table import markdown_sections as paper_sections
from difffae.metrics.precision_table import PrecisionCost, precision_costs
from difffae.metrics.precision_table import markdown_sections as precision_sections
from difffae.metrics.protocol import cross_pairs
from difffae.metrics.realism import warnings
from difffae.metrics.report import Report, as_json, markdown
from difffae.metrics.scores import by_person
from difffae.metrics.settings import EvaluateConfig
from difffae.pipeline import Pipeline
from difffae.runtime.network import Precision

Advance = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """All cases of a run, measured."""

    results: list[CaseResult]
    edited: list[EditedCase]
    measurement: Measurement
    left_out: list[str] = field(default_factory=list)  # a sentence each

    @property
    def shown(self) -> list[tuple[Case, GridRow]]:
        """Every case with its pictures."""
        driven = [(result.case, result.pictures) for result in self.results]
        return driven + [(each.case, each.pictures) for each in self.edited]


def draw_cases(clips: list[Clip], config: EvaluateConfig) -> list[Case]:
    """What is measured, protocol by protocol.

    A clip by itself in self and relight; pairs of strangers, drawn by the seed and the same for
    all, in cross, light and disentanglement.
    """
    alone = [(clip, clip) for clip in clips]
    pairs = cross_pairs(clips, config.seed) if {"cross", "light"} & {*config.protocols} else []
    if "disentanglement" in config.protocols and not pairs:
        pairs = cross_pairs(clips, config.seed)
    return [
        Case(protocol=protocol, source=source, driver=driver)
        for protocol in config.protocols
        for source, driver in (alone if protocol in ("self", "relight") else pairs)
    ]


class Study:
    """Measures the cases of one run."""

    def __init__(
        self,
        config: EvaluateConfig,
        pipeline: Pipeline | None,
        variants: Mapping[Precision, Pipeline] | None = None,
    ) -> None:
        """Load the instruments and draw the cases.

        Args:
            config: what is asked for.
            pipeline: the model, at the first of the precisions.
            variants: the model at the others.

        Raises:
            ValueError: media or weights cannot be used.
        """
        self._config = config
        self._pipeline = pipeline
        self._measurement = load_measurement(config)
        clips = read_clips(config.clips, config.csv, config.split)[: config.max_clips]
        self.cases = draw_cases(clips, config)
        self._methods = Methods(
            pipeline=pipeline,
            name=_model_name(config, config.precision[0]),
            steps=config.steps,
            external=config.external,
            cross=config.cross,
            variants={
                _model_name(config, precision): variant
                for precision, variant in (variants or {}).items()
            },
        )

    def run(self, advance: Advance) -> StudyResult:
        """Measure all cases; `advance` is called after each.

        A case whose source or driver shows no face, or whose source shows several, is left out and
        named in the result.

        Raises:
            ValueError: a video cannot be read, or no case could be measured.
        """
        measurement = self._measurement
        found = StudyResult(results=[], edited=[], measurement=measurement)
        driven = [case for case in self.cases if case.protocol in ("self", "cross")]
        evaluation = Evaluation(
            self._methods,
            driven,
            instruments=measurement.instruments,
            max_frames=self._config.max_frames,
            realism=measurement.realism,
        )
        for case in driven:
            _try(found, case, lambda case: found.results.append(evaluation.measure(case)))
            advance()
        if self._pipeline is not None and len(driven) < len(self.cases):
            self._run_edits(self._pipeline, found, advance)
        if not found.shown:
            raise ValueError(f"Got no case that could be measured: {'; '.join(found.left_out)}")
        return found

    def _run_edits(self, pipeline: Pipeline, found: StudyResult, advance: Advance) -> None:
        """The protocols that show the model parameters directly."""
        measurement, config = self._measurement, self._config
        bench = Bench(
            instruments=measurement.instruments,
            parameters=measurement.parameters,
            realism=measurement.realism,
        )
        editor = Editor(pipeline, self._methods)
        light = LightTransfer(editor, bench, triangles())
        edits = Disentanglement(editor, bench, max_queries=min(MAX_QUERIES, config.max_frames))
        for case in self.cases:
            if case.protocol == "disentanglement":
                _try(found, case, lambda case: found.edited.append(edits.measure(case)))
            elif case.protocol in ("light", "relight"):
                _try(found, case, lambda case: found.results.append(light.measure(case)))
            else:
                continue
            advance()


def _model_name(config: EvaluateConfig, precision: str) -> str:
    name = Path(config.model).name
    return model_name(name, precision) if len(config.precision) > 1 else name


def costs(report: Report, config: EvaluateConfig) -> list[PrecisionCost]:
    """What each precision costs; nothing where there is only one."""
    if len(config.precision) == 1:
        return []
    return precision_costs(report, Path(config.model).name, config.precision, config.steps)


def _try(found: StudyResult, case: Case, measure: Callable[[Case], None]) -> None:
    """Measure a case, or note why it had to be left out."""
    try:
        measure(case)
    except (FaceNotFoundError, SeveralFacesError) as error:
        found.left_out.append(f"{case.protocol} {case.video_name}: {error}")


def gather(study: StudyResult, config: EvaluateConfig) -> Report:
    """The report of all cases: rows by protocol, averaged by person and by video."""
    rows = {}
    for protocol in config.protocols:
        chosen = [result for result in study.results if result.case.protocol == protocol]
        names = list(chosen[0].scores) if chosen else []
        rows[protocol] = {
            name: by_person((r.case.driver.person, r.scores[name]) for r in chosen)
            for name in names
        }
    cases = [case for case, _ in study.shown]
    num_people = len({case.driver.person for case in cases})
    realism = study.measurement.realism.results() if study.measurement.realism else {}
    return Report(
        title=f"{config.model} on {num_people} people of split {config.split}",
        rows={protocol: named for protocol, named in rows.items() if named},
        settings={name: _plain(value) for name, value in asdict(config).items()},
        cases=[_plain_case(case) for case in cases],
        instruments=study.measurement.names,
        realism=realism,
        edits=matrix(study.edited) if study.edited else None,
        warnings=(*warnings(realism), *(f"Left out {case}" for case in study.left_out)),
    )


def _plain_case(case: Case) -> dict[str, str]:
    return {
        "protocol": case.protocol,
        "source": case.source.path.name,
        "driver": case.driver.path.name,
        "person": case.driver.person,
    }


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return str(value) if isinstance(value, Path) else value


def document(report: Report, compared: Sequence[PrecisionCost] = ()) -> str:
    """The whole report in Markdown, with what each precision costs."""
    edits = edit_sections(report.edits) if report.edits is not None else []
    warned = [f"**Warning.** {text}." for text in report.warnings]
    defined = [f"- {text}" for text in definitions(report)]
    cost = precision_sections(compared) if compared else []
    sections = [
        *cost,
        *paper_sections(report),
        *edits,
        "## Definitions",
        "",
        *defined,
        "",
        *warned,
        "",
    ]
    return "\n".join([markdown(report), *sections])


def write_report(report: Report, study: StudyResult, config: EvaluateConfig) -> None:
    """Write figures.json, figures.md and a grid of pictures for each protocol.

    Raises:
        OSError: the folder cannot be written.
    """
    config.output.mkdir(parents=True, exist_ok=True)
    paper = {
        name: dict(zip(("FID", "APD", "AED", "ALD", "CSIM"), map(_or_none, values), strict=True))
        for name, values in PAPER_ROWS
    }
    compared = costs(report, config)
    text = as_json(
        report,
        precisions=[{**asdict(cost), "is_within": cost.is_within} for cost in compared],
        definitions=definitions(report),
        paper={"rows": paper, "note": NOT_COMPARABLE},
    )
    (config.output / "figures.json").write_text(text, encoding="utf-8")
    (config.output / "figures.md").write_text(document(report, compared), encoding="utf-8")
    for protocol in config.protocols:
        _write_grid(protocol, study.shown, config)


def _write_grid(
    protocol: ProtocolName, shown: Sequence[tuple[Case, GridRow]], config: EvaluateConfig
) -> None:
    people: dict[str, GridRow] = {}
    for case, pictures in shown:
        if case.protocol == protocol:
            people.setdefault(case.driver.person, _ordered(pictures))
    if not people:
        return
    grid = draw_grid(list(people.values())[: config.grid_rows])
    if not cv2.imwrite(str(config.output / f"grid_{protocol}.png"), grid[..., ::-1]):
        raise OSError(f"Got no picture written to {config.output}: is it writable?")


def _ordered(pictures: GridRow) -> GridRow:
    """Source, driver, then every other row."""
    names = list(pictures.pictures)
    first = [name for name in names if name in (UNMOVED_ROW, "source")]
    first += [name for name in names if name.startswith("driver")]
    ordered = [*first, *(name for name in names if name not in first)]
    return GridRow(label=pictures.label, pictures={n: pictures.pictures[n] for n in ordered})


def _or_none(value: float) -> float | None:
    return value if value == value else None  # NaN is not equal to itself
