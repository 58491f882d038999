"""What a model costs in quality at each precision, beside the first one on the same frames."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from difffae.metrics.outputs import model_name, step_rows
from difffae.metrics.report import Report
from difffae.metrics.scores import PersonScores

MAX_LOSS_DB = 0.3
MAX_IDENTITY_LOSS = 0.01
_HEADINGS = ("protocol", "precision", "PSNR dB", "lost", "identity", "lost", "within")
_CAPTION = (
    f"Lost against the first of the precisions on the same frames: at most {MAX_LOSS_DB:g} dB of "
    f"PSNR to the true frame and {MAX_IDENTITY_LOSS:g} of identity are within the target."
)


@dataclass(frozen=True, kw_only=True)
class PrecisionCost:
    """A precision's figures at one number of steps.

    Attributes:
        protocol, row, precision: which.
        psnr_db, identity: measured; NaN where the protocol has no truth or nothing embeds.
        lost_db, lost_identity: less than with the first precision; negative where it is more.
    """

    protocol: str
    row: str
    precision: str
    psnr_db: float
    lost_db: float
    identity: float
    lost_identity: float

    @property
    def is_within(self) -> bool:
        """Whether what could be measured is within the target, and something could."""
        measured = not (math.isnan(self.lost_db) and math.isnan(self.lost_identity))
        too_much = self.lost_db > MAX_LOSS_DB or self.lost_identity > MAX_IDENTITY_LOSS
        return measured and not too_much


def precision_costs(
    report: Report, name: str, precisions: Sequence[str], steps: Sequence[int]
) -> list[PrecisionCost]:
    """The costs of all precisions of a model, in the order of the report.

    Args:
        report: holds rows of every precision.
        name: the model's.
        precisions: the first is what the others are compared with.
        steps: numbers of steps that were measured.
    """
    names = [list(step_rows(model_name(name, precision), steps)) for precision in precisions]
    return [
        _cost(protocol, precision, own[index], rows, names[0][index])
        for protocol, rows in report.rows.items()
        for index in range(len(steps))
        for precision, own in zip(precisions, names, strict=True)
        if own[index] in rows and names[0][index] in rows
    ]


def _cost(
    protocol: str, precision: str, row: str, rows: Mapping[str, PersonScores], exact_row: str
) -> PrecisionCost:
    mean, exact = rows[row].mean, rows[exact_row].mean
    return PrecisionCost(
        protocol=protocol,
        row=row,
        precision=precision,
        psnr_db=mean.psnr_db,
        lost_db=exact.psnr_db - mean.psnr_db,
        identity=mean.identity,
        lost_identity=exact.identity - mean.identity,
    )


def table(costs: Sequence[PrecisionCost]) -> Table:
    """The rich table."""
    drawn = Table(title="Cost of precision", caption=_CAPTION, caption_justify="left")
    for index, heading in enumerate(_HEADINGS):
        drawn.add_column(heading, justify="left" if index < 2 else "right", no_wrap=True)
    for cost in costs:
        drawn.add_row(*_cells(cost))
    return drawn


def markdown_sections(costs: Sequence[PrecisionCost]) -> list[str]:
    """The same table in Markdown, as lines."""
    lines = [f"| {' | '.join(_HEADINGS)} |", "|---|---|" + "---:|" * (len(_HEADINGS) - 2)]
    lines += [f"| {' | '.join(_cells(cost))} |" for cost in costs]
    return ["## Cost of precision", "", *lines, "", _CAPTION, ""]


def _cells(cost: PrecisionCost) -> list[str]:
    return [
        cost.protocol,
        cost.row,
        _number(cost.psnr_db, ".2f"),
        _number(cost.lost_db, "+.3f"),
        _number(cost.identity, ".4f"),
        _number(cost.lost_identity, "+.4f"),
        "yes" if cost.is_within else "no",
    ]


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"
