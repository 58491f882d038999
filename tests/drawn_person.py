"""A drawn person whose parts are known: a face mesh, and what lies around it in plain colours."""

from dataclasses import dataclass

import cv2
import numpy as np

from difffae.arrays import ImageU8, MaskF32, Points3
from difffae.face.crop import CropBox
from difffae.face.dressing import Person
from difffae.face.facemesh import FACE_OVAL, FaceMeshModel
from difffae.face.person_parts import take_parts
from difffae.face.scene import Scene

SIDE = 256
GREY, SKIN, SHIRT = (128, 130, 132), (205, 150, 120), (40, 60, 170)
BROWN, BLACK = (90, 50, 25), (12, 12, 16)


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How a person looks.

    Attributes:
        hair, skin, shirt: their colours.
        is_long: whether hair falls over the shoulders.
        centre, scale: of the face [px].
    """

    hair: tuple[int, int, int] = BROWN
    skin: tuple[int, int, int] = SKIN
    shirt: tuple[int, int, int] = SHIRT
    is_long: bool = False
    centre: tuple[float, float] = (128, 116)
    scale: float = 34.0


def face_points(model: FaceMeshModel, drawing: Drawing) -> Points3:
    """The mean face where the drawing has it."""
    irises = np.repeat(model.mean[[33, 263]], 5, axis=0)
    middle = np.array([*drawing.centre, 0], np.float32)
    return (np.concatenate([model.mean, irises]) * drawing.scale + middle).astype(np.float32)


def draw_person(model: FaceMeshModel, drawing: Drawing) -> tuple[ImageU8, MaskF32, Points3]:
    """The picture, the person's mask, and mesh points."""
    points = face_points(model, drawing)
    (x, y), unit = drawing.centre, drawing.scale
    image = np.full((SIDE, SIDE, 3), GREY, np.uint8)
    person = np.zeros((SIDE, SIDE), np.uint8)

    def ellipse(
        at: tuple[float, float], axes: tuple[float, float], colour: tuple[int, ...]
    ) -> None:
        place = tuple(round(v) for v in at), tuple(round(v * unit) for v in axes)
        cv2.ellipse(image, *place, 0, 0, 360, colour, cv2.FILLED)
        cv2.ellipse(person, *place, 0, 0, 360, (1,), cv2.FILLED)

    ellipse((x, y - 0.55 * unit), (1.7, 1.8), drawing.hair)
    ellipse((x, y + 4.4 * unit), (3.2, 2.2), drawing.shirt)
    rest = (round(x - 3.2 * unit), round(y + 4.4 * unit)), (round(x + 3.2 * unit), SIDE)
    cv2.rectangle(image, *rest, drawing.shirt, cv2.FILLED)
    cv2.rectangle(person, *rest, (1,), cv2.FILLED)
    if drawing.is_long:
        for side in (-1, 1):
            ellipse((x + side * 1.35 * unit, y + 1.3 * unit), (0.55, 2.6), drawing.hair)
    ellipse((x, y + 1.8 * unit), (0.55, 0.9), drawing.skin)
    oval = [np.rint(points[list(FACE_OVAL), :2]).astype(np.int32)]
    cv2.fillPoly(image, oval, drawing.skin)
    cv2.fillPoly(person, oval, (1,))
    noise = np.random.default_rng(0).normal(0, 2, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), person.astype(np.float32), points


def drawn_person(model: FaceMeshModel, drawing: Drawing) -> Person:
    """The drawing taken apart, its crop being all of it."""
    image, matte, points = draw_person(model, drawing)
    scene = Scene(
        picture=image,
        person=image,
        matte=matte,
        plate=np.full_like(image, GREY, shape=image.shape),
    )
    return Person(
        scene=scene,
        parts=take_parts(image, matte, points),
        box=CropBox(left=0, top=0, size=SIDE),
        points=points,
        face=model.fit(points).parameters,
        size=SIDE,
    )
