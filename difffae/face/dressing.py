"""A portrait in another's hair or clothes: two people taken apart in, one scene out, once a swap.

The donor is moved onto the portrait's head as the renderer moves hair (`surroundings`): turned in
depth with the skull, met at the border of the face, upright below the chin. What the portrait's own
hair or clothes hid is filled with the portrait's own skin where the donor shows some, else from
what lies around. The networks are then shown the result as they are shown any portrait.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, MapF32, MaskF32, Points3
from difffae.face.crop import CropBox
from difffae.face.facemesh import CHIN, FACE_OVAL
from difffae.face.parameters import FaceParameters
from difffae.face.person_parts import Colour, Parts, Plane
from difffae.face.scene import Scene
from difffae.face.surroundings import SurroundingsConfig, follow_border, head_map

_GAIN_RANGE = (0.4, 2.0)  # of the portrait's skin over the donor's, each channel
_WINDOW = 0.12  # of the crop: where the turn in depth fades towards its border
# How far hair that is taken off reaches under its neighbours, above and below the chin: shares of
# the picture.
_UNDER_HAIR, _BESIDE_HAIR = 0.06, 0.03
_SHRINK = 4  # what hair hid is guessed anyway
_SURE = 0.9  # of a part's mask
_WIDENS_OVER = (0.5, 1.7)  # below the chin [head units]: not the neckline
_MOST_WIDENING = 1.7
_HEM = 0.04  # of the picture's height: what is repeated where a body ends at its edge
_LEAST_SEEN = 30  # pixels of skin, so shrunken, that colours can be spread from
_LEAST = 1e-3

Layer = tuple[NDArray[np.uint8], MaskF32]
Colours = Float32[NDArray[np.float32], "h w 3"]


@dataclass(frozen=True, kw_only=True)
class Person:
    """A portrait taken apart.

    Attributes:
        scene: person and background.
        parts: of the person.
        box: the crop of the picture that points and face are in.
        points: mesh points [px of the crop].
        face: as the head model has it, likewise.
        size: side of the crop [px].
    """

    scene: Scene
    parts: Parts
    box: CropBox
    points: Points3
    face: FaceParameters
    size: int


def dress(person: Person, *, hair: Person | None = None, clothes: Person | None = None) -> Scene:
    """The person in another's hair, another's clothes, or both; the face stays.

    Args:
        person: of the portrait.
        hair: whose hair is taken.
        clothes: whose clothes are taken.
    """
    parts, scene, own = person.parts, person.scene, person.scene.person
    head = np.clip(2 * parts.skin - 1, 0, 1) * parts.neck + parts.face
    if clothes is None:
        body = [_without_hair(person)] if hair is not None else [(own, scene.matte)]
    else:
        theirs = _moved(_uncovered(clothes), person, body=True)
        below = 1 - parts.head
        skin = _spread_skin(person, parts.skin * below, parts.neck_colour)
        worn = theirs.parts.clothes * below
        body = [(skin, theirs.parts.skin * below), (own, head), (theirs.scene.person, worn)]
    if hair is None:
        above = parts.hair + parts.face + parts.skin * parts.head
        top = [(own, above)] if clothes is not None else []
    else:
        top = _hair_layers(_moved(hair, person), person)
    return _laid(scene, [*body, *top])


def mix(scenes: list[tuple[Scene, float]]) -> Scene:
    """Scenes of one plate, faded into one another by weights that sum to 1."""
    matte = sum((weight * scene.matte for scene, weight in scenes), np.float32(0))
    shown = sum(
        (weight * scene.matte[..., None] * scene.person for scene, weight in scenes), np.float32(0)
    )
    return _scene_of(scenes[0][0], np.asarray(shown, np.float32), np.asarray(matte, np.float32))


def _hair_layers(theirs: Person, person: Person) -> list[Layer]:
    """Skin where hair was and the donor shows some, the own face, the donor's hair over all."""
    parts, own = person.parts, person.scene.person
    bared = _under(parts.hair, _UNDER_HAIR)
    head = np.clip(theirs.parts.skin + theirs.parts.face, 0, 1) * bared * parts.head
    skin = _spread_skin(person, (parts.skin + parts.face) * parts.head, parts.colour)
    hair = theirs.scene.person
    if theirs.parts.is_bald:
        hair = _recoloured(hair, theirs.parts.colour, parts.colour)
    return [
        (skin, np.asarray(head, np.float32)),
        (own, parts.skin * parts.head + parts.face),
        (hair, theirs.parts.hair),
    ]


