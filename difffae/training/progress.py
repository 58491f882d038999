"""Telling how training goes: logged rows in; a file, a tracker and a progress bar out."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol, runtime_checkable

from difffae.checkpoint import write_atomically
from difffae.training.trackers import Tracker

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LogRow:
    """Means over the steps since the last row.

    Attributes:
        step: Finished steps.
        values: Loss, gradient norm, learning rate and the stage's own metrics, by name.
        samples_per_s: Over all processes.
        remaining_s: Expected seconds until the run ends.
    """

    step: int
    values: dict[str, float]
    samples_per_s: float
    remaining_s: float

    def sentence(self) -> str:
        """The row as one line of text."""
        numbers = " ".join(f"{name} {value:.4g}" for name, value in self.values.items())
        remaining = timedelta(seconds=round(self.remaining_s))
        return f"{numbers} {self.samples_per_s:.1f} samples/s ETA {remaining}"


class MetricsLog:
    """Rows to `metrics.jsonl`, and to a tracker if there is one."""

    def __init__(self, path: Path, first_step: int, tracker: Tracker | None = None) -> None:
        """Open the file, forgetting rows past `first_step` that a killed run left."""
        _forget_rows_after(path, first_step)
        self._file = path.open("a", encoding="utf-8")
        self._tracker = tracker

    def write(self, row: LogRow) -> None:
        """Append one row to both, visible to readers at once."""
        values = {**row.values, "samples_per_s": row.samples_per_s}
        self._file.write(json.dumps({"step": row.step, **values}) + "\n")
        self._file.flush()
        if self._tracker is not None:
            self._tracker.write(row.step, values)

    def close(self) -> None:
        """Close both."""
        try:
            self._file.close()
        finally:
            if self._tracker is not None:
                self._tracker.close()


def _forget_rows_after(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = [line for line in path.read_text("utf-8").splitlines() if _row_step(line) <= step]
    write_atomically(path, "".join(f"{line}\n" for line in kept).encode())


def _row_step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except json.JSONDecodeError:
        return float("inf")


@runtime_checkable
class Display(Protocol):
    """Where progress is shown."""

    def advance(self, step: int) -> None:
        """Tell that `step` steps are finished."""

    def show(self, row: LogRow) -> None:
        """Show the newest row."""


OpenDisplay = Callable[[str, int, int], AbstractContextManager[Display]]
"""Opens a display from a title, the first step and the number of steps."""


class PlainDisplay:
    """One log line a row."""

    def __init__(self, num_steps: int) -> None:
        """Remember the whole run's length."""
        self._num_steps = num_steps

    def advance(self, step: int) -> None:
        """Nothing: lines come with rows only."""

    def show(self, row: LogRow) -> None:
        """Log the row."""
        _LOGGER.info("step %d/%d %s", row.step, self._num_steps, row.sentence())


@contextmanager
def open_log_lines(title: str, first_step: int, num_steps: int) -> Iterator[Display]:
    """Log the start, then one line a row."""
    _LOGGER.info("%s from step %d", title, first_step)
    yield PlainDisplay(num_steps)
