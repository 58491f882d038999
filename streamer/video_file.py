"""A driver video in, upright RGB frames out, one at a time, with their exact time stamps."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar, cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streamer.errors import DriverError

_DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,asf,gif,ogg,nut,mxf,"
    "h264,hevc,mjpeg,ivf,dv,rm,yuv4mpegpipe"
)
"""Containers that hold their own frames. Playlists are left out: they open other files."""

ACCURATE = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
_MATRICES = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601,
             7: Colorspace.SMPTE240M, 9: Colorspace.BT2020, 10: Colorspace.BT2020}  # fmt: skip
"""Matrix coefficients (Rec. H.273 table 4) to swscale's name for them."""

_FREE_CLOCKS = frozenset({"mpegts", "mpeg"})
"""Containers whose time starts wherever the sender's clock stood."""

AUTO_REFERENCE_S = 10
"""How much of a driver is searched for a reference frame."""
_LOOK_EVERY_S = Fraction(12, 100)

_Item = TypeVar("_Item")
_HD_HEIGHT = 720
_MISSING_TAIL_S = 1.0


@dataclass(frozen=True, kw_only=True)
class DriverInfo:
    """What a driver's header tells.

    Attributes:
        time_base: seconds per unit of every time stamp.
        rate: frames per second, for rate control and estimates only.
        num_frames: as announced or estimated; None when nothing tells.
        first_pts: what to subtract from time stamps, for containers whose clock starts anywhere.
        num_audio: audio tracks in the file.
    """

    path: Path
    time_base: Fraction
    rate: Fraction
    num_frames: int | None
    first_pts: int
    num_audio: int


@dataclass(frozen=True, kw_only=True)
class DriverFrame:
    """One frame as a player shows it: upright, square pixels.

    Attributes:
        image: (H, W, 3) RGB.
        pts: when it appears, in time base units; strictly increasing.
        duration: how long it stays, in time base units, at least 1.
    """

    index: int
    image: NDArray[np.uint8]
    pts: int
    duration: int


class VideoReader:
    """Streams a video's frames; open it again to start over.

    Raises:
        DriverError: missing, empty, truncated, not a video, or without any frame.
    """

    def __init__(self, path: Path) -> None:
        _check_file(path)
        self._container = _open(path)
        try:
            self._stream = _video_stream(path, self._container)
            self.info = _read_info(path, self._container, self._stream)
        except DriverError:
            self._container.close()
            raise
        self._reformatter = VideoReformatter()
        self.num_damaged = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._container.close()

    def frames(self, apart: Fraction = Fraction(0)) -> Iterator[DriverFrame]:
        """Frames in order of appearance; packets that cannot be decoded are counted.

        Args:
            apart: at least so many time base units lie between two of them; 0: all frames.
        """
        usual = max(1, round(1 / (self.info.rate * self.info.time_base)))
        shown, due, duration = -1, Fraction(0), 1
        for index, frame in enumerate(self._decode()):
            pts = shown + duration if frame.pts is None else frame.pts - self.info.first_pts
            shown = pts if index == 0 else max(pts, shown + 1)
            duration = max(1, frame.duration or usual)
            if index == 0 or shown >= due:
                due = shown + apart
                yield DriverFrame(
                    index=index, image=self._to_image(frame), pts=shown, duration=duration
                )

    def _decode(self) -> Iterator[VideoFrame]:
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                self.num_damaged += 1
                continue
            yield from (frame for frame in frames if isinstance(frame, VideoFrame))

    def _to_image(self, frame: VideoFrame) -> NDArray[np.uint8]:
        width, height = _square_pixel_size(frame, self._stream.sample_aspect_ratio)
        has_rgb = frame.format.is_rgb
        rgb = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=None if has_rgb else _matrix(frame),
            dst_colorspace=None if has_rgb else Colorspace.ITU709,
            interpolation=ACCURATE,
            src_color_range=ColorRange.JPEG if has_rgb else _range(frame),
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        return _apply_display_matrix(rgb.to_ndarray().astype(np.uint8, copy=False), frame)


def read_ahead(items: Iterator[_Item], name: str) -> Generator[_Item, None, None]:
    """The same items, the next one being made on another thread while this one is in use.

    Close it before what the items are made from: it waits for its thread.

    Args:
        items: whose `next` does the work.
        name: of the thread.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix=name) as worker:
        coming = worker.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = worker.submit(next, items, None)
            yield item


def work_ahead(
    tasks: Iterable[Callable[[], _Item]], name: str, num_workers: int
) -> Generator[_Item, None, None]:
    """What tasks give, in their order, several being worked on at the same time.

    Close it before what the tasks are made from: it waits for its threads.

    Args:
        tasks: asked for one after another, a few ahead of the results.
        name: of the threads.
        num_workers: how many tasks are worked on at once.
    """
    with ThreadPoolExecutor(num_workers, thread_name_prefix=name) as workers:
        coming: deque[Future[_Item]] = deque()
        for task in tasks:
            coming.append(workers.submit(task))
            if len(coming) > num_workers:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def check_driver(path: Path) -> DriverInfo:
    """Open a video and decode its first frame.

    Raises:
        DriverError: missing, empty, truncated, not a video, or without any frame.
    """
    with VideoReader(path) as reader:
        if next(reader.frames(), None) is None:
            raise DriverError(f"{path} has no frames; record or export it again")
        return reader.info


def first_images(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Frames of a driver's first AUTO_REFERENCE_S seconds, eight a second, where there are as many.

    Raises:
        DriverError: see `VideoReader`.
    """
    with VideoReader(path) as reader:
        end = None
        for frame in reader.frames(apart=_LOOK_EVERY_S / reader.info.time_base):
            if end is None:
                end = frame.pts + AUTO_REFERENCE_S / reader.info.time_base
            if frame.pts >= end:
                return
            yield frame.image


