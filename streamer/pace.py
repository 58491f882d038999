"""When the next frame is begun while another one is being finished: late, so that it is new.

Two stages work side by side. A frame begun at once would only wait, growing old, for the one before
it to be finished; begun too late, it would keep the second stage waiting.
"""

from dataclasses import dataclass

_NEW_SHARE = 0.1  # of a measurement in its running mean
_MARGIN_S = 0.004  # begun that much sooner than needed: times vary
MOST_IN_HAND = 2


@dataclass(kw_only=True)
class Pace:
    """Frames in hand, and how long both stages take. Pure: times are those that it is told.

    Attributes:
        num_in_hand: frames that were handed to the second stage and are not finished.
        prepare_s, paint_s: running means of the stages.
    """

    num_in_hand: int = 0
    prepare_s: float = 0.0
    paint_s: float = 0.0
    _painting_since_s: float | None = None

    def delay_s(self, now_s: float) -> float | None:
        """How long to wait before a frame is begun; None: until one is finished."""
        if self.num_in_hand >= MOST_IN_HAND:
            return None
        if self.num_in_hand == 0 or self._painting_since_s is None:
            return 0.0
        lead_s = self.prepare_s + _MARGIN_S
        return max(0.0, self._painting_since_s + self.paint_s - lead_s - now_s)

    def prepared(self, took_s: float) -> None:
        """The first stage gave a frame to the second."""
        self.num_in_hand += 1
        self.prepare_s = _mean(self.prepare_s, took_s)

    def painting(self, now_s: float) -> None:
        """The second stage began; may be told by its thread."""
        self._painting_since_s = now_s

    def painted(self, took_s: float) -> None:
        """The second stage finished a frame."""
        self.num_in_hand -= 1
        self.paint_s = _mean(self.paint_s, took_s)


def _mean(before: float, new: float) -> float:
    return before + _NEW_SHARE * (new - before) if before else new
