"""The progress bar of a training run on a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from difffae.training.progress import LogRow


class BarDisplay:
    """A rich bar whose text is the newest row."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        """Take over a started bar."""
        self._progress = progress
        self._task = task

    def advance(self, step: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=step)

    def show(self, row: LogRow) -> None:
        """Put the row beside the bar."""
        self._progress.update(self._task, row=row.sentence())


@contextmanager
def open_bar(
    title: str, first_step: int, num_steps: int, *, console: Console
) -> Iterator[BarDisplay]:
    """Show a bar on the console until left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[row]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=num_steps, completed=first_step, row="")
        yield BarDisplay(progress, task)
