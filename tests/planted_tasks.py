"""Tasks for tests of workers, in a module that other processes can import."""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from difffae.data.report import Finding
from difffae.data.shards import cannot_write
from difffae.data.tasks import Bench


@dataclass(frozen=True, kw_only=True)
class PlantedTask:
    """Writes its process's number, or fails in the way it is told to.

    Two that meet wait for each other, one the reader and one the writer of a named pipe: they end
    only if they run at the same time.
    """

    name: str
    fault: str = ""

    @property
    def stamps(self) -> Mapping[str, str]:
        return {self.name: "stamp"}

    def run(self, bench: Bench) -> list[Finding]:
        if self.fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "full disk":
            raise cannot_write(Path(self.name), OSError(28, "No space left on device"))
        if self.fault == "bad file":
            raise ValueError("a bad file")
        if self.fault.startswith("meet "):
            _, mode, place = self.fault.split(" ", 2)
            os.close(os.open(place, os.O_RDONLY if mode == "reader" else os.O_WRONLY))
        (bench.settings.output / self.name).write_text(str(os.getpid()), "utf-8")
        return [Finding(file=self.name, result="written", clip=self.name, output=self.name)]
