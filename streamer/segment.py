"""RGB frames in, one closed h264 segment on disk out; segments of equal settings join without loss.

Each segment starts with a key frame and has no B-frames, so decoding order is display order and
the packets of one segment simply follow those of the one before, whatever the frame rate does.
NUT holds them because it keeps every time stamp exactly.
"""

import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    VideoReformatter,
)
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from streamer.partial import PartialRun, Segment
from streamer.video_file import ACCURATE, DriverFrame

if TYPE_CHECKING:
    from streamer.engine import Reenacted

_MAX_BEHIND = 2
SIDE_BY_SIDE_HEIGHT_PX = 720
"""The tallest a comparison gets; the result alone keeps the portrait's size."""

SEGMENT_FRAMES = 50
"""Frames between two points from which an interrupted run goes on; also the key frame distance."""

_X264 = {"bf": "0", "rc-lookahead": "0"}
"""No B-frames, see above. No lookahead: with it (mbtree) x264's output varies from run to run."""

_AV_BT709 = 1
"""BT.709's number among matrix coefficients (Rec. H.273 table 4)."""


class View(StrEnum):
    """What an output shows."""

    RESULT = "result"
    SIDE_BY_SIDE = "side-by-side"
    MASK = "mask"


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """What all segments of one output share.

    Attributes:
        time_base: seconds per unit of the time stamps given.
        rate: frames per second, for rate control only.
        quality: x264's constant rate factor; 16 is hard to tell from the original.
    """

    time_base: Fraction
    rate: Fraction
    quality: int = 16
    preset: str = "veryfast"


class SegmentWriter:
    """Encodes frames of one size into one file; the size is that of the first frame.

    The file exists under its name only once `close` has returned.

    Raises:
        OSError: the file cannot be written, by any of the methods.
    """

    def __init__(self, path: Path, settings: EncoderSettings) -> None:
        self._path = path
        self._unfinished = path.with_suffix(path.suffix + ".unfinished")
        self._settings = settings
        self._file = self._unfinished.open("wb")
        self._container = av.open(self._file, "w", format="nut")
        self._stream: VideoStream | None = None
        self._reformatter = VideoReformatter()

    def write(self, image: NDArray[np.uint8], pts: int) -> None:
        """Add one (H, W, 3) RGB frame that appears at `pts`."""
        image = _to_even_size(image)
        if self._stream is None:
            self._stream = self._add_stream(width=image.shape[1], height=image.shape[0])
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            interpolation=ACCURATE,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        frame.pts = pts
        frame.time_base = self._settings.time_base
        self._container.mux(self._stream.encode(frame))

    def close(self) -> int:
        """Flush the encoder, put the file in place and return its size in bytes."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._unfinished.replace(self._path)
        return self._path.stat().st_size

    def abandon(self) -> None:
        """Leave no trace, whatever state the writer is in."""
        try:
            self._container.close()
            self._file.close()
        except (OSError, av.error.FFmpegError):
            self._file.close()
        finally:
            self._unfinished.unlink(missing_ok=True)

    def _add_stream(self, *, width: int, height: int) -> VideoStream:
        options = {"crf": str(self._settings.quality), "preset": self._settings.preset, **_X264}
        stream = self._container.add_stream("libx264", rate=self._settings.rate, options=options)
        if not isinstance(stream, VideoStream):
            raise TypeError(f"expected a video stream of libx264, got {type(stream).__name__}")
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = self._settings.time_base
        context.colorspace = _AV_BT709
        context.color_primaries = int(ColorPrimaries.BT709)
        context.color_trc = int(ColorTrc.BT709)
        context.color_range = int(ColorRange.MPEG)
        return stream


def _to_even_size(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last row and column where yuv420p needs one more."""
    height, width = image.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return image
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


class SegmentSeries:
    """Cuts a stream of reenacted frames into segments of equal length, one file for each view.

    Frames are encoded in order on a thread of its own, at most two behind the caller.

    Leaving it by an error drops the segment that is not full: made again, it comes out the same,
    so a run that was interrupted ends in the same file as one that was not.
    """

    def __init__(self, run: PartialRun, settings: EncoderSettings, views: Iterable[View]) -> None:
        self._run = run
        self._settings = settings
        self._views = tuple(views)
        self._writers: dict[View, SegmentWriter] = {}
        self._num_frames = 0
        self._num_held = 0
        self._end_pts = 0
        self._encoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._encoder.shutdown(wait=True)  # frames already handed over may complete a segment
        for writer in self._writers.values():
            writer.abandon()
        self._writers = {}

    def add(self, frame: DriverFrame, reenacted: "Reenacted") -> None:
        """Encode one frame in every view; a full segment is put in place and recorded.

        Raises:
            OSError: this frame or one of the two before it could not be written.
        """
        self._waiting.append(self._encoder.submit(self._add, frame, reenacted))
        if len(self._waiting) > _MAX_BEHIND:
            self._waiting.popleft().result()

    def finish(self) -> None:
        """Put the frames since the last full segment in place as a segment of their own.

        Raises:
            OSError: they could not be written.
        """
        self._waiting.append(self._encoder.submit(self._finish))
        while self._waiting:
            self._waiting.popleft().result()

    def _add(self, frame: DriverFrame, reenacted: "Reenacted") -> None:
        for view in self._views:
            if view not in self._writers:
                path = self._run.segment_path(len(self._run.segments), view)
                self._writers[view] = SegmentWriter(path, self._settings)
            self._writers[view].write(_picture(view, frame, reenacted), frame.pts)
        self._num_frames += 1
        self._num_held += not reenacted.is_tracked
        self._end_pts = frame.pts + frame.duration
        if self._num_frames == SEGMENT_FRAMES:
            self._finish()

    def _finish(self) -> None:
        if not self._num_frames:
            return
        num_bytes = {str(view): writer.close() for view, writer in self._writers.items()}
        self._writers = {}
        self._run.add(
            Segment(
                num_frames=self._num_frames,
                num_held=self._num_held,
                end_pts=self._end_pts,
                num_bytes=num_bytes,
            )
        )
        self._num_frames = self._num_held = 0


def _picture(view: View, frame: DriverFrame, reenacted: "Reenacted") -> NDArray[np.uint8]:
    """What the view shows of one frame, (H, W, 3) RGB."""
    if view is View.MASK:
        grey: NDArray[np.uint8] = np.stack([reenacted.mask] * 3, axis=2)
        return grey
    if view is View.SIDE_BY_SIDE:
        height = min(reenacted.image.shape[0], SIDE_BY_SIDE_HEIGHT_PX)
        both: NDArray[np.uint8] = np.concatenate(
            [_scaled(frame.image, height), _scaled(reenacted.image, height)], axis=1
        )
        return both
    return reenacted.image


def _scaled(image: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    if image.shape[0] == height:
        return image
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    picture = Image.fromarray(image)
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2))
