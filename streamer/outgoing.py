"""The picture that goes back: edited, the still portrait, or a card; never the camera's."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import VIDEO_CLOCK_RATE, VIDEO_TIME_BASE, MediaStreamError
from av import VideoFrame

from streamer.label import LABEL, Label, captioned, notice_card
from streamer.live import ComputeStream, FaceState, LiveResult, Picture
from streamer.stage_times import StageTimes
from streamer.taps import Taps

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OutgoingSettings:
    """What is shown around the results.

    Attributes:
        label: burned into every picture.
        repeat_s: how soon a picture is sent again when nothing newer came, so that a key frame that
            the browser asked for does not wait for a face.
        card_height, card_width: of pictures while no portrait is known, in pixels.
        loading: what the portrait says until the first result.
        notice: what the card says after a failure.
    """

    label: str = LABEL
    repeat_s: float = 0.25
    card_height: int = 512
    card_width: int = 512
    loading: str = "Getting ready …"
    notice: str = "The picture cannot be edited right now. Please wait a moment."


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture about to be encoded, before the label is on it."""

    image: Picture
    result: LiveResult | None = None


class OutgoingTrack(MediaStreamTrack):
    """A video track of the newest results; `recv` waits for one and does no work on the event loop.

    Args:
        executor: where the label is drawn and colours are converted.
        settings: label, cards, pace.
        on_face: told when the state of the driver's face changed, at the first result too.
        on_failure: told when results cannot be had or shown, once for each kind of error until
            the next good one.
        taps: shown every labelled picture, in the executor.

    Attributes:
        stage_times: of the frames sent; "encode" is the time from one `recv` to the next call.
        num_sent: pictures handed to the encoder.
        load_level: of the last result.
    """

    kind = "video"

    def __init__(
        self,
        executor: Executor,
        settings: OutgoingSettings | None = None,
        *,
        on_face: Callable[[FaceState], None] | None = None,
        on_failure: Callable[[Exception], None] | None = None,
        taps: Taps | None = None,
    ) -> None:
        super().__init__()
        self._executor = executor
        self._settings = settings or OutgoingSettings()
        self._on_face = on_face
        self._on_failure = on_failure
        self._taps = taps or Taps()
        self._label = Label(self._settings.label)
        self._stream: ComputeStream | None = None
        self._pending: asyncio.Task[LiveResult] | None = None
        self._size = self._settings.card_height, self._settings.card_width
        self._picture = notice_card(self._settings.loading, *self._size)
        self._face: FaceState | None = None
        self._failure: type[Exception] | None = None
        self._began_s: float | None = None
        self._pts = -1
        self._returned_s: float | None = None
        self.stage_times = StageTimes()
        self.num_sent = 0
        self.load_level = 0

    def show(self, stream: ComputeStream | None) -> None:
        """Show another stream's results from now on; its still portrait until the first.

        None: there is none for now, the notice is shown.
        """
        self._forget_pending()
        self._stream = stream
        self._face = None
        if stream is None:
            self._picture = notice_card(self._settings.notice, *self._size)
            return
        self._failure = None
        still = stream.still
        self._size = still.shape[0], still.shape[1]
        self._picture = captioned(still, self._settings.loading)

    async def recv(self) -> VideoFrame:
        """The newest result, or after a while without one the last picture again.

        Raises:
            MediaStreamError: the track was stopped.
        """
        if self.readyState != "live":
            raise MediaStreamError
        if self._returned_s is not None:
            self.stage_times.add("encode", time.monotonic() - self._returned_s)
        shown = await self._next()
        if self.readyState != "live":
            raise MediaStreamError
        frame = await self._rendered(shown)
        if self.readyState != "live":
            raise MediaStreamError
        self._stamp(frame)
        self.num_sent += 1
        self._returned_s = time.monotonic()
        if shown.result is not None:
            self.stage_times.add_frame({**shown.result.times_s, "render": self._returned_s})
        return frame

    def stop(self) -> None:
        """End the track and stop waiting for results; the stream is its owner's to close."""
        super().stop()
        self._forget_pending()

    async def _next(self) -> Shown:
        """Wait for a result, at most until the last picture is to be repeated."""
        if self._stream is None or self.num_sent == 0:
            if self.num_sent:
                await asyncio.sleep(self._settings.repeat_s)
            return Shown(image=self._picture)
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._stream.get())
        pending = self._pending
        await asyncio.wait({pending}, timeout=self._settings.repeat_s)
        if pending is not self._pending or not pending.done():
            return Shown(image=self._picture)
        self._pending = None
        try:
            result = pending.result()
        except Exception as error:
            self._fail(error)
            await asyncio.sleep(self._settings.repeat_s)
            return Shown(image=self._picture)
        return Shown(image=result.image, result=result)

    async def _rendered(self, shown: Shown) -> VideoFrame:
        """The labelled frame; the card when the picture cannot be made into one."""
        loop = asyncio.get_running_loop()
        try:
            frame = await loop.run_in_executor(self._executor, self._render, shown)
        except Exception as error:
            self._fail(error)
            card = Shown(image=self._picture)
            return await loop.run_in_executor(self._executor, self._render, card)
        if shown.result is not None:
            self._succeed(shown.result)
        return frame

    def _render(self, shown: Shown) -> VideoFrame:
        frame, labelled = render(shown.image, self._label)
        self._taps.see(frame, labelled, shown.result)
        return frame

    def _succeed(self, result: LiveResult) -> None:
        self._picture = result.image
        self._failure = None
        self.load_level = result.load_level
        if result.face != self._face and self._on_face is not None:
            self._on_face(result.face)
        self._face = result.face

    def _fail(self, error: Exception) -> None:
        self._picture = notice_card(self._settings.notice, *self._size)
        self._face = None
        if self._failure is type(error):
            return
        self._failure = type(error)
        _LOGGER.warning("no edited picture to send: %s", error)
        if self._on_failure is not None:
            self._on_failure(error)

    def _stamp(self, frame: VideoFrame) -> None:
        """Time in 1/90000 s by the clock, as bitrate control wants it, and never the same twice."""
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = now_s
        self._pts = max(self._pts + 1, round((now_s - self._began_s) * VIDEO_CLOCK_RATE))
        frame.pts = self._pts
        frame.time_base = VIDEO_TIME_BASE

    def _forget_pending(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._pending.add_done_callback(_retrieve)
        self._pending = None


def _retrieve(task: asyncio.Task[LiveResult]) -> None:
    """Look at what a task came to that nobody awaits any more, or asyncio complains."""
    if not task.cancelled():
        task.exception()


def render(image: Picture, label: Label) -> tuple[VideoFrame, Picture]:
    """A labelled picture as the encoder takes it, YUV 4:2:0, of even size; and in RGB.

    Raises:
        ValueError: not an (H, W, 3) uint8 picture of at least 2 × 2 pixels.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape) < 2:
        raise ValueError(f"a result is {image.dtype} {image.shape}; expected (H, W, 3) uint8")
    height, width = (side // 2 * 2 for side in image.shape[:2])
    labelled = label.burn_in(image[:height, :width])
    frame = VideoFrame.from_ndarray(labelled, format="rgb24").reformat(format="yuv420p")
    return frame, labelled
