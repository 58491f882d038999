"""Folds and bulges of skin that moving a portrait does not show, read off the driver.

What a frown's folds do to light is seen on the driver's own skin: the luma of a frame over that of
the reference frame, point of the mesh by point, is about the same on whoever makes that face (Liu,
Shan and Zhang 2001, "Expressive expression mapping with ratio images"). Here it is taken between
two sizes: what is finer is pores and a camera's noise, what is coarser the light of the room.
"""

import math
from dataclasses import dataclass

import cv2
import numba
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, MaskF32, Normals, Points2, Points3, ShadingF32, Triangles
from difffae.face.eyelids import BELOW, CREASES, SOCKETS
from difffae.face.facemesh import (
    CHEEKS,
    CHIN,
    EYE_RINGS,
    FACE_OVAL,
    FOREHEAD,
    LOWER_LIP,
    NUM_MESH_POINTS,
    UPPER_LIP,
)
from difffae.face.rasterizer import Fragments
from difffae.face.regions import Regions

_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
_BROWS = ((46, 53, 52, 65), (295, 282, 283, 276))  # lower edges, but for where frowns fold
_MOST_SCALE = 45.0  # pixels per head unit that a frame is looked at with
_MARGIN_PX = 4
_FINEST, _COARSEST = 0.02, 0.25  # spreads of the two sizes [head units]
_COARSE_STEP = 4  # the coarser one is found in so much smaller a picture
_LEAST_LUMA = 8.0  # added to luma, so that ratios of what is dark are not noise [of 255]
_STILL = 0.03  # of a ratio's logarithm: what a camera's noise makes of skin that stays
_CONTRAST = 0.25  # of the reference, as far as its brows and freckles are off what lies over them
_STRANGE = 0.5  # a ratio's logarithm that no fold has: hands, hair, lamps
_DARKEST, _BRIGHTEST = -0.5, 0.2
_FACING = (0.3, 0.6)  # cosine to the viewer: skin seen too slantwise .. seen well
_TURNED = (5.0, 18.0)  # degrees since the reference: skin shows its folds .. the room's light
_MOST_STRENGTH = 1.5
_ALIKE = (0.3, 0.8)  # mean change of expression coefficients: the same face .. another expression

Axes = Float32[NDArray[np.float32], "2 3"]
PointWeights = Float32[NDArray[np.float32], " points"]


@dataclass(frozen=True, kw_only=True)
class SkinDetail:
    """The skin of one face in one frame.

    Attributes:
        levels: logarithm of luma, of what is between the two sizes; 0 where there is no skin.
        places: of the mesh's points in it [px].
        facing: how well each of them is seen.
        axes: of the head, across and ahead.
    """

    levels: MaskF32
    places: Points2
    facing: PointWeights
    axes: Axes


@dataclass(frozen=True, kw_only=True)
class SkinChange:
    """How a driver's skin has changed since the reference frame.

    Attributes:
        now, before: the skin in both.
        amount: how much of the change is to be shown.
        regions: of the face, those that move.
    """

    now: SkinDetail
    before: SkinDetail
    amount: float = 1.0
    regions: Regions = Regions()


@dataclass(frozen=True, kw_only=True)
class Folds:
    """A change, ready to be shown.

    Attributes:
        values: at the mesh's points: where they are in both levels (x, y, x, y) [px], and how much
            of the change is shown there.
        now, before: see `SkinDetail.levels`.
    """

    values: Float32[NDArray[np.float32], "points 5"]
    now: MaskF32
    before: MaskF32


@dataclass(frozen=True, kw_only=True)
class SkinMemory:
    """What a stream remembers of its driver's skin: in the last frame, and the reference one."""

    now: SkinDetail | None = None
    before: SkinDetail | None = None

    def change(self, amount: float, regions: Regions) -> SkinChange | None:
        """The change by so much, less of a head that has turned; None where there is none.

        In a room's light a turning head shades itself otherwise, which folds have no part in.
        """
        if self.now is None or self.before is None or self.now is self.before:
            return None
        least = float((self.now.axes * self.before.axes).sum(1).min())  # cosine of the turn
        turn = math.degrees(math.acos(min(max(least, -1.0), 1.0)))
        amount = min(amount, _MOST_STRENGTH) * float(np.interp(turn, _TURNED, (1, 0)))
        if amount <= 0:
            return None
        return SkinChange(now=self.now, before=self.before, amount=amount, regions=regions)


def skin_detail(image: ImageU8, points: Points3, normals: Normals) -> SkinDetail:
    """The skin of a face.

    Args:
        image: that shows it.
        points: of its mesh [px].
        normals: at them, towards the viewer where z is negative.
    """
    mesh = points[:NUM_MESH_POINTS]
    scale = float(np.sqrt(((mesh - mesh.mean(0)) ** 2).sum(-1).mean()))
    shrink = min(_MOST_SCALE / max(scale, 1e-3), 1.0)
    height, width = image.shape[:2]
    low, high = mesh[:, :2].min(0) - _MARGIN_PX, mesh[:, :2].max(0) + _MARGIN_PX
    left, top = np.clip(np.floor(low), 0, [width - 1, height - 1]).astype(int)
    right, bottom = np.clip(np.ceil(high), [left + 1, top + 1], [width, height]).astype(int)
    part = cv2.cvtColor(np.ascontiguousarray(image[top:bottom, left:right]), cv2.COLOR_RGB2GRAY)
    size = np.maximum(np.rint(np.array(part.shape[::-1]) * shrink), 1).astype(int)
    small = cv2.resize(part, size.tolist(), interpolation=cv2.INTER_AREA)
    grow = size / part.shape[::-1]
    places = ((mesh[:, :2] - [left, top]) * grow).astype(np.float32)
    levels = np.log(small.astype(np.float32) + np.float32(_LEAST_LUMA))
    seen = np.interp(-normals[:NUM_MESH_POINTS, 2], _FACING, (0, 1))
    return SkinDetail(
        levels=_between_sizes(levels, _skin(places, levels.shape), scale * shrink),
        places=places,
        facing=seen.astype(np.float32),
        axes=_axes(mesh),
    )


