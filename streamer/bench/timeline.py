"""What two lists of numbered frames say: how late, how many lost, out of order, frozen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.errors import SessionFailedError

_LEAD = 15  # frames that the receiver may seem ahead of the sender by their clocks
_FREEZE_S = 0.15  # and three usual gaps: as freezeCount of WebRTC's statistics


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One frame as it was seen.

    Attributes:
        number: drawn in it; None where it could not be read.
        time_s: when, on a clock that both lists share.
    """

    number: int | None
    time_s: float


@dataclass(frozen=True, kw_only=True)
class Window:
    """Latency in a stretch of time, ms; NaN when no frame came in it."""

    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a run came to.

    Attributes:
        whole: from the start after warm-up to the end.
        early: around the fifth second.
        late: the last two seconds.
        fps: frames with another number than the one before, a second.
        num_shown: such frames.
        num_sent: numbers that the sender was seen to show in that time.
        num_dropped: of those, never seen at the receiver.
        num_reordered: frames whose number is lower than one seen before.
        num_unread: frames whose number was not readable after the first that was.
        num_freezes: gaps longer than three usual ones and the usual one + 150 ms.
        longest_gap_ms: between two frames.
    """

    whole: Window
    early: Window
    late: Window
    fps: float
    num_shown: int
    num_sent: int
    num_dropped: int
    num_reordered: int
    num_unread: int
    num_freezes: int
    longest_gap_ms: float


@dataclass(frozen=True, kw_only=True)
class Delay:
    """How late a frame was shown, and when that was."""

    index: int
    time_s: float
    delay_s: float


def figures(
    sent: Sequence[Sighting], seen: Sequence[Sighting], *, period: int, warm_up_s: float = 2.0
) -> Figures:
    """Compare what was sent with what was seen.

    Args:
        sent: at the camera, in the order of time.
        seen: at the receiver, likewise.
        period: after which numbers begin again.
        warm_up_s: after the first readable frame; not counted.

    Raises:
        SessionFailedError: hardly a frame came back.
    """
    delays = matched(sent, seen, period)
    if not delays:
        raise SessionFailedError("no numbered frame came back; look at the server's lines above")
    begin_s = delays[0].time_s + warm_up_s
    counted = [delay for delay in delays if delay.time_s >= begin_s]
    if len(counted) < 3:
        raise SessionFailedError("hardly a frame came back; measure for longer")
    end_s = counted[-1].time_s
    times_s = np.array([delay.time_s for delay in counted])
    indices = [delay.index for delay in counted]
    shown = set(indices)
    known = {at for at, _ in unwrapped(sent, period) if min(shown) <= at <= max(shown)}
    gaps_s = np.diff(times_s)
    usual_s = float(np.median(gaps_s))
    return Figures(
        whole=window(counted, begin_s, end_s),
        early=window(delays, delays[0].time_s + 4, delays[0].time_s + 6),
        late=window(counted, end_s - 2, end_s),
        fps=float((len(shown) - 1) / (end_s - times_s[0])),
        num_shown=len(shown),
        num_sent=len(known),
        num_dropped=len(known - shown),
        num_reordered=sum(at < highest for at, highest in _with_highest(indices)),
        num_unread=sum(s.number is None for s in seen if begin_s <= s.time_s <= end_s),
        num_freezes=int((gaps_s > max(3 * usual_s, usual_s + _FREEZE_S)).sum()),
        longest_gap_ms=1000 * float(gaps_s.max()),
    )


def matched(sent: Sequence[Sighting], seen: Sequence[Sighting], period: int) -> list[Delay]:
    """For every frame seen, how long before it was sent.

    A number that comes round is taken to be the latest of that number sent by then, or within half
    a second; a frame shown twice counts once.
    """
    first_s: dict[int, float] = {}
    order: list[tuple[int, float]] = []
    for index, time_s in unwrapped(sent, period):
        if index not in first_s:
            first_s[index] = time_s
            order.append((index, time_s))
    delays: list[Delay] = []
    newest, place = -1, 0
    for one in seen:
        while place < len(order) and order[place][1] <= one.time_s:
            newest = max(newest, order[place][0])
            place += 1
        if one.number is None or newest < 0:
            continue
        most = newest + _LEAD
        index = most - (most - one.number) % period
        is_again = bool(delays) and delays[-1].index == index
        if index in first_s and not is_again:
            delay_s = one.time_s - first_s[index]
            delays.append(Delay(index=index, time_s=one.time_s, delay_s=delay_s))
    return delays


def unwrapped(sightings: Sequence[Sighting], period: int) -> list[tuple[int, float]]:
    """Index and time of every readable frame, where the index goes on past the period."""
    indices: list[tuple[int, float]] = []
    for one in sightings:
        if one.number is None:
            continue
        before = indices[-1][0] if indices else one.number
        step = (one.number - before + period // 2) % period - period // 2
        indices.append((before + step, one.time_s))
    return indices


def window(delays: Sequence[Delay], begin_s: float, end_s: float) -> Window:
    """Median and 95th percentile of the delays in a stretch of time, both ends included."""
    found = [1000 * delay.delay_s for delay in delays if begin_s <= delay.time_s <= end_s]
    if not found:
        return Window(p50_ms=float("nan"), p95_ms=float("nan"))
    p50, p95 = np.percentile(found, [50, 95])
    return Window(p50_ms=float(p50), p95_ms=float(p95))


def _with_highest(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Each index with the highest one before it."""
    highest = [int(value) for value in np.maximum.accumulate(indices)]
    return list(zip(indices[1:], highest[:-1], strict=True))
