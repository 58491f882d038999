"""The second stage of the model: prepared frames are finished in order, beside the first stage.

An engine that does not work in stages is finished at once, in the thread that asks.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from streamer.frame_slot import Bell, FrameSlot
from streamer.live import LiveResult, Picture, TimedFrame
from streamer.pace import Pace


class SessionSlots:
    """The two slots of a session, of which one thread reads frames and another writes results."""

    def __init__(self, frames: FrameSlot, results: FrameSlot) -> None:
        self.frames = frames
        self.results = results
        self._num_in_hand = 0
        self._is_closed = False
        self._changing = threading.Lock()

    def take(self) -> None:
        """Let the parent see that a frame of this session is in hand."""
        with self._changing:
            self._num_in_hand += 1
            self.frames.is_at_work = True

    def give_back(self) -> None:
        """One frame less is in hand."""
        with self._changing:
            self._put_down()

    def finish(self, image: Picture, header: Mapping[str, Any]) -> None:
        """Give a frame back and hand its result on: who reads that sees no work in hand any more.

        A result that comes after the end is dropped.
        """
        with self._changing:
            self._put_down()
            self._hand_on(image, header)

    def show(self, image: Picture) -> None:
        """Hand on a picture that no frame was taken for."""
        with self._changing:
            self._hand_on(image, {})

    def _put_down(self) -> None:
        self._num_in_hand -= 1
        if self._num_in_hand == 0 and not self._is_closed:
            self.frames.is_at_work = False

    def _hand_on(self, image: Picture, header: Mapping[str, Any]) -> None:
        if not self._is_closed:
            self.results.write(image, header)

    def close(self) -> None:
        """Leave both slots to the parent."""
        with self._changing:
            self._is_closed = True
            self.frames.close()
            self.results.close()


@dataclass(frozen=True, kw_only=True)
class InHand:
    """A frame that the engine has begun.

    Attributes:
        name: of its session.
        slots: where its result goes.
        frame: the frame.
        begun_s: when it was taken from its slot.
        prepare_s: how long the first stage was busy with it.
        finish: the second stage.
        told: what its result says of the load.
    """

    name: str
    slots: SessionSlots
    frame: TimedFrame
    begun_s: float
    prepare_s: float
    finish: Callable[[], LiveResult]
    told: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What became of it, and how long the second stage was busy."""

    of: InHand
    paint_s: float
    error: Exception | None


class Painter:
    """Finishes frames; `fileno` becomes readable when one is done.

    Args:
        is_beside: whether a thread of its own does it; else `start` returns when it is done.
        on_result: called when a result lies in its slot, in the thread that wrote it.
    """

    def __init__(self, *, is_beside: bool, on_result: Callable[[], None]) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="paint") if is_beside else None
        self._on_result = on_result
        self._pace = Pace()
        self._done: deque[Finished] = deque()
        self._bell, self._other_bell = Bell.pair()

    def fileno(self) -> int:
        """For `multiprocessing.connection.wait`."""
        return self._bell.fileno()

    def delay_s(self) -> float | None:
        """How long the next frame should not be begun yet; None: not before one is finished."""
        return self._pace.delay_s(time.monotonic())

    def start(self, in_hand: InHand) -> None:
        """Finish a frame after those that were started before it."""
        self._pace.prepared(in_hand.prepare_s)
        if self._thread is None:
            self._paint(in_hand)
        else:
            self._thread.submit(self._paint, in_hand)

    def take_finished(self) -> list[Finished]:
        """The frames that were finished since the last call, oldest first."""
        self._bell.silence()
        finished = []
        while self._done:
            one = self._done.popleft()
            self._pace.painted(one.paint_s)
            finished.append(one)
        return finished

    def close(self) -> None:
        """Finish what was started, and end."""
        if self._thread is not None:
            self._thread.shutdown()
        self._bell.close()
        self._other_bell.close()

    def _paint(self, in_hand: InHand) -> None:
        begun_s = time.monotonic()
        self._pace.painting(begun_s)
        error: Exception | None = None
        try:
            result = in_hand.finish()
        except Exception as caught:
            error = caught
            in_hand.slots.give_back()
        else:
            error = self._hand_on(in_hand, result)
        paint_s = time.monotonic() - begun_s
        self._done.append(Finished(of=in_hand, paint_s=paint_s, error=error))
        self._other_bell.ring()

    def _hand_on(self, in_hand: InHand, result: LiveResult) -> Exception | None:
        told = {
            "number": result.number,
            "face": result.face,
            "times_s": dict(result.times_s),
            **in_hand.told,
        }
        try:
            in_hand.slots.finish(result.image, told)
        except Exception as caught:
            return caught
        self._on_result()
        return None
