"""Clips out: one fixed-size square after another into an mp4 file, a folder of PNGs or a shard.

Each appears under its name when it is finished, and not before.
"""

import contextlib
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import av
import cv2
import numpy as np

from difffae.arrays import Points3, SquareU8
from difffae.data.shards import (
    ShardContents,
    cannot_write,
    encode_jpeg,
    partial_path,
    remove,
    write_shard,
)
from difffae.data.video import FRAME_RATE_HZ
from difffae.face.mediapipe import MediaPipeTracker, PersonSegmenter
from difffae.face.tracker import measure

ClipForm = Literal["shards", "mp4", "png"]
_CRF = "12"  # x264's quality: hardly told from the source
_SAME_EVERY_RUN = {"rc-lookahead": "0"}  # with a lookahead (mbtree) x264's output varies
_PIXELS = "yuv420p"
_NO_FACE = "no face"


class FaceTools:
    """Tracker and segmenter of one process, built when they are first asked for."""

    @cached_property
    def tracker(self) -> MediaPipeTracker:
        """The tracker."""
        return MediaPipeTracker()

    @cached_property
    def segmenter(self) -> PersonSegmenter:
        """The segmenter."""
        return PersonSegmenter()


@dataclass(frozen=True, kw_only=True)
class ClipName:
    """FOMM's name of a clip: `person#video#start#end`, the last two in frames of the video."""

    person: str
    video: str
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.person}#{self.video}#{self.start:06d}#{self.end:06d}"


class ClipWriter(Protocol):
    """Takes the frames of one clip in order."""

    def add(self, number: int, image: SquareU8, points: Points3 | None) -> None:
        """Take a frame, its number within the clip, and the face's points where they are known."""
        ...

    def finish(self) -> str | None:
        """Make the clip appear; the reason where it does not."""
        ...

    def discard(self) -> None:
        """Leave nothing of the clip."""
        ...


def clip_path(folder: Path, stem: str, form: ClipForm) -> Path:
    """Where a clip lies: shards are `frames-NAME.safetensors`, a folder of PNGs is `NAME.mp4`."""
    return folder / (f"frames-{stem}.safetensors" if form == "shards" else f"{stem}.mp4")


@dataclass(kw_only=True)
class FrameShard:
    """Tracked pictures, gathered as they are stored, until they make a shard."""

    segmenter: PersonSegmenter
    images: list[bytes] = field(default_factory=list)
    masks: list[bytes] = field(default_factory=list)
    points: list[Points3] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def add(self, number: int, image: SquareU8, points: Points3) -> None:
        """Take a picture, its number in the clip and the mesh points in its pixels."""
        mask = np.rint(self.segmenter.segment(image) * 255).astype(np.uint8)
        self.images.append(encode_jpeg(image))
        self.masks.append(encode_jpeg(np.repeat(mask[..., None], 3, -1)))
        self.points.append(points)
        self.numbers.append(number)

    def contents(self, people: list[str], clips: list[str]) -> ShardContents:
        """The shard, with each sample's labels."""
        return ShardContents(
            pictures={"image": self.images, "person_mask": self.masks},
            arrays={
                "points": np.stack(self.points).astype(np.float32),
                "frame": np.array(self.numbers, np.int32),
            },
            labels={"person": people, "clip": clips},
        )


class ShardWriter:
    """Writes a clip as a shard of frames with their mesh points and masks.

    Points that are not given are tracked and measured, in every `stride`-th frame; frames without
    a face are left out.
    """

    def __init__(self, path: Path, person: str, clip: str, stride: int, tools: FaceTools) -> None:
        self._path, self._person, self._clip, self._stride = path, person, clip, stride
        self._tracker = tools.tracker
        self._shard = FrameShard(segmenter=tools.segmenter)
        self._previous: Points3 | None = None

    def add(self, number: int, image: SquareU8, points: Points3 | None) -> None:
        """See `ClipWriter.add`."""
        if points is None:
            if number % self._stride:
                return
            points = self._previous = self._tracker.track(image, self._previous)
            if points is not None:
                points = measure(self._tracker, image, points)
        if points is not None:
            self._shard.add(number, image, points)

    def finish(self) -> str | None:
        """See `ClipWriter.finish`."""
        count = len(self._shard.numbers)
        if not count:
            return _NO_FACE
        write_shard(self._path, self._shard.contents([self._person] * count, [self._clip] * count))
        return None

    def discard(self) -> None:
        """See `ClipWriter.discard`: nothing is on the disk yet."""


class Mp4Writer:
    """Writes a clip as H.264, 25 frames a second; the same frames give the same bytes."""

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, partial_path(path)
        self._container: Any = None
        self._stream: Any = None

    def add(self, number: int, image: SquareU8, points: Points3 | None) -> None:
        """See `ClipWriter.add`; the points are not stored."""
        try:
            if self._container is None:
                self._open(image.shape[0])
            # Left to the encoder, about one conversion in 250 came out otherwise (PyAV 18.1).
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=_PIXELS)
            frame.pts = number
            self._container.mux(self._stream.encode(frame))
        except OSError as error:
            self.discard()
            raise cannot_write(self._path, error) from error

    def finish(self) -> str | None:
        """See `ClipWriter.finish`."""
        if self._container is None:
            return "no frames"
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._temporary.rename(self._path)
        except OSError as error:
            self.discard()
            raise cannot_write(self._path, error) from error
        return None

    def discard(self) -> None:
        """See `ClipWriter.discard`."""
        with contextlib.suppress(OSError):
            if self._container is not None:
                self._container.close()
        with contextlib.suppress(OSError):
            remove(self._temporary)

    def _open(self, side: int) -> None:
        self._container = av.open(str(self._temporary), "w", format="mp4")
        options = {"crf": _CRF, "preset": "medium", "threads": "1", **_SAME_EVERY_RUN}
        self._stream = self._container.add_stream(
            "libx264", rate=Fraction(FRAME_RATE_HZ), options=options
        )
        self._stream.width = self._stream.height = side
        self._stream.pix_fmt = _PIXELS


class PngWriter:
    """Writes a clip as FOMM does: a folder with a video's name that holds 0000000.png and so on."""

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, partial_path(path)
        self._count = 0

    def add(self, number: int, image: SquareU8, points: Points3 | None) -> None:
        """See `ClipWriter.add`; the points are not stored."""
        _, data = cv2.imencode(".png", image[..., ::-1])
        try:
            self._temporary.mkdir(exist_ok=True)
            (self._temporary / f"{self._count:07d}.png").write_bytes(data.tobytes())
        except OSError as error:
            self.discard()
            raise cannot_write(self._path, error) from error
        self._count += 1

    def finish(self) -> str | None:
        """See `ClipWriter.finish`."""
        if not self._count:
            return "no frames"
        try:
            self._temporary.rename(self._path)
        except OSError as error:
            self.discard()
            raise cannot_write(self._path, error) from error
        return None

    def discard(self) -> None:
        """See `ClipWriter.discard`."""
        with contextlib.suppress(OSError):
            remove(self._temporary)
