"""Small videos and a stand-in for the model, made for the tests of streamer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from difffae.controls import Controls
from difffae.face.edit import Donor
from difffae.face.lighting import uniform_lighting
from difffae.face.parameters import FaceParameters
from difffae.face.tracker import FaceNotFoundError, SeveralFacesError
from streamer.engine import Engine, EngineSettings, model_controls

Image = NDArray[np.uint8]


def moving_frames(num_frames: int, *, height: int = 64, width: int = 96) -> list[Image]:
    """Frames that differ from one another: a smooth picture moving right, growing lighter."""
    y, x = np.mgrid[0:height, 0:width]
    frames = []
    for index in range(num_frames):
        red = 100 + 60 * np.sin((x - 3 * index) / 9)
        green = 100 + 60 * np.cos(y / 7 + index / 5)
        blue = np.full_like(red, 60 + 100 * index / max(1, num_frames))
        frames.append(np.stack([red, green, blue], axis=2).astype(np.uint8))
    return frames


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How a test video is written; `pts` in units of `time_base`, one for each frame."""

    codec: str = "libx264"
    rate: int = 25
    pts: Sequence[int] | None = None
    time_base: Fraction | None = None
    rotation_deg: int | None = None
    is_mirrored: bool = False
    audio_codec: str | None = None
    audio_rate: int = 44100
    container: str | None = None
    movflags: str = ""


def write_video(path: Path, frames: Sequence[Image], options: VideoOptions | None = None) -> Path:
    """Encode frames, with a 440 Hz tone as long as them where an audio codec is given."""
    given = options or VideoOptions()
    muxer_options = {"movflags": given.movflags} if given.movflags else {}
    with av.open(str(path), "w", format=given.container, options=muxer_options) as container:
        speed = {"preset": "ultrafast"} if given.codec == "libx264" else {}
        stream: Any = container.add_stream(given.codec, rate=given.rate, options=speed)
        stream.height, stream.width = frames[0].shape[:2] if len(frames) else (64, 96)
        stream.pix_fmt = "yuv420p"
        if given.time_base is not None:
            stream.codec_context.time_base = given.time_base
        if given.rotation_deg is not None:
            stream.set_display_rotation(given.rotation_deg, hflip=given.is_mirrored)
        sound: Any = None
        if given.audio_codec is not None:
            sound = container.add_stream(given.audio_codec, rate=given.audio_rate)
            sound.layout = "mono"
        container.start_encoding()
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = index if given.pts is None else given.pts[index]
            frame.time_base = given.time_base or Fraction(1, given.rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _write_tone(container, sound, len(frames) / given.rate)
    return path


def _write_tone(container: Any, stream: Any, seconds: float) -> None:
    rate = stream.rate
    samples = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)
    frame = av.AudioFrame.from_ndarray(
        (samples * 32767).astype(np.int16)[np.newaxis], format="s16", layout="mono"
    )
    frame.sample_rate = rate
    frame.pts = 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def read_video(path: Path) -> tuple[list[Image], list[Fraction]]:
    """Every frame as RGB by the tags in the file, and when each appears [s]."""
    images, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            images.append(frame.to_ndarray(format="rgb24"))
            times.append(frame.pts * frame.time_base)
    return images, times


@dataclass(frozen=True, kw_only=True)
class FakeSource:
    """The portrait itself."""

    image: Image


@dataclass(frozen=True, kw_only=True)
class FakeState:
    """A running mean, so that a frame left out of it changes all that follow."""

    level: float = 0.0
    reference: float = 0.0


@dataclass(frozen=True, kw_only=True)
class FakePrepared:
    """How far the portrait's columns go."""

    shift: int
    is_tracked: bool


@dataclass(frozen=True, kw_only=True)
class FakeReenacted:
    """As `difffae.pipeline.Reenacted`."""

    image: Image
    mask: Image
    is_tracked: bool
    trail: int | None = None


