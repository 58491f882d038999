"""How many frames a second a camera had better send, where the model cannot use all of them.

A frame that gives way to a newer one was encoded, sent and decoded for nothing, often on the very
processor that the model waits for. So the client is told a little more than is used: the model
never waits for a frame, and few wait for the model. The number goes down when many frames are
dropped, and up again as soon as hardly any are; from time to time it is raised to see whether more
would be used by now, so that it cannot stay low for good.
"""

import math
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class RateSettings:
    """When the number changes, and by how much.

    Attributes:
        margin: asked for, times what is used.
        most_dropped, least_dropped: shares of the camera's frames; above the one it goes down,
            below the other up.
        raised: factor on the way up.
        probe_s: after this long without a change it is raised to see what comes of it.
        window_s: what a decision rests on; at least this long after a change nothing is changed.
        least_fps: it never asks for fewer.
    """

    margin: float = 1.12
    most_dropped: float = 0.16
    least_dropped: float = 0.06
    raised: float = 1.25
    probe_s: float = 10.0
    window_s: float = 2.0
    least_fps: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Count:
    """Frames of the camera since the session began.

    Attributes:
        now_s: when they were counted.
        received: that came.
        dropped: of those, that gave way to a newer one.
    """

    now_s: float
    received: int
    dropped: int


@dataclass(kw_only=True)
class CameraRate:
    """What to ask of a camera. Pure: times are those that it is told.

    Attributes:
        settings: see there.
        wanted_fps: frames a second; None while the camera may send all it has.
    """

    settings: RateSettings = field(default_factory=RateSettings)
    wanted_fps: int | None = None
    _counts: deque[Count] = field(default_factory=deque)
    _changed_s: float | None = None

    def release(self) -> None:
        """Let the camera send all it has: nothing can be said of what is used."""
        self._counts.clear()
        self.wanted_fps = None

    def observe(self, count: Count) -> None:
        """Look at the counts, about once a second, while results are made."""
        counts = self._counts
        if counts and count.dropped < counts[-1].dropped:  # another stream counts anew
            counts.clear()
        counts.append(count)
        while len(counts) > 2 and count.now_s - counts[1].now_s >= self.settings.window_s:
            counts.popleft()
        passed_s = count.now_s - counts[0].now_s
        num_received = count.received - counts[0].received
        if passed_s < self.settings.window_s or num_received <= 0:
            return
        num_dropped = min(count.dropped - counts[0].dropped, num_received)
        self._decide(count, num_received / passed_s, num_dropped / num_received)

    def _decide(self, count: Count, received_fps: float, dropped: float) -> None:
        settings, wanted = self.settings, self.wanted_fps
        if dropped > settings.most_dropped:
            fps = max(settings.least_fps, settings.margin * (1 - dropped) * received_fps)
            if fps < received_fps:
                self._ask(count, fps)
        elif wanted is None:
            return
        elif received_fps < wanted / settings.raised:  # it does not send as many anyway
            self._ask(count, None)
        elif dropped < settings.least_dropped or self._is_old(count.now_s):
            self._ask(count, settings.raised * wanted)

    def _is_old(self, now_s: float) -> bool:
        return self._changed_s is not None and now_s - self._changed_s >= self.settings.probe_s

    def _ask(self, count: Count, fps: float | None) -> None:
        self.wanted_fps = None if fps is None else math.ceil(fps)
        self._changed_s = count.now_s
        self._counts.clear()
