"""The report beside prepared data: what was written, what was refused and why, what is finished.

One JSON object a line. A clip's line has `file`, `clip` and `result`: "written", "kept" (it was
there already) or "rejected", then with `reason` and, where one was measured, `value` and `limit`.
A line with the result "finished" closes a file: the next run leaves the file alone as long as it
has the same `stamp` and its clips are there. Delete the line, or the report, to try it again.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from difffae.data.shards import cannot_write

REPORT_NAME = "report.jsonl"
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What became of one clip, still, file or row of a table.

    Attributes:
        file: path of the file it is about.
        result: what became of it.
        clip: name of the clip, where there is one.
        output: the written file, relative to the output folder.
        reason: why it was rejected, or what is to be known of a written one.
        value: the figure measured.
        limit: the figure it has to hold to.
        row: line of the table, the header being 1.
    """

    file: str
    result: Literal["written", "kept", "rejected", "finished"]
    clip: str | None = None
    output: str | None = None
    reason: str | None = None
    value: float | None = None
    limit: float | None = None
    row: int | None = None
    stamp: str | None = None

    def line(self) -> str:
        """The report's line."""
        content = {name: value for name, value in asdict(self).items() if value is not None}
        for name in ("value", "limit"):
            if name in content:
                content[name] = float(f"{content[name]:.4g}")
        return json.dumps(content, ensure_ascii=False)

    def __str__(self) -> str:
        name = Path(self.file).name
        place = name if self.row is None else f"{name} line {self.row}"
        clip = "" if self.clip is None or name.startswith(self.clip) else f" {self.clip}"
        figure = "" if self.value is None else f" ({self.value:.3g}, limit {self.limit:.3g})"
        return f"{place}{clip}: {self.reason}{figure}, left out"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How many clips and stills a run wrote, kept and rejected, and the reasons."""

    written: int
    kept: int
    rejected: int
    reasons: Mapping[str, int]

    def __str__(self) -> str:
        text = f"{self.written} written, {self.kept} kept from before, {self.rejected} rejected"
        common = Counter(self.reasons).most_common(5)
        return text + (": " + ", ".join(f"{n} {why}" for why, n in common) if common else "")


class Report:
    """The report of an output folder, read back and written on.

    Raises:
        ValueError: the folder was prepared with other settings.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any]) -> None:
        self._output = output
        self._path = output / REPORT_NAME
        self._stamps: dict[str, str] = {}
        self._outputs: dict[str, set[str]] = {}
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        wanted = json.loads(json.dumps(settings))
        found = self._read_back()
        if found is None:
            self._write([json.dumps({"settings": wanted})])
        elif found != wanted:
            name = next(key for key in {**found, **wanted} if found.get(key) != wanted.get(key))
            raise ValueError(
                f"{output} was prepared with {name} {found.get(name)}, not {wanted.get(name)}: "
                "give another output folder, or the same settings"
            )

    def is_finished(self, file: str, stamp: str) -> bool:
        """Whether an earlier run has finished with this file as it is now."""
        outputs = self._outputs.get(file, set())
        same = self._stamps.get(file) == stamp
        return same and all((self._output / output).exists() for output in outputs)

    def num_finished(self, folder: Path, suffixes: frozenset[str]) -> int:
        """How many files of these kinds in a folder earlier runs have finished with."""
        return sum(
            Path(file).suffix.lower() in suffixes and Path(file).is_relative_to(folder)
            for file in self._stamps
        )

    def skip(self, file: str) -> None:
        """Count what an earlier run wrote of a file."""
        self._counts["kept"] += len(self._outputs.get(file, set()))

    def add(self, findings: Sequence[Finding]) -> None:
        """Write findings down, at once, and count them.

        Raises:
            CannotWriteError: the disk is full or gone.
        """
        for finding in findings:
            self._counts[finding.result] += 1
            if finding.result == "rejected":
                self._reasons[(finding.reason or "").split(":")[0]] += 1
                log.warning("%s", finding)
        self._write([finding.line() for finding in findings])

    def summary(self) -> Summary:
        """What this run did."""
        counts = self._counts
        return Summary(
            written=counts["written"],
            kept=counts["kept"],
            rejected=counts["rejected"],
            reasons=dict(self._reasons),
        )

    def _write(self, lines: Sequence[str]) -> None:
        try:
            self._output.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(line + "\n" for line in lines))
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def _read_back(self) -> Mapping[str, Any] | None:
        """Take in what earlier runs wrote; the settings they had, None where there is no report."""
        if not self._path.is_file():
            return None
        settings: Mapping[str, Any] | None = None
        text = self._path.read_text("utf-8", errors="replace")
        if text and not text.endswith("\n"):
            self._write([""])  # a line a killed run left half written ends here
        for line in text.splitlines():
            try:
                content = json.loads(line)
            except json.JSONDecodeError:
                continue
            if "settings" in content:
                settings = content["settings"]
            elif content["result"] == "finished":
                self._stamps[content["file"]] = content["stamp"]
            elif "output" in content:
                self._outputs.setdefault(content["file"], set()).add(content["output"])
        return settings
