"""Which stages of a run are finished: a run directory in, what is left to do out."""

import json
from collections.abc import Sequence
from pathlib import Path

from difffae.checkpoint import write_atomically

_FILE = "finished.json"


class FinishedStages:
    """The stages with a closed solution that are learned, kept in `<run>/finished.json`.

    Stages trained by gradient descent tell by their checkpoints how far they are.
    """

    def __init__(self, run_directory: Path, order: Sequence[str]) -> None:
        """Read what is finished.

        Args:
            run_directory: Folder of the whole run.
            order: All stages in the order of training.
        """
        self._path = run_directory / _FILE
        self._order = list(order)

    def names(self) -> list[str]:
        """Finished stages; a file that does not read says nothing."""
        try:
            return [str(name) for name in json.loads(self._path.read_text("utf-8"))]
        except (FileNotFoundError, json.JSONDecodeError):
            return []

    def forget_from(self, name: str) -> None:
        """A stage is trained anew: it and what comes after it are finished no more."""
        stale = set(self._order[self._order.index(name) :])
        self._write([each for each in self.names() if each not in stale])

    def add(self, name: str) -> None:
        """A stage is learned."""
        self._write([*self.names(), name])

    def _write(self, names: list[str]) -> None:
        if names != self.names():
            write_atomically(self._path, json.dumps(names).encode())
