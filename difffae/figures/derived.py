"""Portraits that openpeople has not, made from those it has by plain image processing.

A painted, a colourless one, and things drawn onto a face: what a model makes of them is a hint of
what it makes of real ones, no more, and every figure that shows one says that it was drawn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, MaskF32, Points2, Points3
from difffae.face.facemesh import FACE_OVAL
from difffae.figures.media import Portrait

_STROKE_PX, _STROKE_LEVELS = 7, 12  # of the oil painting's brush
_FRAME, _GOLD, _CLOTH = (25, 20, 20), (212, 170, 60), (150, 60, 70)
_CANVAS_GRAIN = 5.0  # grey levels
_FOREHEAD, _CHIN, _BROWS = 10, 152, (105, 334)
_EYES = ((33, 133), (362, 263))  # outer and inner corners, at the picture's left and right
_EARS = (127, 356)  # the mesh's border beside the eyes
_LOBES = (132, 361)  # the mesh's border beside the lobes
_NUM_STRANDS = 500
_HAIR_ABOVE = 0.45  # the forehead, where hair is hair [face widths]
_SUBPIXEL = 4  # bits of cv2's fixed-point coordinates

Way = Callable[["Face"], ImageU8]


@dataclass(frozen=True, kw_only=True)
class Face:
    """What a portrait is changed by.

    Attributes:
        image: the portrait.
        points: mesh points of its face [px].
        person: how much each pixel belongs to the person.
    """

    image: ImageU8
    points: Points3
    person: MaskF32

    @property
    def width(self) -> float:
        """Of the face [px]."""
        return float(np.ptp(self.points[list(FACE_OVAL), 0]))


def black_and_white(face: Face) -> ImageU8:
    """The picture's luminance."""
    grey = cv2.cvtColor(face.image, cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(np.repeat(grey[..., None], 3, -1), np.uint8)


def painting(face: Face) -> ImageU8:
    """The picture in strokes of one colour each, on a grained ground."""
    strokes = cv2.xphoto.oilPainting(face.image, _STROKE_PX, _STROKE_LEVELS)
    grain = np.random.default_rng(0).normal(0, _CANVAS_GRAIN, face.image.shape[:2])
    woven = cv2.GaussianBlur(grain.astype(np.float32), (0, 0), 0.8)[..., None]
    return np.asarray(np.clip(strokes + woven, 0, 255), np.uint8)


def with_glasses(face: Face) -> ImageU8:
    """A dark frame around both eyes, with sides that reach the ears."""
    image = face.image.copy()
    thickness = max(round(face.width * 0.025), 1)
    middles, radii = [], []
    for outer, inner in _EYES:
        ends = face.points[[outer, inner], :2]
        middles.append(ends.mean(0))
        radii.append(float(np.linalg.norm(ends[1] - ends[0])))
    axis = (middles[1] - middles[0]) / np.linalg.norm(middles[1] - middles[0])
    angle = float(np.degrees(np.arctan2(axis[1], axis[0])))
    for side, (middle, radius) in enumerate(zip(middles, radii, strict=True)):
        half = (round(radius * 0.92), round(radius * 0.72))
        centre = (round(float(middle[0])), round(float(middle[1])))
        cv2.ellipse(image, centre, half, angle, 0, 360, _FRAME, thickness, cv2.LINE_AA)
        inwards = axis if side == 0 else -axis
        _line(image, middle - inwards * half[0], face.points[_EARS[side], :2], thickness)
    _line(
        image, middles[0] + axis * radii[0] * 0.92, middles[1] - axis * radii[1] * 0.92, thickness
    )
    return image


def _line(image: ImageU8, start: Points2, end: Points2, thickness: int) -> None:
    ends = [tuple(round(float(value)) for value in point) for point in (start, end)]
    cv2.line(image, ends[0], ends[1], _FRAME, thickness, cv2.LINE_AA)


def with_earrings(face: Face) -> ImageU8:
    """A gold disc below each ear."""
    image = face.image.copy()
    middle = face.points[list(FACE_OVAL), :2].mean(0)
    for lobe in _LOBES:
        outwards = face.points[lobe, :2] - middle
        place = middle + outwards * 1.04 + np.array([0, 0.07 * face.width])
        centre = (round(float(place[0])), round(float(place[1])))
        cv2.circle(image, centre, round(face.width * 0.05), _GOLD, -1, cv2.LINE_AA)
    return image


def with_fringe(face: Face) -> ImageU8:
    """Strands in the colours of the hair above the forehead, down to the brows."""
    image = face.image.copy()
    generator = np.random.default_rng(0)
    top, chin = face.points[_FOREHEAD, :2], face.points[_CHIN, :2]
    down = (chin - top) / np.linalg.norm(chin - top)
    across = np.array([down[1], -down[0]])
    brows = float(((face.points[list(_BROWS), :2] - top) @ down).mean())
    colours = _hair_colours(face, top - down * _HAIR_ABOVE * face.width, across)
    for _ in range(_NUM_STRANDS):
        aside = generator.uniform(-0.42, 0.42) * face.width
        root = top + across * aside - down * (0.25 - 0.7 * (aside / face.width) ** 2) * face.width
        length = (brows - 0.02 * face.width) * generator.uniform(0.8, 1.0) + 0.25 * face.width
        bend = generator.normal(0, 0.05) * face.width
        steps = np.linspace(0, 1, 6)[:, None]
        strand = root + down * length * steps + across * bend * steps**2
        colour = colours[generator.integers(len(colours))] * generator.uniform(0.85, 1.15)
        path = np.rint(strand * (1 << _SUBPIXEL)).astype(np.int32)
        ink = tuple(float(value) for value in np.clip(colour, 0, 255))
        cv2.polylines(image, [path], False, ink, 2, cv2.LINE_AA, _SUBPIXEL)
    return image


def _hair_colours(
    face: Face, place: Points2, across: Points2
) -> Float32[NDArray[np.float32], "n 3"]:
    """Colours along a line above the forehead."""
    steps = np.linspace(-0.25, 0.25, 40)[:, None] * face.width
    height, width = face.image.shape[:2]
    line = np.rint(place + across * steps).astype(int)
    rows, columns = np.clip(line[:, 1], 0, height - 1), np.clip(line[:, 0], 0, width - 1)
    return np.asarray(face.image[rows, columns], np.float32)


def with_headscarf(face: Face) -> ImageU8:
    """Cloth over hair, ears and neck, with a few folds; the face stays free."""
    height, width = face.image.shape[:2]
    oval = face.points[list(FACE_OVAL), :2]
    middle = oval.mean(0)
    free = _filled(middle + (oval - middle) * np.array([0.98, 0.97]), height, width)
    hood = _filled(middle + (oval - middle) * np.array([1.55, 1.42]), height, width)
    chin = face.points[_CHIN, :2]
    drape = np.array(
        [
            [middle[0] - 0.72 * face.width, middle[1]],
            [middle[0] + 0.72 * face.width, middle[1]],
            [middle[0] + 0.95 * face.width, chin[1] + 0.75 * face.width],
            [middle[0] - 0.95 * face.width, chin[1] + 0.75 * face.width],
        ]
    )
    hair = face.person * (np.arange(height)[:, None] < chin[1])
    cloth = np.maximum(np.maximum(hood, _filled(drape, height, width)), hair) * (1 - free)
    cloth = cv2.GaussianBlur(cloth.astype(np.float32), (0, 0), 1.2)[..., None]
    return np.asarray(np.clip(face.image * (1 - cloth) + _folds(face) * cloth, 0, 255), np.uint8)


def _filled(outline: NDArray[np.float32], height: int, width: int) -> MaskF32:
    canvas = np.zeros((height, width), np.float32)
    path = np.rint(outline).astype(np.int32)
    return np.asarray(cv2.fillPoly(canvas, [path], (1.0,)), np.float32)


def _folds(face: Face) -> Float32[NDArray[np.float32], "h w 3"]:
    """A cloth's colour, lighter and darker along curves around the face."""
    height, width = face.image.shape[:2]
    middle = face.points[list(FACE_OVAL), :2].mean(0)
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    far = np.hypot(columns - middle[0], (rows - middle[1]) * 0.8) / face.width
    around = np.arctan2(rows - middle[1], columns - middle[0])
    shade = 1 + 0.10 * np.sin(22 * far + 2 * around) + 0.06 * np.sin(41 * far - 3 * around)
    return np.asarray(shade[..., None] * np.array(_CLOTH), np.float32)


WAYS: Mapping[str, tuple[str, Way]] = MappingProxyType(
    {
        "painting": ("painted by a filter", painting),
        "black and white": ("colour taken out", black_and_white),
        "glasses": ("glasses drawn on", with_glasses),
        "earrings": ("earrings drawn on", with_earrings),
        "fringe": ("fringe drawn on", with_fringe),
        "headscarf": ("headscarf drawn on", with_headscarf),
    }
)


def derive(portrait: Portrait, name: str, points: Points3, person: MaskF32) -> Portrait:
    """A portrait changed in one of `WAYS`.

    Args:
        portrait: of one face.
        name: of the way.
        points: mesh points of the face [px of the picture].
        person: the person's mask in the picture.
    """
    note, way = WAYS[name]
    image = way(Face(image=portrait.image, points=points, person=person))
    return replace(portrait, name=f"{portrait.name} {name}", image=image, note=note)
