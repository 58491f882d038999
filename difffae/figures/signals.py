"""What a face does, in numbers that a person would name: how far open, closed, aside, turned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from difffae.arrays import Points3
from difffae.face.edit import EYE_RADIUS, FACE_WIDTH
from difffae.metrics.motion import NUM_MESH_POINTS, HeadReference
from difffae.metrics.scores import NAN

IRISES = (468, 473)  # of the eyes at the picture's left and right
EYE_CORNERS = ((33, 133), (362, 263))


@dataclass(frozen=True, kw_only=True)
class Signs:
    """What one face does.

    Attributes:
        mouth: opening of the mouth [RMS radii of the head's rigid points].
        smile: width of the mouth, likewise.
        lids: mean opening of the eyes, likewise.
        gaze: how far the irises are to the right of the picture [eye widths].
        yaw: turn of the head to the right of the picture since the reference [degrees].
    """

    mouth: float
    smile: float
    lids: float
    gaze: float
    yaw: float


@dataclass(frozen=True, kw_only=True)
class Topic:
    """Something a face can do, by which moments are found and outputs judged.

    Attributes:
        sign: the field of `Signs`.
        direction: 1 for the largest, -1 for the smallest, 0 for the farthest either way.
        least: a smaller change is none.
    """

    sign: str
    direction: int
    least: float


TOPICS: Mapping[str, Topic] = MappingProxyType(
    {
        "mouth opens": Topic(sign="mouth", direction=1, least=0.06),
        "smiles": Topic(sign="smile", direction=1, least=0.06),
        "eyes close": Topic(sign="lids", direction=-1, least=0.04),
        "looks aside": Topic(sign="gaze", direction=0, least=0.05),
        "turns": Topic(sign="yaw", direction=0, least=5.0),
    }
)


def read_signs(points: Points3, reference: HeadReference) -> Signs:
    """What the face at these mesh points does, turned back to the reference's pose."""
    mouth, smile, right, left, yaw, _, _ = reference.measure(points).signals
    return Signs(
        mouth=float(mouth),
        smile=float(smile),
        lids=float(right + left) / 2,
        gaze=_gaze(points),
        yaw=-float(yaw),  # positive about the axis that points down turns a nose to the left
    )


def _gaze(points: Points3) -> float:
    aside = []
    for iris, corners in zip(IRISES, EYE_CORNERS, strict=True):
        ends = points[list(corners), :2]
        along = ends[1] - ends[0]
        along = along if along[0] > 0 else -along
        offset = points[iris, :2] - ends.mean(0)
        aside.append(float(offset @ along / (along @ along)))
    return float(np.mean(aside))


def extreme(topic: Topic, signs: Sequence[Signs | None], reference: Signs) -> int | None:
    """The moment at which a face does something most, compared with its reference.

    Args:
        topic: what.
        signs: of each frame; None where there is no face.
        reference: of the frame that motion is measured from.

    Returns:
        The frame's index; None where the face never does it to speak of.
    """
    best: tuple[float, int] | None = None
    for index, each in enumerate(signs):
        if each is None:
            continue
        change = getattr(each, topic.sign) - getattr(reference, topic.sign)
        strength = abs(change) if topic.direction == 0 else topic.direction * change
        if strength >= topic.least and (best is None or strength > best[0]):
            best = strength, index
    return None if best is None else best[1]


def followed(topic: Topic, output: tuple[Signs, Signs], driver: tuple[Signs, Signs]) -> float:
    """Share of a driver's doing that an output does; NaN where the driver does too little.

    Eyes are compared by the share of their own opening that closes: portraits have eyes of any
    size, and a blink is to close them all.

    Args:
        topic: what is judged.
        output: of the portrait and of the output.
        driver: of the reference and of the frame.
    """
    start, end = (getattr(signs, topic.sign) for signs in driver)
    if abs(end - start) < topic.least:
        return NAN
    mine, after = (getattr(signs, topic.sign) for signs in output)
    if topic.sign == "lids":
        shown, wanted = 1 - after / max(mine, topic.least), 1 - end / max(start, topic.least)
        return float(shown / wanted)
    return float((after - mine) / (end - start))


def turned(output: tuple[Signs, Signs], degrees: float) -> float:
    """Share of a turn of the head to the right that an output shows."""
    return (output[1].yaw - output[0].yaw) / degrees


def looked(output: tuple[Signs, Signs], points: Points3, degrees: float) -> float:
    """Share of a turn of the eyes to the right that an output shows.

    Args:
        output: of the portrait and of the output.
        points: mesh points of the portrait, which give the size of an eyeball.
        degrees: the turn.
    """
    face = float(np.ptp(points[:NUM_MESH_POINTS, 0]))
    ends = [points[list(corners), :2] for corners in EYE_CORNERS]
    eye = float(np.mean([np.linalg.norm(end[1] - end[0]) for end in ends]))
    asked = np.sin(np.radians(degrees)) * EYE_RADIUS / FACE_WIDTH * face / eye
    return float((output[1].gaze - output[0].gaze) / asked)
