"""A person taken apart by what is worn: a picture, matte and face in; hair, skin, clothes out.

No network tells hair from skin here. GrabCut (Rother et al. 2004) does, started from what the mesh
knows: what rises above the face is hair or a hat, the face is skin, and what reaches the lower edge
of the picture is clothes. Hair that falls below the chin is found by its colours.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32
from numpy.typing import NDArray

from difffae.arrays import BoolMask, ImageU8, MaskF32, MaskU8, Points3
from difffae.face.facemesh import FACE_OVAL
from difffae.face.identity import five_points

_WORKING_PX = 320  # longer side at which parts are told apart
_ROUNDS = 3  # of GrabCut
_LEAST_SEED = 24  # pixels of a seed that colours can be learned from
_SURE = 0.9  # of the person's mask
# All in distances from the eyes to the chin:
_CROWN = (0.35, 0.25, 0.15)  # so far off the mesh hair begins: between them may be a forehead
_RIM = 0.1  # so far off the mesh, skin ends for certain
_THROAT = 0.28  # half the width of what is no hair below the chin
_NECK = (0.7, 1.1)  # half the width of a neck, and how far below the chin it is one
_CHEEKS = (0.12, 0.5)  # below the eyes
_DARKEST_NECK = np.float32(0.75)  # of the cheeks' colour
_FADE = 0.25  # of the neck's borders
_MOST_FALLEN = 0.7  # of what is below the chin: if all of it looks like hair, it is dark clothes
_GUIDE = (0.008, 1e-4)  # of the guided filter: share of the longer side, variance
_LEAST_SHARE = 1e-2
_SCALP = 18.0  # distance of a crown's colour from the face's, under which it is a bald one [Lab]

Plane = Float32[NDArray[np.float32], "h w"]
Colour = Float32[NDArray[np.float32], " 3"]
SmallMask = Bool[NDArray[np.bool_], "small_h small_w"]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """How much of each pixel is which part of the person; their sum is the matte.

    Attributes:
        face: within the mesh.
        hair: with what is worn on the head.
        skin: ears, forehead, neck, and all other skin.
        clothes: the rest.
        head: 1 above the chin, 0 below it.
        neck: 1 where skin belongs to the head and its neck, 0 further down.
        torso: 1 where clothes are, under hair too.
        colour: of the cheeks, the median.
        neck_colour: of the skin below the chin; of the cheeks where there is none.
        is_bald: whether what counts as hair is of that colour too.
    """

    face: MaskF32
    hair: MaskF32
    skin: MaskF32
    clothes: MaskF32
    head: MaskF32
    neck: MaskF32
    torso: MaskF32
    colour: Colour
    neck_colour: Colour
    is_bald: bool


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where each pixel is, as the face stands: all in distances from the eyes to the chin.

    Attributes:
        below: the eyes.
        under: the chin.
        aside: of the middle of the face.
        unit: the distance itself [px].
        oval: of the mesh.
    """

    below: Plane
    under: Plane
    aside: Plane
    unit: float
    oval: MaskU8


def take_parts(picture: ImageU8, matte: MaskF32, points: Points3) -> Parts:
    """Take a person apart.

    Args:
        picture: any size.
        matte: how much of each pixel is the person.
        points: mesh points [px of the picture].
    """
    height, width = matte.shape
    shrink = min(1.0, _WORKING_PX / max(height, width))
    size = (max(round(width * shrink), 1), max(round(height * shrink), 1))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    person = np.asarray(cv2.resize(matte, size, interpolation=cv2.INTER_AREA), np.float32)
    place = _place(points * np.float32(shrink), size)
    hair = _hair(small, person, place)
    skin = _skin(small, person, place, hair)
    worn = (person > 0.5) & ~hair & ~skin & (place.oval == 0) & (place.under > 0)
    whole = _place(points, (width, height))
    oval = cv2.GaussianBlur(whole.oval.astype(np.float32), (0, 0), max(1.0, 0.015 * whole.unit))
    face = np.asarray(oval * matte, np.float32)
    shared = _shared(picture, matte - face, hair, skin, worn)
    cheeks = (whole.below > _CHEEKS[0]) & (whole.below < _CHEEKS[1])
    colour = _median_colour(picture, cheeks & (_eroded(whole.oval, 0.1 * whole.unit) > 0))
    throat = (shared["skin"] > _SURE) & (whole.under > 0.05) & (whole.aside < _NECK[0])
    return Parts(
        face=face,
        **shared,
        head=_above_chin(whole),
        neck=_neck(whole),
        torso=_torso(worn, (width, height)),
        colour=colour,
        neck_colour=_neck_colour(picture, throat, colour),
        is_bald=_is_bald(picture, shared["hair"], colour),
    )


