"""How long each stage of a frame took lately, and how many frames a second came out."""

from collections import deque
from collections.abc import Mapping
from itertools import pairwise

NUM_KEPT = 150
_STAGES = {"received": "receive", "converted": "convert"}


class StageTimes:
    """Median and 95th percentile of each stage over the last frames.

    Args:
        num_kept: frames that count.
    """

    def __init__(self, num_kept: int = NUM_KEPT) -> None:
        self._num_kept = num_kept
        self._durations_s: dict[str, deque[float]] = {}
        self._shown_s: deque[float] = deque(maxlen=num_kept)

    def add_frame(self, times_s: Mapping[str, float]) -> None:
        """Count a frame by when it passed each stage; the first time is where it began."""
        passed = sorted(times_s.items(), key=lambda stage: stage[1])
        if len(passed) < 2:
            return
        for (_, before_s), (name, after_s) in pairwise(passed):
            self.add(_STAGES.get(name, name), after_s - before_s)
        self.add("total", passed[-1][1] - passed[0][1])
        self._shown_s.append(passed[-1][1])

    def add(self, stage: str, duration_s: float) -> None:
        """Count one duration of a stage."""
        if stage not in self._durations_s:
            self._durations_s[stage] = deque(maxlen=self._num_kept)
        self._durations_s[stage].append(duration_s)

    def median_s(self, stage: str) -> float:
        """The usual duration of a stage; 0 before the first."""
        return _percentile(self._durations_s.get(stage, ()), 0.5)

    def stages_ms(self) -> dict[str, dict[str, float]]:
        """Every stage's "p50" and "p95" in milliseconds."""
        return {
            stage: {
                "p50": round(1000 * _percentile(durations, 0.5), 1),
                "p95": round(1000 * _percentile(durations, 0.95), 1),
            }
            for stage, durations in self._durations_s.items()
        }

    def fps(self, now_s: float, window_s: float = 3.0) -> float:
        """Frames a second that came out in the last seconds before `now_s`."""
        recent = [shown_s for shown_s in self._shown_s if shown_s > now_s - window_s]
        if len(recent) < 2:
            return 0.0
        return len(recent) / max(now_s - recent[0], 1e-3)


def _percentile(durations_s: deque[float] | tuple[()], part: float) -> float:
    """Nearest rank; 0 of none."""
    if not durations_s:
        return 0.0
    ordered = sorted(durations_s)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]
