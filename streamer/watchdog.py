"""Notices that the compute process does nothing although it has something to do."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

_MANY_RESULTS = 50
Work = Literal["start", "frames", "portraits"]


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long the compute process may be silent with work before it, in seconds.

    Attributes:
        start_s: while it loads and warms up; networks may be compiled for the first time then.
        frames_s: with a frame or a request before it.
        portraits_s: with a portrait to encode.
    """

    start_s: float = 900.0
    frames_s: float = 20.0
    portraits_s: float = 120.0

    @property
    def check_s(self) -> float:
        """How often to look."""
        return min(self.start_s, self.frames_s, self.portraits_s) / 10

    def of(self, work: Work) -> float:
        """The limit for that kind of work."""
        limits: dict[Work, float] = {
            "start": self.start_s,
            "frames": self.frames_s,
            "portraits": self.portraits_s,
        }
        return limits[work]


class Watchdog:
    """When each kind of work last got on. Pure: times are those that it is told.

    Args:
        patience: the limits.
        now_s: when it begins to watch.
    """

    def __init__(self, patience: Patience, now_s: float) -> None:
        self._patience = patience
        self._checked_s = now_s
        self._heard_s: dict[Work, float] = {}

    def hear(self, work: Work, now_s: float) -> None:
        """Something came of that kind of work."""
        self._heard_s[work] = now_s

    def overdue(self, waiting: Collection[Work], now_s: float) -> Work | None:
        """A kind of work that nothing came of for too long.

        Args:
            waiting: all kinds that there is work of.
            now_s: when; calls are to come every `Patience.check_s`. After a longer pause it is we
                who did not listen, and the patience begins anew.
        """
        has_paused = now_s - self._checked_s > 5 * self._patience.check_s
        self._checked_s = now_s
        kept = {} if has_paused else self._heard_s
        self._heard_s = {work: kept.get(work, now_s) for work in waiting}
        return next(
            (
                work
                for work, heard_s in self._heard_s.items()
                if now_s - heard_s > self._patience.of(work)
            ),
            None,
        )


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """What the model worked for when its process was lost.

    Attributes:
        name: of a session, or a portrait's hash; empty where it is not known.
        num_results: that the session had from that process.
    """

    name: str = ""
    num_results: int = 0


class Suspects:
    """What processes were lost over, and how often.

    Args:
        max_losses: of one before it is not served any more.
        max_kept: that are remembered, the latest.
    """

    def __init__(self, max_losses: int, max_kept: int = 256) -> None:
        self._max_losses = max_losses
        self._max_kept = max_kept
        self._num_losses: dict[str, int] = {}

    def blame(self, suspect: Suspect) -> None:
        """One more process was lost; a session that went well for a while counts from the start."""
        if not suspect.name:
            return
        before = self._num_losses.pop(suspect.name, 0)
        self._num_losses[suspect.name] = 1 + before * (suspect.num_results < _MANY_RESULTS)
        if len(self._num_losses) > self._max_kept:
            del self._num_losses[next(iter(self._num_losses))]

    def is_banned(self, name: str) -> bool:
        """Whether too many were lost."""
        return self._num_losses.get(name, 0) >= self._max_losses
