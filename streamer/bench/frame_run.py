"""A driver, a portrait and a model in; their frames made one after another or as the product does.

One after another, every stage of a frame can be timed by itself. The product overlaps them: it
decodes, prepares, paints and encodes different frames at the same time.
"""

import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from streamer.bench.usage import Meter, Used
from streamer.certificate import SigningSettings
from streamer.engine import Engine, EngineSettings
from streamer.errors import UsageError
from streamer.label import Label
from streamer.portrait import read_portrait
from streamer.provenance import can_sign
from streamer.reenactment import Job, reenact_file
from streamer.segment import EncoderSettings, SegmentWriter, View
from streamer.video_file import DriverFrame, VideoReader

if TYPE_CHECKING:
    from streamer.engine import Source, StreamState

WARM_UPS = 5
"""Frames at the beginning that do not count."""

DECODE_VIDEO, ENCODE_VIDEO, LABEL = "decode video", "encode video", "label (live only)"


class Watch(Protocol):
    """What times stages; `difffae.benchmark.stopwatch.Stopwatch` is one."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Time the body."""
        ...

    def forget(self) -> None:
        """Drop what was noted so far."""
        ...


@dataclass(frozen=True, kw_only=True)
class Media:
    """What the frames are made of.

    Attributes:
        driver: a video of at least `WARM_UPS` more frames than are to be counted.
        portrait: a picture of one face.
        folder: where the results may go.
    """

    driver: Path
    portrait: Path
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Run:
    """Frames that were made and counted.

    Attributes:
        num_frames: how many.
        used: from the first to the last of them.
        frame_ms: of each from decode to encode; empty where frames overlap.
        finish_s: to the finished, signed file after the last; 0 where none is made.
    """

    num_frames: int
    used: Used
    frame_ms: tuple[float, ...] = ()
    finish_s: float = 0.0

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self.num_frames / self.used.wall_s


def one_after_another(engine: Engine, watch: Watch, media: Media, num_frames: int) -> Run:
    """Decode, reenact and encode each frame before the next one is begun, in this thread.

    Args:
        engine: whose parts the watch may time too.
        watch: is told the stages of decoding and encoding, and forgets the frames of the warm-up.
        media: what of.
        num_frames: that count.

    Raises:
        UsageError: the driver is too short.
    """
    one = _OneFrame(engine, watch, media)
    frame_ms: list[float] = []
    with VideoReader(media.driver) as reader, ExitStack() as left:
        settings = EncoderSettings(time_base=reader.info.time_base, rate=reader.info.rate)
        writer = SegmentWriter(media.folder / "one.nut", settings)
        left.callback(writer.abandon)  # leaves alone what is closed
        frames = reader.frames()
        meter = Meter()
        for number in range(WARM_UPS + num_frames):
            if number == WARM_UPS:
                watch.forget()
                meter = Meter()
            begun_s = time.perf_counter()
            with watch.stage(DECODE_VIDEO):
                frame = next(frames, None)
            if frame is None:
                raise UsageError(f"{media.driver} has only {number} frames")
            one.make(frame, writer)
            frame_ms.append(1000 * (time.perf_counter() - begun_s))
        used = meter.read()
        writer.close()
    one.label(num_frames)
    return Run(num_frames=num_frames, used=used, frame_ms=tuple(frame_ms[WARM_UPS:]))


class _OneFrame:
    """A stream, frame by frame."""

    def __init__(self, engine: Engine, watch: Watch, media: Media) -> None:
        self._model, self._controls = engine.reenactor, engine.controls
        self._watch = watch
        image = read_portrait(media.portrait)
        self._image = image
        self._source: Source = self._model.encode_source(image)
        self._state: StreamState = self._model.open_stream(self._source, self._controls)

    def make(self, frame: DriverFrame, writer: SegmentWriter) -> None:
        """Everything after its decoding."""
        prepared, self._state = self._model.prepare(
            frame.image, self._source, self._state, self._controls
        )
        painted = self._model.paint(prepared, self._source, self._controls)
        with self._watch.stage(ENCODE_VIDEO):
            writer.write(painted.image, frame.pts)

    def label(self, count: int) -> None:
        """Burn the live server's label into the portrait so many times."""
        label = Label()
        label.burn_in(self._image)
        for _ in range(count):
            with self._watch.stage(LABEL):
                label.burn_in(self._image)


def overlapped(engine: Engine, settings: EngineSettings, media: Media, num_frames: int) -> Run:
    """Run the offline command's own code with a model that is loaded already.

    Args:
        engine: the model, not timed.
        settings: what it was loaded with.
        media: what of; all frames of the driver are made.
        num_frames: that count, the warm-up left out.

    Raises:
        StreamerError: see `reenact_file`.
    """
    stretch = _Stretch(num_frames)
    job = Job(
        driver=media.driver,
        source=media.portrait,
        outputs={View.RESULT: media.folder / "overlapped.mp4"},
        engine=settings,
        can_overwrite=True,
        signing=SigningSettings() if can_sign() else None,
    )
    reenact_file(job, load=lambda _: engine, on_frame=stretch.note)
    if stretch.used is None:
        raise UsageError(f"{media.driver} has fewer than {WARM_UPS + num_frames} frames")
    finish_s = time.perf_counter() - stretch.ended_s
    return Run(num_frames=num_frames, used=stretch.used, finish_s=finish_s)


class _Stretch:
    """Meters from the end of the warm-up to the last frame that counts."""

    def __init__(self, num_frames: int) -> None:
        self.used: Used | None = None
        self.ended_s = 0.0
        self._last = WARM_UPS + num_frames
        self._meter = Meter()

    def note(self, done: int, total: int | None, is_new: bool) -> None:
        """See `streamer.reenactment.OnFrame`."""
        del total, is_new
        if done == WARM_UPS:
            self._meter = Meter()
        if done == self._last:
            self.used = self._meter.read()
            self.ended_s = time.perf_counter()
