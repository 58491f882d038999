"""Brings what a session shows into a recording, with the camera's picture it answers beside it."""

import asyncio
from collections.abc import Callable

from av import AudioFrame

from streamer.live import Picture, TimedFrame
from streamer.recording import Recorder
from streamer.taps import ShownPicture, Taps

_MOST_HELD = 24
"""Pictures of the camera that wait for their result; past it the least missed are let go."""

_MOST_JITTER_S = 0.2
"""Sound that leaves in bursts belongs where its own clock says, unless that is this far off."""


class RecordingWatcher:
    """A watcher of one session; made and released on the event loop.

    Args:
        recorder: started.
        taps: of the session; the owner adds the watcher to them.
        has_driver: whether the camera's pictures are recorded too.
        on_end: called once on the event loop when nothing more is recorded, with why.
    """

    def __init__(
        self,
        recorder: Recorder,
        taps: Taps,
        *,
        has_driver: bool,
        on_end: Callable[[str | None], object],
    ) -> None:
        self._recorder = recorder
        self._taps = taps
        self._has_driver = has_driver
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._filmed: dict[int, Picture] = {}
        self._driver: Picture | None = None
        self._answered = 0
        self._sound_offset_s: float | None = None
        self._is_ended = False

    def see(self, shown: ShownPicture) -> None:
        """Record a picture; a repeated one is beside the driver's last."""
        if shown.result is not None:
            self._answered = shown.result.number
            self._driver = self._nearest(shown.result.number)
        self._recorder.add(shown.image, shown.time_s, self._driver)
        if self._recorder.stop_reason is not None:
            self._loop.call_soon_threadsafe(self._stopped)

    def hear(self, frame: AudioFrame, time_s: float) -> None:
        """Record sound."""
        self._recorder.add_audio(frame, self._heard_s(frame, time_s))

    def film(self, frame: TimedFrame) -> None:
        """Keep the camera's picture until the result that answers it is shown."""
        if not self._has_driver:
            return
        self._filmed[frame.number] = frame.image
        if len(self._filmed) > _MOST_HELD:
            self._let_go()

    def end(self) -> None:
        """The session ended."""
        self._tell("the session ended")

    def release(self) -> None:
        """See no more; the owner is not told."""
        self._is_ended = True
        self._taps.remove(self)
        self._filmed.clear()

    def _let_go(self) -> None:
        """Forget those before the last result, or the one that is closest to its neighbours."""
        numbers = list(self._filmed)
        past = [number for number in numbers if number < self._answered]
        gaps = {
            number: after - before
            for before, number, after in zip(numbers, numbers[1:], numbers[2:], strict=False)
        }
        for number in past or [min(gaps, key=lambda each: gaps[each])]:
            del self._filmed[number]

    def _nearest(self, number: int) -> Picture | None:
        """The camera's picture that a result answers, or of those still held the nearest."""
        held = list(self._filmed.items())
        if not held:
            return self._driver
        return min(held, key=lambda each: abs(each[0] - number))[1]

    def _heard_s(self, frame: AudioFrame, time_s: float) -> float:
        """When sound is heard, without the jitter of the moment it was passed on."""
        if frame.pts is None or not frame.time_base:
            return time_s
        own_s = float(frame.pts * frame.time_base)
        offset_s = time_s - own_s
        if self._sound_offset_s is None or abs(offset_s - self._sound_offset_s) > _MOST_JITTER_S:
            self._sound_offset_s = offset_s
        return own_s + self._sound_offset_s

    def _stopped(self) -> None:
        self._tell(self._recorder.stop_reason)

    def _tell(self, message: str | None) -> None:
        if not self._is_ended:
            self.release()
            self._on_end(message)
