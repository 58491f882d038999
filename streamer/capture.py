"""Reads a peer's tracks without ever letting them queue: the newest picture goes to the model."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from streamer.live import ComputeStream, Picture, TimedFrame

_LOGGER = logging.getLogger(__name__)
_CLOCK_DRIFT = 2e-4  # two crystals differ by less


@dataclass(frozen=True, kw_only=True)
class CaptureSettings:
    """How the camera's pictures are taken over.

    Attributes:
        most_px: the longer side a picture keeps; larger ones are reduced.
    """

    most_px: int = 1280


class CaptureClock:
    """When a frame was captured, on our clock: the fastest way it ever took is taken for zero.

    The offset between the two clocks may drift upwards slowly, or a quick frame long ago would make
    all later ones look late.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._last_s = 0.0

    def captured_s(self, sent_s: float, received_s: float) -> float:
        """Our time of capture of a frame by the sender's time; never after it was received."""
        offset_s = received_s - sent_s
        if self._offset_s is not None:
            drift_s = _CLOCK_DRIFT * max(0.0, received_s - self._last_s)
            offset_s = min(offset_s, self._offset_s + drift_s)
        self._offset_s, self._last_s = offset_s, received_s
        return sent_s + offset_s


class Capture:
    """Pumps a video track into a compute stream.

    One task reads, so that nothing queues in aiortc; another converts the newest picture in the
    executor and offers it. What was overtaken between the two is counted as dropped.

    Args:
        stream: called for where frames go now; None while there is nowhere.
        executor: where pictures are converted, never the event loop.
        settings: the pictures' size.
        on_frame: told every picture that goes to the model.

    Attributes:
        num_received: pictures that the track gave.
        num_dropped: of those, overtaken before they were converted, or with nowhere to go.
        received_s: `time.monotonic` of the last one; None before the first.
    """

    def __init__(
        self,
        stream: Callable[[], ComputeStream | None],
        executor: Executor,
        settings: CaptureSettings | None = None,
        *,
        on_frame: Callable[[TimedFrame], None] | None = None,
    ) -> None:
        self._on_frame = on_frame
        self._stream = stream
        self._executor = executor
        self._settings = settings or CaptureSettings()
        self._clock = CaptureClock()
        self._newest: tuple[VideoFrame, int, float] | None = None
        self._has_newest = asyncio.Event()
        self._has_complained = False
        self.num_received = 0
        self.num_dropped = 0
        self.received_s: float | None = None

    async def run(self, track: MediaStreamTrack) -> None:
        """Pump until the track ends or the task is cancelled."""
        converting = asyncio.ensure_future(self._convert())
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, VideoFrame):
                    self._take(frame)
        except MediaStreamError:
            return
        finally:
            converting.cancel()
            await asyncio.gather(converting, return_exceptions=True)

    def _take(self, frame: VideoFrame) -> None:
        if self._newest is not None:
            self.num_dropped += 1
        self.received_s = time.monotonic()
        self._newest = (frame, self.num_received, self.received_s)
        self.num_received += 1
        self._has_newest.set()

    async def _convert(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._has_newest.wait()
            self._has_newest.clear()
            if self._newest is None:
                continue
            (frame, number, received_s), self._newest = self._newest, None
            if self._stream() is None:
                self.num_dropped += 1
                continue
            try:
                image = await loop.run_in_executor(
                    self._executor, to_picture, frame, self._settings
                )
                self._offer(frame, TimedFrame(image=image, number=number, times_s={
                    "captured": self._captured_s(frame, received_s),
                    "received": received_s,
                    "converted": time.monotonic(),
                }))  # fmt: skip
            except Exception:
                self.num_dropped += 1
                self._complain()

    def _complain(self) -> None:
        """Log an exception with its trace, the first of a session only: frames come 30 a second."""
        if not self._has_complained:
            _LOGGER.exception("a camera picture could not be taken over")
        self._has_complained = True

    def _offer(self, frame: VideoFrame, timed: TimedFrame) -> None:
        stream = self._stream()
        if stream is None:
            self.num_dropped += 1
        else:
            stream.put(timed)
            if self._on_frame is not None:
                self._on_frame(timed)

    def _captured_s(self, frame: VideoFrame, received_s: float) -> float:
        if frame.pts is None or not frame.time_base:
            return received_s
        return self._clock.captured_s(float(frame.pts * frame.time_base), received_s)


def to_picture(frame: VideoFrame, settings: CaptureSettings) -> Picture:
    """The (H, W, 3) RGB pixels of a decoded frame, reduced as the settings say."""
    scale = min(1.0, settings.most_px / max(frame.width, frame.height))
    width, height = (max(1, round(side * scale)) for side in (frame.width, frame.height))
    image = frame.to_ndarray(format="rgb24", width=width, height=height)
    return np.ascontiguousarray(image, np.uint8)


async def discard(track: MediaStreamTrack) -> None:
    """Read a track that nobody needs until it ends, for what is not read queues in aiortc."""
    try:
        while True:
            await track.recv()
    except MediaStreamError:
        return
