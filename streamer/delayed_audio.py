"""Passes a peer's sound back to it, as late as its picture is."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from streamer.taps import Taps

MOST_DELAY_S = 2.0
_FRAME_S = 0.02


class DelayedAudio(MediaStreamTrack):
    """An audio track whose frames leave a while after they came.

    Args:
        delay_s: called for how long, at every frame; never more than two seconds count.
        clock: `time.monotonic`, or another in tests.
        taps: told every frame that leaves, and asked whether it is to go back too.

    Attributes:
        num_dropped: frames overwritten because nobody fetched them.
    """

    kind = "audio"

    def __init__(
        self,
        delay_s: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        taps: Taps | None = None,
    ) -> None:
        super().__init__()
        self._delay_s = delay_s
        self._clock = clock
        self._taps = taps or Taps()
        self._queued: deque[tuple[float, AudioFrame]] = deque(
            maxlen=int(2 * MOST_DELAY_S / _FRAME_S)
        )
        self._has_frame = asyncio.Event()
        self.num_dropped = 0

    def put(self, frame: AudioFrame) -> None:
        """Take in a frame that arrives now."""
        self.num_dropped += len(self._queued) == self._queued.maxlen
        self._queued.append((self._clock(), frame))
        self._has_frame.set()

    async def pump(self, track: MediaStreamTrack) -> None:
        """Take in all of a received track until it ends."""
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, AudioFrame):
                    self.put(frame)
        except MediaStreamError:
            return

    async def recv(self) -> AudioFrame:
        """The oldest frame, once it is due; none while no sound is to go back.

        Raises:
            MediaStreamError: the track was stopped.
        """
        while self.readyState == "live":
            if not self._queued:
                self._has_frame.clear()
                await self._has_frame.wait()
                continue
            came_s, frame = self._queued[0]
            missing_s = came_s + min(self._delay_s(), MOST_DELAY_S) - self._clock()
            if missing_s > 0:
                await asyncio.sleep(min(missing_s, _FRAME_S))
                continue
            self._queued.popleft()
            self._taps.hear(frame)
            if self._taps.is_sound_returned:
                return frame
        raise MediaStreamError

    def stop(self) -> None:
        """End the track; who waits in `recv` is told."""
        super().stop()
        self._queued.clear()
        self._has_frame.set()