class FakeReenactor:
    """Moves the portrait's columns by the smoothed mean of the driver's frames, and by the yaw.

    Another's pose is the mean of a picture, or what a video would have moved the portrait by.

    A picture of one even colour has no face; a portrait with pure green in its first pixel has two.
    """

    def __init__(self, *, before_frame: Any = None) -> None:
        self.num_reenacted = 0
        self.num_skipped = 0
        self.auto_frames: list[Image] = []
        self.trails: list[int | None] = []
        self.given: list[Controls] = []
        self._before_frame = before_frame

    def encode_source(self, image: Image, *, face: int | None = None) -> FakeSource:
        if int(image.max()) == int(image.min()):
            raise FaceNotFoundError("no face found: use a picture with one clear face")
        if tuple(image[0, 0]) == (0, 255, 0) and face is None:
            raise SeveralFacesError("2 faces found: pick one by its number, 1 to 2")
        return FakeSource(image=image)

    def open_stream(self, source: FakeSource, controls: Any) -> FakeState:
        return FakeState()

    def choose_reference(self, frames: Iterable[Image], source: FakeSource, controls: Any) -> Image:
        self.auto_frames = list(frames)
        if not any(has_face(frame) for frame in self.auto_frames):
            raise FaceNotFoundError("no face found")
        return max(self.auto_frames, key=lambda frame: float(frame.mean()))

    def set_reference(self, frame: Image, source: FakeSource, state: FakeState) -> FakeState:
        if not has_face(frame):
            raise FaceNotFoundError("no face found")
        return FakeState(level=state.level, reference=float(frame.mean()))

    def prepare(
        self, frame: Image, source: FakeSource, state: FakeState, controls: Any
    ) -> tuple[FakePrepared, FakeState]:
        state = self._step(frame, state)
        self.given.append(controls)
        level = state.level - state.reference
        shift = round(_posed(level, controls))
        return FakePrepared(shift=shift, is_tracked=has_face(frame)), state

    def still(self, source: FakeSource, controls: Controls) -> FakeReenacted:
        self.given.append(controls)
        shift = round(_posed(0, controls))
        return self.paint(FakePrepared(shift=shift, is_tracked=True), source, controls)

    def donor(self, source: FakeSource, state: FakeState | None = None) -> Donor:
        level = float(source.image.mean()) if state is None else state.level - state.reference
        return donor_of(level)

    def paint(
        self, prepared: FakePrepared, source: FakeSource, controls: Any, trail: int | None = None
    ) -> FakeReenacted:
        self.trails.append(trail)
        if self._before_frame is not None:
            self._before_frame(self.num_reenacted + self.num_skipped)
        self.num_reenacted += 1
        shift = prepared.shift
        image = np.roll(source.image, shift, axis=1)
        mask = np.zeros(image.shape[:2], np.uint8)
        mask[: image.shape[0] // 2] = 255
        return FakeReenacted(
            image=image, mask=mask, is_tracked=prepared.is_tracked, trail=self.num_reenacted
        )

    def skip(self, frame: Image, source: FakeSource, state: FakeState, controls: Any) -> FakeState:
        self.num_skipped += 1
        return self._step(frame, state)

    def _step(self, frame: Image, state: FakeState) -> FakeState:
        level = 0.9 * state.level + 0.1 * float(frame.mean())
        return FakeState(level=level, reference=state.reference)


def donor_of(level: float) -> Donor:
    """A face whose only news is how far it is turned."""
    parameters = FaceParameters(
        shape=np.zeros(2, np.float32),
        expression=np.zeros(2, np.float32),
        gaze=np.zeros(4, np.float32),
        rotation=np.array([0, level, 0], np.float32),
        scale=1.0,
        translation=np.zeros(2, np.float32),
    )
    return Donor(parameters=parameters, height=64, width=96, lighting=uniform_lighting())


def _posed(level: float, controls: Controls) -> float:
    pose = controls.edit.pose
    own = level if pose is None else float(pose.parameters.rotation[1])
    return own + controls.edit.yaw


def has_face(image: Image) -> bool:
    """What the stand-in takes for a face: anything not nearly of one colour."""
    return float(image.std()) > 5


@dataclass
class FakeLoader:
    """Hands out a stand-in as `streamer.engine.load_engine` does the model, and counts."""

    reenactor: FakeReenactor
    settings: EngineSettings | None = None
    num_calls: int = 0

    def __call__(self, settings: EngineSettings) -> Engine:
        self.settings = settings
        self.num_calls += 1
        reenactor: Any = self.reenactor
        controls = model_controls(settings.controls, settings.seed, is_warm=settings.warm_start)
        return Engine(reenactor=reenactor, controls=controls)


def never_load(settings: EngineSettings) -> Engine:
    """A loader for tests in which the model must not be reached."""
    raise AssertionError("the model was loaded before the inputs were checked")
