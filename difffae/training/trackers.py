"""Where logged rows go beside the run's own file: TensorBoard, Weights & Biases, or nowhere."""

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from difffae.training.errors import TrainingError

_WANDB_ID_FILE = "wandb-run.txt"


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """What a tracker is told of a run when it is opened.

    Attributes:
        folder: The stage's folder, where a tracker may keep its files.
        first_step: Finished steps; rows after it that an interrupted run sent are void.
        settings: The run's configuration, as JSON values.
    """

    folder: Path
    first_step: int
    settings: Mapping[str, Any]


@runtime_checkable
class Tracker(Protocol):
    """Shows the rows of a run."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Show one row, at once."""

    def close(self) -> None:
        """Finish."""


class TensorBoardTracker:
    """TensorBoard's event files in the stage's folder."""

    def __init__(self, run: TrackedRun) -> None:
        """Open a file of events.

        Raises:
            TrainingError: TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing("tensorboard", "TensorBoard") from error
        self._events = SummaryWriter(str(run.folder), purge_step=run.first_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker.write`."""
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
        self._events.flush()

    def close(self) -> None:
        """See `Tracker.close`."""
        self._events.close()


class WandbTracker:
    """A run of Weights & Biases, resumed with the stage; WANDB_MODE=offline keeps it local."""

    def __init__(self, run: TrackedRun) -> None:
        """Open the run, of the project difffae unless WANDB_PROJECT names another.

        Raises:
            TrainingError: wandb is not installed.
        """
        try:
            wandb = importlib.import_module("wandb")
        except ImportError as error:
            raise _missing("wandb", "Weights & Biases") from error
        identity = run.folder / _WANDB_ID_FILE
        if not identity.exists():
            identity.write_text(wandb.util.generate_id(), "utf-8")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "difffae"),
            name=f"{run.folder.parent.name}/{run.folder.name}",
            id=identity.read_text("utf-8").strip(),
            dir=str(run.folder),
            config=dict(run.settings),
            resume="allow",
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker.write`."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """See `Tracker.close`."""
        self._run.finish()


def open_tracker(kind: Literal["tensorboard", "wandb", "none"], run: TrackedRun) -> Tracker | None:
    """The tracker that `trainer.report_to` names.

    Raises:
        TrainingError: It is not installed.
    """
    if kind == "none":
        return None
    return TensorBoardTracker(run) if kind == "tensorboard" else WandbTracker(run)


def _missing(package: str, title: str) -> TrainingError:
    return TrainingError(
        f"trainer.report_to is {package}, but {title} is not installed: "
        f"pip install {package}, or set trainer.report_to to another or to none"
    )
