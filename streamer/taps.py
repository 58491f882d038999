"""Who sees and hears what a session shows: recordings, viewers; costs nothing without any."""

import logging
import time
from dataclasses import dataclass
from typing import Protocol

from av import AudioFrame, VideoFrame

from streamer.live import LiveResult, Picture, TimedFrame

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ShownPicture:
    """A picture as it leaves.

    Attributes:
        frame: labelled, YUV 4:2:0; the session's encoder reads it too, so it is only to be read.
        image: (H, W, 3) uint8 RGB, the same picture, likewise.
        result: what is shown; None for a card or a picture that is shown again.
        time_s: `time.monotonic` of now.
    """

    frame: VideoFrame
    image: Picture
    result: LiveResult | None
    time_s: float


class Watcher(Protocol):
    """One who looks on. No method may wait."""

    def see(self, shown: ShownPicture) -> None:
        """A picture leaves; called in a thread, one at a time."""
        ...

    def hear(self, frame: AudioFrame, time_s: float) -> None:
        """Sound leaves, at a time of `time.monotonic`; called on the event loop."""
        ...

    def film(self, frame: TimedFrame) -> None:
        """The camera's picture is given to the model; called on the event loop."""
        ...

    def end(self) -> None:
        """The session ends; called once, on the event loop."""
        ...


class Taps:
    """Passes on what a connection shows; a watcher that fails is let go, and the session goes on.

    Attributes:
        has_sound: whether any sound has come so far.
        is_sound_returned: whether sound goes back to its own speaker too, besides to watchers.
        is_over: whether the session has ended.
    """

    def __init__(self) -> None:
        self._watchers: tuple[Watcher, ...] = ()
        self.has_sound = False
        self.is_sound_returned = True
        self.is_over = False

    @property
    def is_watched(self) -> bool:
        """Whether anyone looks on."""
        return bool(self._watchers)

    def add(self, watcher: Watcher) -> None:
        """Let one look on from now on; where all is over, it is told so at once."""
        if self.is_over:
            watcher.end()
        else:
            self._watchers = (*self._watchers, watcher)

    def remove(self, watcher: Watcher) -> None:
        """Let one go, without a word; also one who is gone already."""
        self._watchers = tuple(each for each in self._watchers if each is not watcher)

    def see(self, frame: VideoFrame, image: Picture, result: LiveResult | None) -> None:
        """A labelled picture leaves; called in a thread."""
        if not self._watchers:
            return
        shown = ShownPicture(frame=frame, image=image, result=result, time_s=time.monotonic())
        for watcher in self._watchers:
            try:
                watcher.see(shown)
            except Exception:
                self._let_go(watcher)

    def hear(self, frame: AudioFrame) -> None:
        """Sound leaves."""
        self.has_sound = True
        for watcher in self._watchers:
            try:
                watcher.hear(frame, time.monotonic())
            except Exception:
                self._let_go(watcher)

    def film(self, frame: TimedFrame) -> None:
        """A picture of the camera is given to the model."""
        for watcher in self._watchers:
            try:
                watcher.film(frame)
            except Exception:
                self._let_go(watcher)

    def end(self) -> None:
        """The session is over; may be called again."""
        watchers, self._watchers, self.is_over = self._watchers, (), True
        for watcher in watchers:
            try:
                watcher.end()
            except Exception:
                _LOGGER.exception("a watcher of a session did not end well")

    def _let_go(self, watcher: Watcher) -> None:
        self.remove(watcher)
        _LOGGER.exception("a watcher of a session failed and sees no more")
