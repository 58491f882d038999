"""Compute streams without a model, and pictures that carry a number as blocks."""

import asyncio
import fractions
import time
from collections.abc import Callable

import numpy as np
from aiortc import MediaStreamTrack
from av import VideoFrame

from streamer.live import LiveResult, Picture, ReferenceAction, SessionSettings, TimedFrame

BITS = 8
BLOCK = 16
CAMERA_COLOUR = (250, 20, 20)
PORTRAIT_COLOUR = (20, 20, 200)
Colour = tuple[int, int, int]


def painted(number: int, colour: Colour, height: int = 128, width: int = 192) -> Picture:
    """A plain picture whose bottom row of blocks, black or white, says a number."""
    image = np.full((height, width, 3), colour, np.uint8)
    for bit in range(BITS):
        image[-BLOCK:, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    return image


def number_in(image: Picture) -> int:
    """The number painted into a picture, also after coding."""
    inner = slice(BLOCK // 4, -BLOCK // 4)
    blocks = [image[-BLOCK:, bit * BLOCK : (bit + 1) * BLOCK][inner, inner] for bit in range(BITS)]
    return sum(int(block.mean() > 127) << bit for bit, block in enumerate(blocks))


def is_like(image: Picture, colour: Colour) -> bool:
    """Whether the picture's middle is of that colour."""
    height, width = image.shape[:2]
    middle = image[height // 3 : height // 2, width // 3 : width // 2]
    return bool(np.abs(middle.reshape(-1, 3).mean(0) - colour).max() < 25)


def portrait_result(frame: TimedFrame) -> LiveResult:
    """The frame's number on the portrait's colour."""
    image = painted(number_in(frame.image), PORTRAIT_COLOUR)
    times_s = {**frame.times_s, "model": time.monotonic()}
    return LiveResult(image=image, number=frame.number, face="tracked", times_s=times_s)


class StubStream:
    """Answers each frame with what `make` makes of it, also when that is an exception.

    Attributes:
        make: from a frame to a result; may raise.
        frames: all that were put.
        is_closed: whether `close` was called.
    """

    def __init__(self, make: Callable[[TimedFrame], LiveResult] = portrait_result) -> None:
        self.make = make
        self.frames: list[TimedFrame] = []
        self.is_closed = False
        self._results: asyncio.Queue[LiveResult | Exception] = asyncio.Queue()

    @property
    def still(self) -> Picture:
        return painted(255, PORTRAIT_COLOUR)

    @property
    def num_dropped(self) -> int:
        return 0

    def put(self, frame: TimedFrame) -> None:
        self.frames.append(frame)
        try:
            self._results.put_nowait(self.make(frame))
        except Exception as error:
            self._results.put_nowait(error)

    async def get(self) -> LiveResult:
        result = await self._results.get()
        while not self._results.empty():
            result = self._results.get_nowait()
        if isinstance(result, Exception):
            raise result
        return result

    async def update(self, settings: SessionSettings) -> None:
        pass

    async def reference(self, action: ReferenceAction) -> None:
        pass

    async def close(self) -> None:
        self.is_closed = True


class PaintedCamera(MediaStreamTrack):
    """A camera of numbered pictures at 30 a second."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.number = -1

    async def recv(self) -> VideoFrame:
        self.number += 1
        await asyncio.sleep(1 / 30)
        return video_frame(painted(self.number % 200, CAMERA_COLOUR), 3000 * self.number)


def video_frame(image: Picture, pts: int = 0) -> VideoFrame:
    """A picture as a track gives it, its time in 1/90000 s."""
    frame = VideoFrame.from_ndarray(image, format="rgb24")
    frame.pts, frame.time_base = pts, fractions.Fraction(1, 90000)
    return frame


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait for something that has no event of its own."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