def _spread_skin(person: Person, known: MaskF32, colour: Colour) -> NDArray[np.uint8]:
    """The person's own skin, from where it is seen to everywhere; plain where little is seen."""
    height, width = known.shape
    small = (max(width // _SHRINK, 1), max(height // _SHRINK, 1))
    seen = cv2.resize(known, small, interpolation=cv2.INTER_AREA) > _SURE
    colours = cv2.resize(person.scene.person, small, interpolation=cv2.INTER_AREA)
    if seen.sum() < _LEAST_SEEN:
        colours[:] = np.rint(colour)
    else:
        unknown = (~seen).astype(np.uint8)
        colours = np.asarray(cv2.inpaint(colours, unknown, 3, cv2.INPAINT_TELEA), np.uint8)
    return np.asarray(cv2.resize(colours, (width, height)), np.uint8)


def _under(hair: MaskF32, reach: float) -> MaskF32:
    """Where hair is, and softly around it; the reach is a share of the picture."""
    height, width = hair.shape
    small = (max(width // _SHRINK, 1), max(height // _SHRINK, 1))
    side = _odd(reach * max(small))
    shrunken = cv2.resize(hair, small, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(cv2.dilate(shrunken, np.ones((side, side))), (0, 0), side / 4)
    return np.asarray(cv2.resize(wide, (width, height)), np.float32)


def _without_hair(person: Person) -> Layer:
    """The person where there is no hair; under hair that hangs over clothes, clothes go on."""
    parts, scene = person.parts, person.scene
    height, width = scene.matte.shape
    rest = np.clip(scene.matte - parts.hair, 0, 1)
    small = (max(width // _SHRINK, 1), max(height // _SHRINK, 1))
    below = cv2.resize(rest * (1 - parts.head), small, interpolation=cv2.INTER_AREA)
    colours = cv2.resize(scene.person, small, interpolation=cv2.INTER_AREA)
    unknown = cv2.erode((below > _SURE).astype(np.uint8), np.ones((5, 5))) == 0
    painted = cv2.inpaint(colours, unknown.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    weight = _under(parts.hair, _BESIDE_HAIR)
    covered = rest + parts.torso * parts.hair
    enlarged = cv2.resize(painted, (width, height))
    mixed = cv2.blendLinear(enlarged, scene.person, weight, 1 - weight)
    return np.asarray(mixed, np.uint8), np.asarray(covered, np.float32)


def _uncovered(donor: Person) -> Person:
    """The donor with clothes where hair hangs over them."""
    colours, covered = _without_hair(donor)
    parts = donor.parts
    clothes = np.clip(covered - parts.skin - parts.face, 0, 1).astype(np.float32)
    return replace(
        donor,
        scene=replace(donor.scene, person=colours),
        parts=replace(parts, clothes=clothes, hair=np.zeros_like(parts.hair)),
    )


def _moved(donor: Person, person: Person, *, body: bool = False) -> Person:
    """The donor as they would stand in the person's picture.

    Args:
        donor: whom to move.
        person: who stands there.
        body: whether it is for what is below the chin, which then reaches the picture's edges.
    """
    positions = _positions(donor, person, _widening(donor, person) if body else 1.0)
    if body:
        positions[..., 1] = _above_edge(positions[..., 1], donor.scene.matte.shape[0])
    no_map = np.empty(0, np.float32)

    def read(values: NDArray[np.float32], border: int) -> MaskF32:
        return np.asarray(
            cv2.remap(values, positions, no_map, cv2.INTER_LINEAR, borderMode=border), np.float32
        )

    parts = donor.parts
    colours = cv2.remap(
        donor.scene.person, positions, no_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return replace(
        donor,
        scene=replace(donor.scene, person=np.asarray(colours, np.uint8)),
        parts=replace(
            parts,
            face=read(parts.face, cv2.BORDER_CONSTANT),
            hair=read(parts.hair, cv2.BORDER_CONSTANT),
            skin=read(parts.skin, cv2.BORDER_REPLICATE),
            clothes=read(parts.clothes, cv2.BORDER_REPLICATE),
        ),
    )


def _positions(donor: Person, person: Person, widening: float) -> MapF32:
    """Where in the donor's picture each pixel of the person's comes from.

    Args:
        donor: whose picture.
        person: whose place.
        widening: of the donor's body below the chin.
    """
    height, width = person.scene.matte.shape
    rows, columns = np.indices((height, width), np.float32)
    box, scale = person.box, np.float32(person.size / person.box.size)
    at = np.stack([columns + 0.5 - box.left, rows + 0.5 - box.top], -1) * scale
    side = round(box.size)
    top, left = round(box.top), round(box.left)
    turn = cv2.resize(_turn(donor, person), (side, side), interpolation=cv2.INTER_LINEAR)
    at[top : top + side, left : left + side] += turn
    chin = person.points[CHIN, :2]
    start, end = _WIDENS_OVER
    share = np.clip(((at[..., 1] - chin[1]) / person.face.scale - start) / (end - start), 0, 1)
    shrink = 1 + (1 / np.float32(widening) - 1) * share[..., None]
    at = chin + (at - chin) * shrink
    growth = np.float32(donor.face.scale / person.face.scale)
    theirs = growth * (at - person.face.translation) + donor.face.translation
    corner = np.array([donor.box.left, donor.box.top], np.float32) - np.float32(0.5)
    return np.asarray(theirs * np.float32(donor.box.size / donor.size) + corner, np.float32)


def _widening(donor: Person, person: Person) -> float:
    """How much the donor's body has to grow to reach the edges of the person's picture.

    Below always; at the sides where the donor's own picture cuts them off.
    """
    reach = []
    for one in (donor, person):
        height, width = one.scene.matte.shape
        unit = one.box.size / one.size
        chin = one.points[CHIN, :2] * unit + [one.box.left, one.box.top]
        reach.append(
            np.array([height - chin[1], chin[0], width - chin[0]]) / (unit * one.face.scale)
        )
    worn = donor.parts.clothes
    is_cut = np.array([True, *((worn[:, side] > 0.5).any() for side in (0, -1))])
    needed = np.where(is_cut, reach[1] / np.maximum(reach[0], _LEAST), 1)
    return float(np.clip(needed.max(), 1, _MOST_WIDENING))


def _above_edge(rows: Plane, height: int) -> Plane:
    """Rows of a picture; below its lower edge, there and back over the last of it again."""
    band = _HEM * height
    past = np.maximum(rows - (height - 1), 0)
    turned = np.abs((past + band) % (2 * band) - band)  # 0, up to the band, back to 0
    return np.asarray(np.where(past > 0, height - 1 - turned, rows), np.float32)


def _turn(donor: Person, person: Person) -> MapF32:
    """How far from where size and place alone put them the donor's pixels are, in the crop [px]."""
    size, face = person.size, person.face
    growth = face.scale / donor.face.scale
    standing = replace(donor.face, scale=face.scale, translation=face.translation)
    border = list(FACE_OVAL)
    theirs = growth * (donor.points[border, :2] - donor.face.translation) + face.translation
    config = SurroundingsConfig()
    turned = head_map(standing, face, config, size)
    met = follow_border(
        turned,
        theirs.astype(np.float32),
        person.points[border, :2],
        config.border * face.scale,
    )
    rows, columns = np.indices((size, size), np.float32)
    ramp = np.clip((np.arange(size, dtype=np.float32) + 0.5) / (_WINDOW * size), 0, 1)
    window = np.minimum(ramp, ramp[::-1])
    return np.asarray(
        (met - np.stack([columns, rows], -1)) * np.outer(window, window)[..., None], np.float32
    )


def _recoloured(picture: ImageU8, theirs: Colour, own: Colour) -> NDArray[np.uint8]:
    """A picture in which what has the one colour gets the other."""
    gain = np.clip(own / np.maximum(theirs, 1), *_GAIN_RANGE)
    return np.asarray(np.clip(np.rint(picture * gain), 0, 255), np.uint8)


def _laid(scene: Scene, layers: list[Layer]) -> Scene:
    """Layers over one another before the scene's plate, the first at the back."""
    shown = np.zeros((*scene.matte.shape, 3), np.float32)
    matte = np.zeros(scene.matte.shape, np.float32)
    for colours, alpha in layers:
        alpha = np.clip(alpha, 0, 1)
        shown = alpha[..., None] * colours + (1 - alpha[..., None]) * shown
        matte = alpha + (1 - alpha) * matte
    return _scene_of(scene, shown.astype(np.float32), matte.astype(np.float32))


def _scene_of(scene: Scene, shown: Colours, matte: MaskF32) -> Scene:
    """The scene with another person, whose colours are given times their matte."""
    picture = shown + (1 - matte[..., None]) * scene.plate
    has_person = matte[..., None] > _LEAST
    person = np.where(has_person, shown / np.maximum(matte[..., None], _LEAST), scene.person)
    return replace(
        scene,
        picture=np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8),
        person=np.asarray(np.clip(np.rint(person), 0, 255), np.uint8),
        matte=matte,
    )


def _odd(value: float) -> int:
    return 2 * max(round(value / 2), 1) + 1
