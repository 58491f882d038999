"""A pipeline of small random networks whose driver frames name their own points."""

from dataclasses import dataclass, fields, is_dataclass

import numpy as np

from difffae.arrays import ImageU8, Points3
from difffae.controls import Controls
from difffae.face.crop import CropBox, box_around
from difffae.pipeline import Pipeline, Reenacted, Source, StreamState

HEIGHT, WIDTH, MARGIN = 512, 640, 64  # the portrait: its square picture between two grey bars
DRIVER_SIDE = 256
CONTROLS = Controls()
ACCOMPANIED = 91  # a driver frame of this colour shows a second face


@dataclass(frozen=True, kw_only=True)
class ScriptedTracker:
    """Gives driver frames the points that their first pixel's number names."""

    faces: list[Points3]
    script: dict[int, Points3 | None]

    def find_faces(self, image: ImageU8) -> list[Points3]:
        return self.faces

    def spot_faces(self, image: ImageU8) -> list[CropBox]:
        """The script's own face, and on a frame of colour 91 another one beside it."""
        points = self.track(image, None)
        if points is None:
            return []
        own = box_around(points, factor=0.8)
        beside = CropBox(left=own.left - 1.5 * own.size, top=own.top, size=0.7 * own.size)
        return [own, beside] if image[-1, -1, 0] == ACCOMPANIED else [own]

    def track(self, image: ImageU8, previous: Points3 | None) -> Points3 | None:
        is_driver = image.shape[0] == DRIVER_SIDE and image[0, 1].tolist() == [1, 2, 3]
        return self.script[int(image[0, 0, 0])] if is_driver else previous


def driver_frame(number: int, colour: int = 90) -> ImageU8:
    """A frame that names its points in the script, of a colour for each number."""
    frame = np.full((DRIVER_SIDE, DRIVER_SIDE, 3), colour + 10 * number, np.uint8)
    frame[-1, -1] = colour
    frame[0, 0], frame[0, 1] = number, (1, 2, 3)
    return frame


def moved(points: Points3, *, shift: tuple[float, float] = (0, 0), turn: float = 0) -> Points3:
    """Points turned about the vertical axis through their middle [rad], then shifted [px]."""
    middle = points.mean(0)
    cosine, sine = np.cos(turn), np.sin(turn)
    rotation = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    turned = (points - middle) @ rotation.T + middle + np.array([*shift, 0])
    return turned.astype(np.float32)


def speaking(points: Points3, opening: float) -> Points3:
    """Points with the lower lip and the chin moved down [px]."""
    result = points.copy()
    result[[14, 17, 84, 314, 87, 317, 178, 402, 152, 148, 377], 1] += opening
    return result


def reenacted(
    pipeline: Pipeline,
    source: Source,
    frames: list[ImageU8],
    controls: Controls = CONTROLS,
) -> tuple[list[Reenacted], StreamState]:
    state, outputs = pipeline.open_stream(source, controls), []
    for frame in frames:
        output, state = pipeline.reenact(frame, source, state, controls)
        outputs.append(output)
    return outputs, state


def leaves(value: object) -> list[object]:
    """All arrays and plain values inside nested dataclasses."""
    if not is_dataclass(value):
        return [value]
    return [leaf for field in fields(value) for leaf in leaves(getattr(value, field.name))]


def assert_same(one: object, other: object) -> None:
    for left, right in zip(leaves(one), leaves(other), strict=True):
        np.testing.assert_array_equal(left, right)