def _neck_colour(picture: ImageU8, throat: BoolMask, cheeks: Colour) -> Colour:
    """Of a throat, which a beard may darken; the cheeks' where none is seen."""
    if throat.sum() < _LEAST_SEED:
        return cheeks
    return np.maximum(_median_colour(picture, throat), _DARKEST_NECK * cheeks)


def _is_bald(picture: ImageU8, hair: MaskF32, skin: Colour) -> bool:
    """Whether what rises above the face is of the face's own colour."""
    crown = hair > _SURE
    if crown.sum() < _LEAST_SEED:
        return True
    pair = np.stack([_median_colour(picture, crown), skin])[None]
    one, other = cv2.cvtColor((pair / 255).astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    return float(np.linalg.norm(one - other)) < _SCALP


def _place(points: Points3, size: tuple[int, int]) -> _Place:
    five = five_points(points)
    eyes, mouth = five[:2].mean(0), five[3:].mean(0)
    down = (mouth - eyes) / max(float(np.linalg.norm(mouth - eyes)), 1e-6)
    rows, columns = np.indices(size[::-1], np.float32)
    depth = columns * down[0] + rows * down[1]
    across = columns * down[1] - rows * down[0]
    border = points[list(FACE_OVAL), :2]
    chin, eye_line = float((border @ down).max()), float(eyes @ down)
    unit = max(chin - eye_line, 1.0)
    middle = float(five.mean(0) @ np.array([down[1], -down[0]]))
    oval = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(oval, [np.rint(border).astype(np.int32)], (1,))
    return _Place(
        below=np.asarray((depth - eye_line) / unit, np.float32),
        under=np.asarray((depth - chin) / unit, np.float32),
        aside=np.asarray(np.abs(across - middle) / unit, np.float32),
        unit=unit,
        oval=oval,
    )


def _hair(image: ImageU8, person: MaskF32, place: _Place) -> BoolMask:
    is_head = (place.under < 0) & ~_near(place.oval, _RIM * place.unit)
    crown = _crown(person, place)
    if crown.sum() < _LEAST_SEED:
        return is_head & (place.below < 0) & (person > 0.5)
    seeds = np.full(person.shape, cv2.GC_PR_BGD, np.uint8)
    seeds[is_head] = cv2.GC_PR_FGD
    seeds[crown] = cv2.GC_FGD
    seeds[(place.under > 0) & (place.aside < _THROAT)] = cv2.GC_BGD
    seeds[(person < 0.5) | (_eroded(place.oval, 0.05 * place.unit) > 0)] = cv2.GC_BGD
    hair = _held(_cut(image, seeds), crown)
    fallen, below = hair & (place.under > 0), (person > 0.5) & (place.under > 0)
    return hair & (place.under <= 0) if fallen.sum() > _MOST_FALLEN * below.sum() else hair


def _crown(person: MaskF32, place: _Place) -> BoolMask:
    """What is hair for certain: as far off the mesh as there is enough of it."""
    crown = np.zeros(person.shape, bool)
    for reach in _CROWN:
        crown = (place.below < 0) & ~_near(place.oval, reach * place.unit) & (person > _SURE)
        if crown.sum() >= _LEAST_SEED:
            break
    return crown


def _skin(image: ImageU8, person: MaskF32, place: _Place, hair: BoolMask) -> BoolMask:
    """All skin outside the mesh: above the chin what is no hair, below it by its colours."""
    rest = (person > 0.5) & ~hair
    near = _near(place.oval, 0.3 * place.unit)
    above = _held(_opened(rest & (place.under <= 0), 5), near)
    rows = np.indices(person.shape)[0]
    lowest = int(rows[rest].max()) if rest.any() else 0
    hem = rest & (rows > lowest - 0.12 * place.unit) & (place.under > 0.2)
    if hem.sum() < _LEAST_SEED:
        return above | (rest & (place.under < _NECK[1]) & (place.aside < _NECK[0]))
    seeds = np.full(person.shape, cv2.GC_PR_BGD, np.uint8)
    seeds[rest & (place.under < 0.4) & (place.aside < _NECK[0])] = cv2.GC_PR_FGD
    seeds[~rest | hem] = cv2.GC_BGD
    face = _eroded(place.oval, 0.1 * place.unit) > 0
    seeds[face] = cv2.GC_FGD
    return above | (rest & (place.under > 0) & _held(_cut(image, seeds), near))


def _cut(image: ImageU8, seeds: MaskU8) -> BoolMask:
    seeds = seeds.copy()
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(image, seeds, (0, 0, 0, 0), *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
    return _opened(found, 3)


def _opened(mask: BoolMask, side: int) -> BoolMask:
    """Without what is narrower than this [px]."""
    kernel = np.ones((side, side), np.uint8)
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0)


def _held(mask: BoolMask, start: BoolMask) -> BoolMask:
    """What of a mask hangs together with the start."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8))
    kept = np.unique(labels[start & mask])
    return np.asarray(np.isin(labels, kept[kept > 0]))


def _shared(
    picture: ImageU8, matte: MaskF32, hair: SmallMask, skin: SmallMask, clothes: SmallMask
) -> dict[str, MaskF32]:
    """What is left of the matte, shared out at the picture's own size, along its own edges.

    A pixel that no part has, such as those of the matte's soft border, is the nearest part's.
    """
    height, width = matte.shape
    guide = picture.astype(np.float32) / 255
    radius = max(2, round(_GUIDE[0] * max(height, width)))
    masks = {"hair": hair, "skin": skin, "clothes": clothes}
    away = [
        cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3) for mask in masks.values()
    ]
    nearest = np.argmin(away, axis=0)
    shares = []
    for number in range(len(masks)):
        plane = (nearest == number).astype(np.float32)
        soft = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        followed = cv2.ximgproc.guidedFilter(guide, soft, radius, _GUIDE[1])
        shares.append(np.clip(followed, _LEAST_SHARE, 1) ** 2)
    total = np.sum(shares, axis=0)
    return {
        name: np.asarray(matte * share / total, np.float32)
        for name, share in zip(masks, shares, strict=True)
    }


def _neck(place: _Place) -> MaskF32:
    half, length = _NECK
    narrow = np.clip((half - place.aside) / _FADE + 0.5, 0, 1)
    short = np.clip((length - place.under) / _FADE + 0.5, 0, 1)
    return np.asarray(np.maximum(narrow * short, _above_chin(place)), np.float32)


def _above_chin(place: _Place) -> MaskF32:
    return np.asarray(np.clip(-place.under / _FADE + 0.5, 0, 1), np.float32)


def _torso(worn: SmallMask, size: tuple[int, int]) -> MaskF32:
    """The convex hull of the clothes: under hair that hangs over them there are clothes too."""
    hull = np.zeros(worn.shape, np.float32)
    seen = np.argwhere(_opened(worn, 3))[:, ::-1].astype(np.int32)
    if len(seen) >= _LEAST_SEED:
        cv2.fillConvexPoly(hull, np.asarray(cv2.convexHull(seen)), (1.0,))
    return np.asarray(cv2.resize(hull, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _near(mask: MaskU8, distance: float) -> BoolMask:
    return np.asarray(cv2.dilate(mask, _disc(distance)) > 0)


def _eroded(mask: MaskU8, distance: float) -> MaskU8:
    return np.asarray(cv2.erode(mask, _disc(distance)), np.uint8)


def _disc(radius: float) -> MaskU8:
    side = 2 * max(round(radius), 1) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _median_colour(picture: ImageU8, where: BoolMask) -> Colour:
    colours = picture[where] if where.any() else picture.reshape(-1, 3)
    return np.asarray(np.median(colours, axis=0), np.float32)
