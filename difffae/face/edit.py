"""Compositional edits (paper 4.4): each attribute of a face from its own place, or by number.

What is shown begins as the face that the driver's motion gives, or the portrait's own where there
is no driver; an edit then puts in each attribute's donor and its number. Nothing is remembered
between frames: taking an edit back gives the very picture that there was without it.
"""

from dataclasses import dataclass, fields, replace
from types import MappingProxyType

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import Lighting
from difffae.face.motion import Stage
from difffae.face.parameters import FaceParameters, Vector, axis_angle, matrix
from difffae.face.regions import Regions
from difffae.face.rig import Rig

FACE_WIDTH = 2.65  # of the mean face mesh [head units]
EYE_RADIUS = 0.21  # an eyeball of 12 mm beside a face mesh 150 mm wide [head units]


@dataclass(frozen=True, kw_only=True)
class Span:
    """What a number may be.

    Attributes:
        least, most: both included.
        unit: in words.
    """

    least: float
    most: float
    unit: str


SPANS = MappingProxyType(
    {
        "yaw": Span(least=-40, most=40, unit="degrees"),
        "pitch": Span(least=-30, most=30, unit="degrees"),
        "roll": Span(least=-45, most=45, unit="degrees"),
        "expression_strength": Span(least=0, most=2, unit="times"),
        "gaze_x": Span(least=-30, most=30, unit="degrees"),
        "gaze_y": Span(least=-20, most=20, unit="degrees"),
        "shape_strength": Span(least=0, most=1, unit="share"),
        "zoom": Span(least=0.7, most=1.4, unit="times"),
        "shift_x": Span(least=-0.5, most=0.5, unit="face widths"),
        "shift_y": Span(least=-0.5, most=0.5, unit="face widths"),
    }
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Donor:
    """A face in a picture, read once, for attributes to be taken from it.

    Attributes:
        parameters: of the face, in the picture's pixels.
        height, width: of the picture [px].
        lighting: on the face.
    """

    parameters: FaceParameters
    height: int
    width: int
    lighting: Lighting


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Where attributes come from if not from the driver, and what is changed by number.

    Numbers come on top of what the donor, the driver or the portrait gives. Left and right, up and
    down are those of who looks at the picture.

    Attributes:
        pose: whose turn of the head; None: the driver's, as `Controls` says. So are the others.
        expression: whose face, without gaze.
        gaze: whose.
        shape: whose; None: the portrait's.
        camera: whose size and place in the picture.
        light: in whose light.
        yaw, pitch, roll: turn of the head [degrees]: to the right, up, clockwise.
        expression_strength: multiplies what of the expression differs from the portrait's.
        gaze_x, gaze_y: turn of the eyes [degrees]: to the right, up.
        shape_strength: share of the way from the portrait's shape to the donor's.
        zoom: factor on the head's size.
        shift_x, shift_y: of the head [face widths]: to the right, up.
    """

    pose: Donor | None = None
    expression: Donor | None = None
    gaze: Donor | None = None
    shape: Donor | None = None
    camera: Donor | None = None
    light: Donor | None = None
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    expression_strength: float = 1.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    shape_strength: float = 1.0
    zoom: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one is out of its range.
        """
        for name, span in SPANS.items():
            value = getattr(self, name)
            if not span.least <= value <= span.most:
                raise ValueError(
                    f"{name} is {value}; expected {span.least:g} to {span.most:g} {span.unit}"
                )

    @property
    def moves_face(self) -> bool:
        """Whether there is anything to do for `apply_edit`."""
        return any(getattr(self, each.name) != each.default for each in fields(self))


def neutral(donor: Donor) -> Donor:
    """The same face in the same place, looking straight out, with the mean expression."""
    face = donor.parameters
    rest = replace(
        face,
        rotation=np.zeros_like(face.rotation),
        expression=np.zeros_like(face.expression),
        gaze=np.zeros_like(face.gaze),
    )
    return replace(donor, parameters=rest)


def apply_edit(
    shown: FaceParameters, edit: Edit, stage: Stage, rig: Rig, regions: Regions
) -> FaceParameters:
    """The face that an edit makes of the one that was to be shown.

    Args:
        shown: the portrait's face as the driver moves it, in the pixels of its crop.
        edit: what is wanted; with a plain one the answer is `shown`.
        stage: the portrait's own face and its place.
        rig: the head model.
        regions: those of the others the expression stays the portrait's.
    """
    if not edit.moves_face:
        return shown
    still = stage.face
    face = replace(shown, shape=_between(still.shape, edit.shape, edit.shape_strength))
    if edit.expression is not None:
        face = with_expression(face, edit.expression.parameters, rig)
        face = rig.keep_regions(face, still, regions)
    scale, translation = _framing(shown, edit, stage)
    return FaceParameters(
        shape=face.shape,
        expression=_stretched(face.expression, still.expression, edit.expression_strength),
        gaze=_gaze(face, edit),
        rotation=_rotation(face, edit),
        scale=scale,
        translation=translation,
    )


def with_expression(face: FaceParameters, donor: FaceParameters, rig: Rig) -> FaceParameters:
    """The face with a donor's expression, its mouth as far open, whatever the mouths' shapes."""
    face = replace(face, expression=donor.expression)
    return rig.open_mouth(face, rig.mouth_opening(donor) - rig.mouth_opening(face))


def _between(own: Vector, donor: Donor | None, share: float) -> Vector:
    return own if donor is None else _stretched(donor.parameters.shape, own, share)


def _stretched(wanted: Vector, own: Vector, strength: float) -> Vector:
    """So many times the way from one's own coefficients to those wanted."""
    return wanted if strength == 1 else np.asarray(own + np.float32(strength) * (wanted - own))


def _gaze(face: FaceParameters, edit: Edit) -> Vector:
    gaze = face.gaze if edit.gaze is None else edit.gaze.parameters.gaze
    x, y = np.sin(np.radians([edit.gaze_x, -edit.gaze_y])) * EYE_RADIUS
    return np.asarray(gaze + np.array([x, y, x, y]), np.float32)


def _rotation(shown: FaceParameters, edit: Edit) -> Vector:
    rotation = shown.rotation if edit.pose is None else edit.pose.parameters.rotation
    if edit.yaw == edit.pitch == edit.roll == 0:
        return rotation
    return axis_angle(turn(edit.yaw, edit.pitch, edit.roll) @ matrix(rotation))


def turn(yaw: float, pitch: float, roll: float) -> Float32[NDArray[np.float32], "3 3"]:
    """The rotation of a head: first up, then to the right, then clockwise [degrees].

    The picture's axes are right, down and away, so that a nose (towards the viewer) goes right by a
    negative angle about the axis that points down.
    """
    angles = np.radians([[-pitch, 0, 0], [0, -yaw, 0], [0, 0, roll]]).astype(np.float32)
    up, aside, tilt = (matrix(angle) for angle in angles)
    return np.asarray(tilt @ aside @ up, np.float32)


def _framing(shown: FaceParameters, edit: Edit, stage: Stage) -> tuple[float, Vector]:
    """The head's scale and place [px of the crop]."""
    scale, translation = shown.scale, shown.translation
    if edit.camera is not None:
        there = stage.overlay(edit.camera.parameters, edit.camera.height, edit.camera.width)
        scale, translation = there.scale, there.translation
    shift = np.array([edit.shift_x, -edit.shift_y], np.float32) * FACE_WIDTH * stage.face.scale
    return scale * edit.zoom, np.asarray(translation + shift, np.float32)