def read_frame(path: Path, index: int) -> DriverFrame:
    """The frame of that number, the first being 0.

    Raises:
        DriverError: the video has no such frame.
    """
    num_frames = 0
    with VideoReader(path) as reader:
        for frame in reader.frames():
            if frame.index == index:
                return frame
            num_frames += 1
    raise DriverError(
        f"{path} has no frame {index}; choose one of 0 to {num_frames - 1} as the reference"
    )


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise DriverError(f"{path} is a folder; name a video file")
    if not path.exists():
        raise DriverError(f"there is no video {path}; check the path")
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            is_cut_off = _is_cut_off(file, size)
    except OSError as error:
        raise DriverError(f"{path} cannot be read: {error.strerror}") from error
    if size == 0:
        raise DriverError(f"{path} is empty; copy the video again")
    if is_cut_off:
        raise DriverError(_truncated(path))


def _is_cut_off(file: BinaryIO, size: int) -> bool:
    """Whether an MP4's last box (ISO/IEC 14496-12, 4.2) or an AVI's RIFF goes past the file."""
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return int.from_bytes(head[4:8], "little") + 8 > size
    if head[4:8] not in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
        return False
    position = 0
    while position < size:
        file.seek(position)
        box = file.read(16)
        length = int.from_bytes(box[:4], "big")
        if length == 1:
            length = int.from_bytes(box[8:16], "big")
        if length == 0:
            return False
        if length < 8 or position + length > size:
            return True
        position += length
    return False


def _open(path: Path) -> InputContainer:
    options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
    try:
        return av.open(f"file:{path}", "r", options=options, metadata_errors="ignore")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise DriverError(
            f"{path} is not a video that can be read; give a whole MP4, MOV, MKV, WebM or AVI, "
            "before the portrait on the command line"
        ) from error


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            if stream.codec_context is None:
                raise DriverError(f"{path} uses an unknown video codec; convert it to H.264")
            return stream
    what = "sound only" if container.streams.audio else "no video track"
    raise DriverError(f"{path} holds {what}; a driver must show a face")


def _read_info(path: Path, container: InputContainer, stream: VideoStream) -> DriverInfo:
    rate = stream.average_rate or stream.guessed_rate or Fraction(30)
    if not 1 <= rate <= 240:
        rate = Fraction(30)
    time_base = stream.time_base or 1 / rate
    seconds = None if container.duration is None else container.duration / av.time_base
    if _ends_early(container, stream, seconds):
        raise DriverError(_truncated(path))
    estimate = None if seconds is None else round(seconds * rate)
    first_pts = 0
    if container.format.name in _FREE_CLOCKS and container.start_time:
        first_pts = round(Fraction(container.start_time, av.time_base) / time_base)
    return DriverInfo(
        path=path,
        time_base=time_base,
        rate=rate.limit_denominator(1001),
        num_frames=stream.frames or estimate or None,
        first_pts=first_pts,
        num_audio=len(container.streams.audio),
    )


def _ends_early(container: InputContainer, stream: VideoStream, seconds: float | None) -> bool:
    """Whether a Matroska file's last packet comes long before the end its header promises."""
    if "matroska" not in container.format.name or not seconds:
        return False
    last = 0.0
    try:
        container.seek(max(0, container.duration or 0), backward=True)
        for packet in container.demux():
            if packet.pts is not None and packet.time_base is not None:
                last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        container.seek(0, backward=True)
    except av.error.FFmpegError:
        return True
    return last + _MISSING_TAIL_S < seconds


def _truncated(path: Path) -> str:
    return f"{path} is cut off before its end; copy or download it again"


def _matrix(frame: VideoFrame) -> Colorspace:
    """The frame's YCbCr matrix; untagged video follows the usual rule, HD is BT.709."""
    usual = Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601
    return _MATRICES.get(frame.colorspace, usual)


def _range(frame: VideoFrame) -> ColorRange:
    is_full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    return ColorRange.JPEG if is_full else ColorRange.MPEG


def _square_pixel_size(frame: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    if not aspect or not Fraction(1, 4) <= aspect <= 4:
        return frame.width, frame.height
    return max(1, round(frame.width * aspect)), frame.height


def _apply_display_matrix(image: NDArray[np.uint8], frame: VideoFrame) -> NDArray[np.uint8]:
    """Turn and mirror by quarter turns as the container's matrix says.

    The matrix ((a, b), (c, d)) sends (x, y) to (a x + c y, b x + d y)
    (ISO/IEC 14496-12, 8.3.2).
    """
    data = cast(SideData | None, frame.side_data.get("DISPLAYMATRIX"))
    if data is None:
        return image
    a, b, _, c, d = np.frombuffer(bytes(data), dtype=np.int32)[:5].tolist()
    if abs(b) > abs(a):
        image = image.transpose(1, 0, 2)
        a, d = c, b
    if a < 0:
        image = image[:, ::-1]
    if d < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)