def alike(expression: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """1 of two expressions [standard deviations] that are the same, 0 of others."""
    change = float(np.abs(expression - other).mean())
    return float(np.interp(change, _ALIKE, (1, 0)))


def folds(change: SkinChange, moving: PointWeights) -> Folds:
    """What is to be shown of a change.

    Args:
        change: of the driver's skin.
        moving: how much each of the mesh's points moves.
    """
    now, before = change.now, change.before
    shares = _FOLDING * moving * now.facing * before.facing * np.float32(change.amount)
    values = np.concatenate([now.places - 0.5, before.places - 0.5, shares[:, None]], 1)
    return Folds(values=values.astype(np.float32), now=now.levels, before=before.levels)


def add_folds(
    relight: ShadingF32, shown: Folds, fragments: Fragments, triangles: Triangles
) -> None:
    """Multiply what a face is lit by with what folds do to light.

    Args:
        relight: changed in place.
        shown: the folds.
        fragments: of the face that is shown.
        triangles: of its skin, the first of those that the fragments are of.
    """
    covers, levels = (fragments.pix_to_face, fragments.barycentric), (shown.now, shown.before)
    _multiply(relight, covers, triangles, shown.values, levels)


def _skin_weights() -> PointWeights:
    """1 at the mesh's points that are skin and fold; lids, brows and lips have their own edges."""
    weights = np.ones(NUM_MESH_POINTS, np.float32)
    for rows in (EYE_RINGS, CREASES, SOCKETS, _BROWS, BELOW):
        weights[[point for row in rows for point in row]] = 0
    weights[[*FACE_OVAL, *_LIPS, *UPPER_LIP, *LOWER_LIP]] = 0
    return weights


_FOLDING = _skin_weights()


def _axes(mesh: Points3) -> Axes:
    across, down = mesh[CHEEKS[1]] - mesh[CHEEKS[0]], mesh[CHIN] - mesh[FOREHEAD]
    axes = np.stack([across, np.cross(across, down)])
    return np.asarray(axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), 1e-6))


def _skin(places: Points2, shape: tuple[int, ...]) -> MaskF32:
    """1 on the face, 0 on its eyes and mouth and beside it."""
    mask = np.zeros(shape, np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(places[list(FACE_OVAL)].astype(np.int32)), (1.0,))
    for ring in (*EYE_RINGS, _LIPS):
        cv2.fillConvexPoly(mask, cv2.convexHull(places[list(ring)].astype(np.int32)), (0.0,))
    return mask


def _between_sizes(levels: MaskF32, skin: MaskF32, scale: float) -> MaskF32:
    """What is coarser than the finest size and finer than the coarsest one, of skin alone."""
    known = cv2.merge([levels * skin, skin])
    fine = cv2.GaussianBlur(known, (0, 0), max(_FINEST * scale, 0.3))
    rows, columns = levels.shape
    size = (max(columns // _COARSE_STEP, 1), max(rows // _COARSE_STEP, 1))
    small = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(_COARSEST * scale / _COARSE_STEP, 0.3))
    coarse = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR)
    parts = [each[..., 0] / np.maximum(each[..., 1], 1e-2) for each in (fine, coarse)]
    return np.asarray((parts[0] - parts[1]) * skin, np.float32)


@numba.njit(cache=True, nogil=True)
def _multiply(relight, covers, triangles, values, levels):  # type: ignore[no-untyped-def]
    (pix_to_face, barycentric), (now, before) = covers, levels
    for row in range(pix_to_face.shape[0]):
        for column in range(pix_to_face.shape[1]):
            face = pix_to_face[row, column]
            if face < 0 or face >= triangles.shape[0]:
                continue
            a, b, c = triangles[face, 0], triangles[face, 1], triangles[face, 2]
            p, q, r = barycentric[row, column]
            weight = p * values[a, 4] + q * values[b, 4] + r * values[c, 4]
            if weight <= 0:
                continue
            x = p * values[a, 0] + q * values[b, 0] + r * values[c, 0]
            y = p * values[a, 1] + q * values[b, 1] + r * values[c, 1]
            level = _level(now, x, y)
            x = p * values[a, 2] + q * values[b, 2] + r * values[c, 2]
            y = p * values[a, 3] + q * values[b, 3] + r * values[c, 3]
            usual = _level(before, x, y)
            change = level - usual
            if abs(change) <= _STILL:
                continue
            strange = (change / _STRANGE) ** 4
            change -= _STILL if change > 0 else -_STILL
            change *= weight / ((1 + (usual / _CONTRAST) ** 2) * (1 + strange))
            ratio = np.float32(np.exp(min(max(change, _DARKEST), _BRIGHTEST)))
            for n in range(3):
                relight[row, column, n] *= ratio


@numba.njit(cache=True, nogil=True)
def _level(levels, x, y):  # type: ignore[no-untyped-def]
    """A level between pixels, bilinear; 0 past the edges."""
    left, top = int(np.floor(x)), int(np.floor(y))
    if left < 0 or top < 0 or left + 1 >= levels.shape[1] or top + 1 >= levels.shape[0]:
        return np.float32(0)
    on, down = np.float32(x - left), np.float32(y - top)
    upper = levels[top, left] * (1 - on) + levels[top, left + 1] * on
    lower = levels[top + 1, left] * (1 - on) + levels[top + 1, left + 1] * on
    return upper * (1 - down) + lower * down
