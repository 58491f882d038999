"""A world without faces for the tests of edits: pictures whose grey bars are a face's parameters.

Every attribute is one bar, so that what a rig reads and a model paints is known exactly.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from difffae.arrays import ImageU8, Lighting, Points3, Triangles
from difffae.controls import Controls
from difffae.data.split import Clip
from difffae.face.crop import CropBox
from difffae.face.parameters import FaceParameters
from difffae.face.rig import Sighting
from difffae.metrics.meter import Instruments
from evaluation_media import write_video

SIDE = 256
COLUMNS = 22  # of the grid of points
BARS = ("rotation", "expression", "light", "shape", "identity")
RADIANS, STEP = 1 / 100, 1 / 50  # a level's worth of rotation and light, of coefficients


@dataclass(frozen=True, kw_only=True)
class Bars:
    """The grey levels of a picture's bars; all 0 shows no face."""

    rotation: int = 100
    expression: int = 100
    light: int = 100
    shape: int = 100
    identity: int = 100

    def drawn(self) -> ImageU8:
        """The picture."""
        levels = np.repeat([getattr(self, name) for name in BARS], SIDE // len(BARS) + 1)[:SIDE]
        return np.repeat(np.tile(levels, (SIDE, 1))[..., None], 3, -1).astype(np.uint8)


def read_bars(image: ImageU8) -> Bars:
    """The levels in the middle of each bar, in a picture of any size."""
    width = image.shape[1] / SIDE * (SIDE // len(BARS) + 1)
    middle = [image[image.shape[0] // 2, int((index + 0.5) * width), 0] for index in range(5)]
    return Bars(**{name: int(level) for name, level in zip(BARS, middle, strict=True)})


def parameters_of(bars: Bars) -> FaceParameters:
    """What the rig reads: rotation about y, two alike coefficients each."""
    return FaceParameters(
        shape=np.full(2, bars.shape * STEP, np.float32),
        expression=np.full(2, bars.expression * STEP, np.float32),
        gaze=np.zeros(4, np.float32),
        rotation=np.array([0, bars.rotation * RADIANS, 0], np.float32),
        scale=50.0,
        translation=np.full(2, 128, np.float32),
    )


def lighting_of(bars: Bars) -> Lighting:
    """The light, alike in all 27 coefficients."""
    return np.full((9, 3), bars.light * RADIANS, np.float32)


class BarRig:
    """Reads bars."""

    def read(self, sighting: Sighting, person: FaceParameters | None = None) -> FaceParameters:
        found = parameters_of(read_bars(sighting.image))
        return found if person is None else replace(found, shape=person.shape)

    def lighting(self, sighting: Sighting) -> Lighting:
        return lighting_of(read_bars(sighting.image))

    def without_networks(self) -> "BarRig":
        return self

    def mouth_opening(self, parameters: FaceParameters) -> float:
        return 0.0

    def open_mouth(self, parameters: FaceParameters, change: float) -> FaceParameters:
        assert change == 0
        return parameters


class BarLandmarks:
    """Finds a face wherever a picture is not black."""

    def points(self, image: ImageU8) -> Points3 | None:
        if not image.any():
            return None
        row, column = np.divmod(np.arange(478), COLUMNS)
        u, v = column / COLUMNS - 0.5, row / COLUMNS - 0.5
        points = np.stack([u, v, u**2 + v**2], -1) * 0.6 + [0.5, 0.5, 0]
        return (points * image.shape[0]).astype(np.float32)


def dome_triangles() -> Triangles:
    """The surface of `BarLandmarks`' points, which bulges towards the camera."""
    corners = [row * COLUMNS + column for row in range(20) for column in range(COLUMNS - 1)]
    halves = [((c, c + 1, c + COLUMNS), (c + 1, c + COLUMNS + 1, c + COLUMNS)) for c in corners]
    return np.array([triangle for half in halves for triangle in half], np.int32)


class BarEmbedder:
    """An angle for an identity: 100 levels are a quarter turn."""

    name = "bars"

    def embed(self, image: ImageU8, points: Points3) -> np.ndarray:
        angle = read_bars(image).identity / 100 * np.pi / 2
        return np.array([np.cos(angle), np.sin(angle)], np.float32)


def bar_instruments() -> Instruments:
    """Landmarks and embedder of the world."""
    return Instruments(BarLandmarks(), embedder=BarEmbedder())  # type: ignore[arg-type]


@dataclass
class BarPipeline:
    """Shows just what it is asked for; its networks then miss the light by `missed_light` levels,
    and turn what takes another's pose into another's shape by `leaked_shape`."""

    missed_light: int = 0
    leaked_shape: int = 0
    is_blind: bool = False
    config: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(image_size=SIDE))
    rig: BarRig = field(default_factory=BarRig)

    def encode_source(self, image: ImageU8) -> SimpleNamespace:
        bars = read_bars(image)
        face = SimpleNamespace(
            fitted=SimpleNamespace(parameters=parameters_of(bars)),
            appearance=SimpleNamespace(lighting=lighting_of(bars)),
        )
        box = CropBox(left=0, top=0, size=SIDE)
        return SimpleNamespace(image=image, crop_box=box, face=face, bars=bars)

    def sight(self, frame: ImageU8, state: object) -> Sighting | None:
        points = BarLandmarks().points(frame)
        return None if points is None else Sighting(image=frame, points=points)

    def render(
        self, source: SimpleNamespace, shown: FaceParameters, lighting: Lighting
    ) -> SimpleNamespace:
        bars = replace(
            source.bars,
            rotation=round(float(shown.rotation[1]) / RADIANS),
            expression=round(float(shown.expression[0]) / STEP),
            light=round(float(lighting[0, 0]) / RADIANS),
        )
        return SimpleNamespace(composite=bars.drawn(), bars=bars, source=source.bars)

    def generate(
        self, condition: SimpleNamespace, source: SimpleNamespace, controls: Controls
    ) -> ImageU8:
        if self.is_blind:
            return np.zeros((SIDE, SIDE, 3), np.uint8)
        bars: Bars = condition.bars
        is_turned = bars.rotation != condition.source.rotation
        return replace(
            bars,
            light=bars.light + self.missed_light,
            shape=bars.shape + is_turned * self.leaked_shape,
        ).drawn()


def write_clip(folder: Path, person: str, bars: list[Bars]) -> Clip:
    """A clip of one person."""
    path = write_video(folder / f"{person}#1.mp4", [each.drawn() for each in bars])
    return Clip(path=path, person=person, num_frames=len(bars))
