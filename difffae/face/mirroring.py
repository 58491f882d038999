"""What a turned portrait hides of a face, it shows on the other side: faces are nearly symmetric.

A portrait in half profile shows the far cheek, eye and corner of the mouth from the side or not at
all. Once the head turns back, they are read where the portrait shows their mirror image.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from difffae.arrays import MaskF32, Normals, Points2, Points3, Triangles
from difffae.face.facemesh import (
    IRIS_CENTRES,
    LOWER_LIDS,
    LOWER_LIP,
    NUM_IRIS_POINTS,
    NUM_MESH_POINTS,
    UPPER_LIDS,
    UPPER_LIP,
    align,
)
from difffae.face.parameters import FaceParameters, matrix
from difffae.face.rasterizer import Fragments, Rasterize
from difffae.face.surroundings import beside_border

_FACING = (0.35, 0.1)  # cosine to the viewer of skin that is seen .. that is as good as hidden
_BEHIND = (0.05, 0.12)  # what hides it, of skin that is seen .. that is hidden [head units]
_BETTER = (1.0, 1.2)  # how much more a counterpart faces the viewer, to be no worse .. the better
_STRETCH = (1.3, 1.8)  # of skin that may be stretched .. that is better read elsewhere
_TURNED = (0.35, 0.5)  # sine of the yaw of a portrait that hides little .. a whole side
_BACK = (0.05, 0.2)  # of that sine, from what turn back on mirror images are shown .. wholly
_INSET = 0.12  # how far inside the far outline is read, at least [head units]
_HEAD = 1.3  # how far beside the face the head's other side is shown [head units]
_EITHER = (0.35, 0.65)  # shares of the face between which the head is of both sides
_DEPTH = 1.2  # of the head's middle behind the face's [head units]
_WIDTH = (1.32, 1.22)  # from there, that the head has ended .. still goes on [head units]
_TALL = 0.7  # how much nearer its upper end is
_NECK = (1.8, 1.2)  # below its centre there is neck .. head [head units]
_CROWN = (-1.9, -1.3)  # likewise, above which there is hair that a portrait shows .. there is not
_LEAST_FACING = 0.05
_GROWTH = 2  # points beside those that are hidden, which are seen too slantwise
_ROUNDS = 2  # of smoothing over neighbouring points

# Points of lids and lips, and those that mirror them.
_KNOWN = (
    [*UPPER_LIDS[0], *LOWER_LIDS[0], *UPPER_LIP, *LOWER_LIP],
    [*UPPER_LIDS[1][::-1], *LOWER_LIDS[1][::-1], *UPPER_LIP[::-1], *LOWER_LIP[::-1]],
)

Insets = Float32[NDArray[np.float32], "mesh 2"]
Shares = Float32[NDArray[np.float32], " mesh"]
Depths = Float32[NDArray[np.float32], " mesh"]
Counterparts = Int64[NDArray[np.int64], " points"]


@dataclass(frozen=True, kw_only=True)
class HeadShares:
    """How much of each pixel around a face is read in the mirror image; 1 where that has a head."""

    share: MaskF32
    inside: MaskF32


@dataclass(frozen=True, kw_only=True)
class Symmetry:
    """Which points of the mesh and the irises mirror one another, and which are neighbours."""

    counterparts: Counterparts
    means: Float32[NDArray[np.float32], "p p"]  # of each mesh point and its neighbours


def symmetry(mean: Points3, triangles: Triangles) -> Symmetry:
    """Of a mean head.

    Args:
        mean: its mesh points [head units].
        triangles: of its skin.
    """
    mirrored = mean * np.array([-1, 1, 1], np.float32)
    known, theirs = mirrored[_KNOWN[0]], mean[_KNOWN[1]]
    laid = align(theirs, known, np.ones(len(known), np.float32)).to_picture(mirrored)
    nearest = np.square(laid[:, None] - mean).sum(-1).argmin(1)
    half = NUM_IRIS_POINTS // 2
    first, second = (np.arange(centre, centre + half) for centre in IRIS_CENTRES)
    near = np.eye(NUM_MESH_POINTS, dtype=np.float32)
    for side in ((0, 1), (1, 2), (2, 0)):
        a, b = triangles[:, side].T
        near[a, b] = near[b, a] = 1
    return Symmetry(
        counterparts=np.concatenate([nearest, second, first]).astype(np.int64),
        means=near / near.sum(1, keepdims=True),
    )


def hidden(
    points: Points3, normals: Normals, scale: float, triangles: Triangles, rasterize: Rasterize
) -> Shares:
    """How little of each mesh point a portrait shows: 0 what faces the viewer, 1 what it hides.

    Args:
        points: of the portrait's mesh [px].
        normals: of them.
        scale: pixels per head unit.
        triangles: of the skin.
        rasterize: finds what hides what.
    """
    depths, fragments, places = _seen(points, triangles, rasterize, 1)
    behind = np.nan_to_num((depths - fragments.depth[places]) / scale, neginf=0)
    by_turn = _ramp(-normals[:NUM_MESH_POINTS, 2], _FACING)
    return np.maximum(by_turn, _ramp(behind, _BEHIND))


def turned_back(source: FaceParameters, target: FaceParameters) -> float:
    """How much of what a portrait hides a head turns to the viewer: 0 nothing, 1 all of it."""
    was, now = (float(matrix(face.rotation)[0, 2]) for face in (source, target))
    away, back = np.array([[abs(was)], [(was - now) * np.sign(was)]], np.float32)
    return float((_ramp(away, _TURNED) * _ramp(back, _BACK)).item())


def mirrored(face: FaceParameters, size: int) -> FaceParameters:
    """The pose of a face in the mirror image of its crop, whose side is `size` [px]."""
    x, y = face.translation
    return replace(
        face,
        rotation=face.rotation * np.array([1, -1, -1], np.float32),
        translation=np.array([size - x, y], np.float32),
    )


def mirror_shares(
    hides: Shares, normals: tuple[Normals, Normals], back: float, symmetric: Symmetry
) -> Shares:
    """How much of each mesh point is to be read at its counterpart.

    Args:
        hides: see `hidden`.
        normals: at the mesh's points, in the portrait and in what is shown.
        back: see `turned_back`.
        symmetric: of the mesh.
    """
    facing = [np.maximum(-each[:NUM_MESH_POINTS, 2], _LEAST_FACING) for each in normals]
    stretched = _ramp(facing[1] / facing[0], _STRETCH)
    other = symmetric.counterparts[:NUM_MESH_POINTS]
    share = np.maximum(hides, stretched)
    for _ in range(_GROWTH):
        share = np.where(symmetric.means > 0, share, 0).max(1)
    for _ in range(_ROUNDS):
        share = symmetric.means @ share
    share = share * _ramp(facing[0][other] / facing[0], _BETTER)
    return np.asarray(np.float32(back) * share, np.float32)


def inset(
    points: Points3, face: FaceParameters, triangles: Triangles, rasterize: Rasterize
) -> Insets:
    """By how much to read further inside at points by the far outline of a portrait [px].

    The tracked outline may lie beside the real one, on what is behind the face.

    Args:
        points: of the portrait's mesh [px].
        face: its parameters.
        triangles: of the skin.
        rasterize: finds the outline.
    """
    around = round(face.scale)
    _, fragments, places = _seen(points, triangles, rasterize, around)
    covered = (fragments.pix_to_face >= 0).astype(np.uint8)
    depth = cv2.GaussianBlur(cv2.distanceTransform(covered, cv2.DIST_L2, 5), (0, 0), 2)
    slope = np.stack(np.gradient(depth)[::-1], -1)[places]
    slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-3)
    far = -np.sign(float(matrix(face.rotation)[0, 2]))
    reach = np.float32(_INSET * face.scale)
    missing = np.maximum(reach - depth[places], 0) * np.maximum(-far * slope[:, 0], 0)
    return np.asarray(missing[:, None] * slope, np.float32)


def beside_face(shares: Shares, border: Points2, face: FaceParameters, size: int) -> HeadShares:
    """How much of the head around a face is to be read in its mirror image, and where that ends.

    Args:
        shares: of the points on the face's border, see `mirror_shares`.
        border: where they are shown [px].
        face: that is shown.
        size: side of the crop [px].
    """
    share = _ramp(beside_border(shares, border, _HEAD * face.scale, size), _EITHER)
    axes = matrix(face.rotation)
    down = axes[:2, 1] / max(float(np.linalg.norm(axes[:2, 1])), 1e-3)
    places = (np.arange(size, dtype=np.float32) + 0.5)[:, None] - face.translation
    x, y = (places / face.scale).T
    below = y[:, None] * down[1] + x * down[0]
    middle = _DEPTH * axes[:2, 2]
    across = (y - middle[1])[:, None] * -down[0] + (x - middle[0]) * down[1]
    above = np.minimum(below - middle @ down, 0)
    inside = _ramp(np.hypot(across, _TALL * above), _WIDTH)
    return HeadShares(share=share * _ramp(below, _NECK) * _ramp(below, _CROWN), inside=inside)


def _seen(
    points: Points3, triangles: Triangles, rasterize: Rasterize, around: int
) -> tuple[Depths, Fragments, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The depths of the mesh, a picture of it with so many pixels around, where its points are."""
    skin = points[:NUM_MESH_POINTS]
    corner = np.floor(skin[:, :2].min(0)) - around
    size = int(np.ceil((skin[:, :2].max(0) - corner).max())) + around
    local = skin - np.array([*corner, 0], np.float32)
    columns, rows = np.clip(local[:, :2].astype(int), 0, size - 1).T
    return skin[:, 2], rasterize(local, triangles, size), (rows, columns)


def _ramp(
    values: Float32[NDArray[np.float32], "*axes"], reach: tuple[float, float]
) -> Float32[NDArray[np.float32], "*axes"]:
    return np.asarray(np.clip((values - reach[0]) / (reach[1] - reach[0]), 0, 1), np.float32)
