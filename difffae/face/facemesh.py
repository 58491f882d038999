"""The bundled head model: linear shape and expression bases over MediaPipe's points."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, Mesh3, Points3
from difffae.face.morphable import EyeOpenings, FittedFace
from difffae.face.parameters import FaceParameters, axis_angle, matrix

NUM_MESH_POINTS = 468
NUM_IRIS_POINTS = 10
Shape = Float32[NDArray[np.float32], " shape"]
Expression = Float32[NDArray[np.float32], " expression"]
MouthInterior = Float32[NDArray[np.float32], "gaps widths rows columns 3"]
LidShades = Float32[NDArray[np.float32], "gaps rows columns 3"]
TeethRelief = Float32[NDArray[np.float32], "rows columns"]
SkinMotion = Float32[NDArray[np.float32], "expression points 3"]
# Subject's right eye (left in the picture), then the left: corners, the ring of the lids, the iris.
EYE_CORNERS = ((33, 133), (362, 263))
EYE_RINGS = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382),
)
IRIS_CENTRES = (468, 473)
UPPER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)  # the inner lips, corner to corner
LOWER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
CHEEKS = (234, 454)  # beside each other, from the picture's left to its right
FOREHEAD, CHIN = 10, 152  # the top of the mesh, and its bottom
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)  # the mesh's border, from the middle of the hairline round by the picture's right
LIDS = (((159, 145), (160, 144), (158, 153)), ((386, 374), (385, 380), (387, 373)))  # upper, lower
UPPER_LIDS = tuple(ring[:9] for ring in EYE_RINGS)  # of both eyes, from corner to corner
LOWER_LIDS = tuple((ring[0], *ring[:7:-1]) for ring in EYE_RINGS)
_MOUTH_CORNERS = UPPER_LIP[0], UPPER_LIP[-1]
_LIPS = slice(3, 8)  # of the inner lips, their middle
EYE_DEPTH = 0.12  # the irises lie this far behind the lids, so that lids cover them [head units]
_DEPTH_WEIGHT = 0.3  # MediaPipe's z is the least certain coordinate
_FIT_ROUNDS = 3
_SHAPE_NOISE = 0.02  # spread of points left unexplained, for one picture alone [head units]
_EXPRESSION_NOISE = 0.004  # the same once the person's shape is known


@dataclass(frozen=True, kw_only=True)
class Pose:
    """A similarity from head units to pixels: points = scale * rotation @ head + translation."""

    rotation: Float32[NDArray[np.float32], "3 3"]
    scale: float
    translation: Float32[NDArray[np.float32], " 3"]

    def to_head(self, points: Points3) -> Points3:
        """Pixels to head units and axes."""
        return ((points - self.translation) / self.scale @ self.rotation).astype(np.float32)

    def to_picture(self, head: Points3) -> Points3:
        """Head units and axes to pixels."""
        return (self.scale * head @ self.rotation.T + self.translation).astype(np.float32)


def align(points: Points3, template: Points3, weights: Float32[NDArray[np.float32], " p"]) -> Pose:
    """The similarity that lays the template over the points best (Umeyama 1991, weighted)."""
    share = (weights / weights.sum()).astype(np.float64)
    centre, middle = share @ points, share @ template
    around = template - middle
    covariance = (points - centre).T @ (share[:, None] * around)
    left, singular, right = np.linalg.svd(covariance)
    sign = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    rotation = left * sign @ right
    scale = float(singular @ sign / (share @ (around * around)).sum())
    translation = centre - scale * rotation @ middle
    return Pose(
        rotation=rotation.astype(np.float32),
        scale=scale,
        translation=translation.astype(np.float32),
    )


class FaceMeshModel:
    """Linear 3DMM: head = mean + shape_basis·shape + expression_basis·expression.

    The paper's eq. 2 without skinning; the bases are learned from tracked clips.

    Args:
        tensors: `mean` (468, 3) in head units (RMS radius 1), `shape_basis` (n, 468, 3) and
            `expression_basis` (m, 468, 3) scaled to one standard deviation, `rigid_weights` (468,)
            how little a point moves with expression, `skin_triangles` (f, 3); `mouth_interior`,
            see `difffae.face.mouth`, without which the inside of a mouth is plainly dark;
            `lid_shades`, see `difffae.face.lids`, without which lids show what they stretch over;
            `teeth_relief`, see `difffae.face.teeth`, without which teeth are one white band;
            `skin_motion` (m, 468, 3), how much further skin goes with an expression than tracked
            points do, without which it goes as they go.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.mean = tensors["mean"].astype(np.float32)
        self.shape_basis = tensors["shape_basis"].astype(np.float32)
        self.expression_basis = tensors["expression_basis"].astype(np.float32)
        self.rigid_weights = tensors["rigid_weights"].astype(np.float32)
        self.skin_triangles = np.ascontiguousarray(tensors["skin_triangles"], dtype=np.int32)
        self.mouth_interior: MouthInterior | None = tensors.get("mouth_interior")
        self.lid_shades: LidShades | None = tensors.get("lid_shades")
        relief = tensors.get("teeth_relief")
        self.teeth_relief: TeethRelief | None = (
            None if relief is None else relief.astype(np.float32)
        )
        further = tensors.get("skin_motion", np.float32(0))
        self._shown_basis = (self.expression_basis + further).astype(np.float32)
        both = np.concatenate([self.shape_basis, self.expression_basis])
        self._solve_both = _ridge_solver(both, _SHAPE_NOISE)
        self._solve_expression = _ridge_solver(self.expression_basis, _EXPRESSION_NOISE)
        self._open_lids = self._lid_directions()
        self._mean_openings = _openings(self.mean)
        self._openings_of_shape = np.stack([_openings(each) for each in self.shape_basis])
        self._openings_of_expression = np.stack([_openings(each) for each in self.expression_basis])
        self._mean_lip_gap = _lip_gap(self.mean)
        self._lip_gaps_of_shape = _lip_gaps(self.shape_basis)
        self._lip_gaps_of_expression = _lip_gaps(self.expression_basis)
        self._open_lips = self._lip_direction()

    def fit(self, points: Points3) -> FittedFace:
        """See `HeadModel.fit`.

        Shape and expression together are the most probable ones under their spreads; the expression
        is then found anew as `track` finds it, so that a person's own frames agree.
        """
        explained = self.mean
        for _ in range(_FIT_ROUNDS):
            shape, explained = self._explain(self._aligned(points, explained)[1])
        parameters, head = self._express(points, shape)
        skin = head[:NUM_MESH_POINTS]
        residual = head - self._with_irises(skin, parameters.gaze)
        residual[:NUM_MESH_POINTS] = skin - self._shown(shape, parameters.expression)
        return FittedFace(parameters=parameters, residual=residual)

    def track(self, points: Points3, person: FaceParameters) -> FaceParameters:
        """See `HeadModel.track`."""
        return self._express(points, person.shape)[0]

    def pose(self, parameters: FaceParameters, residual: Points3) -> Points3:
        """See `HeadModel.pose`."""
        skin = self._shown(parameters.shape, parameters.expression) + residual[:NUM_MESH_POINTS]
        head = self._with_irises(skin, parameters.gaze)
        head[NUM_MESH_POINTS:] += residual[NUM_MESH_POINTS:]
        translation = np.array([*parameters.translation, 0], np.float32)
        pose = Pose(
            rotation=matrix(parameters.rotation), scale=parameters.scale, translation=translation
        )
        return pose.to_picture(head)

    def eye_openings(self, parameters: FaceParameters) -> EyeOpenings:
        """See `HeadModel.eye_openings`."""
        by_shape = parameters.shape @ self._openings_of_shape
        by_expression = parameters.expression @ self._openings_of_expression
        return np.asarray(self._mean_openings + by_shape + by_expression, np.float32)

    def open_eyes(self, parameters: FaceParameters, change: EyeOpenings) -> FaceParameters:
        """See `HeadModel.open_eyes`."""
        expression = parameters.expression + self._open_lids @ change
        return replace(parameters, expression=expression.astype(np.float32))

    def mouth_opening(self, parameters: FaceParameters) -> float:
        """See `HeadModel.mouth_opening`."""
        by_shape = float(parameters.shape @ self._lip_gaps_of_shape)
        return (
            self._mean_lip_gap
            + by_shape
            + float(parameters.expression @ self._lip_gaps_of_expression)
        )

    def open_mouth(self, parameters: FaceParameters, change: float) -> FaceParameters:
        """See `HeadModel.open_mouth`."""
        expression = parameters.expression + np.float32(change) * self._open_lips
        return replace(parameters, expression=expression.astype(np.float32))

    def _lip_direction(self) -> Expression:
        """The most probable expression that opens the mouth by one head unit, and not the eyes.

        The mouth becomes no wider by it; a laughing one would.
        """
        left, right = (self.expression_basis[:, corner, 0] for corner in _MOUTH_CORNERS)
        width = right - left
        kept = np.stack([self._lip_gaps_of_expression, width, *self._openings_of_expression.T])
        return np.asarray(np.linalg.pinv(kept)[:, 0], np.float32)

    def _lid_directions(self) -> Float32[NDArray[np.float32], "m 2"]:
        """For each eye, the expression that opens it by one head unit and moves little else."""
        wanted = np.zeros((2, NUM_MESH_POINTS, 3), np.float32)
        for eye, lids in enumerate(UPPER_LIDS):
            wanted[eye, list(lids), 1] = -np.sin(np.linspace(0, np.pi, len(lids)))
        directions = self._solve_expression @ wanted.reshape(2, -1).T
        opened = np.stack(
            [_openings(np.tensordot(e, self.expression_basis, 1)) for e in directions.T], -1
        )
        return np.asarray(directions @ np.linalg.pinv(opened), np.float32)

    def _aligned(self, points: Points3, explained: Mesh3) -> tuple[Pose, Points3]:
        """The pose under which the points are nearest an explanation, and they in head units."""
        pose = align(points[:NUM_MESH_POINTS], explained, self.rigid_weights)
        return pose, pose.to_head(points)

    def _explain(self, head: Points3) -> tuple[Shape, Mesh3]:
        """The shape of points in head units, and the points that shape and expression explain."""
        both = self._solve_both @ (head[:NUM_MESH_POINTS] - self.mean).ravel()
        shape, expression = np.split(both, [len(self.shape_basis)])
        return shape, self._head(shape, expression)

    def _express(self, points: Points3, shape: Shape) -> tuple[FaceParameters, Points3]:
        """Expression and pose of a person of known shape, and the points in head units."""
        neutral = explained = self._shaped(shape)
        for _ in range(_FIT_ROUNDS):
            pose, head = self._aligned(points, explained)
            expression = self._solve_expression @ (head[:NUM_MESH_POINTS] - neutral).ravel()
            explained = neutral + self._moved(expression)
        return _parameters(pose, head, shape, expression), head

    def _head(self, shape: Shape, expression: Expression) -> Mesh3:
        return np.asarray(self._shaped(shape) + self._moved(expression), np.float32)

    def _shown(self, shape: Shape, expression: Expression) -> Mesh3:
        """Where skin is, which tracked points alone do not say."""
        return np.asarray(self._shaped(shape) + _sum(expression, self._shown_basis), np.float32)

    def _shaped(self, shape: Shape) -> Mesh3:
        return np.asarray(self.mean + _sum(shape, self.shape_basis), np.float32)

    def _moved(self, expression: Expression) -> Mesh3:
        return _sum(expression, self.expression_basis)

    def _with_irises(self, skin: Mesh3, gaze: Float32[NDArray[np.float32], " 4"]) -> Points3:
        """Append both irises, all five points of each at its centre."""
        irises = np.empty((10, 3), np.float32)
        for eye, corners in enumerate(EYE_CORNERS):
            middle = skin[list(corners)].mean(0)
            offset = np.array([gaze[2 * eye], gaze[2 * eye + 1], 0], np.float32)
            irises[5 * eye : 5 * eye + 5] = middle + offset
        return np.concatenate([skin, irises])


def _sum(
    coefficients: Float32[NDArray[np.float32], " n"], basis: Float32[NDArray[np.float32], "n p 3"]
) -> Mesh3:
    """Components of a basis, each times its coefficient, added up."""
    flat = coefficients @ basis.reshape(len(basis), -1)
    return np.asarray(flat.reshape(basis.shape[1:]), np.float32)


def values_at(
    picture: ImageU8 | Float32[NDArray[np.float32], "h w channels"],
    places: Float32[NDArray[np.float32], "rows columns 2"],
) -> Float32[NDArray[np.float32], "rows columns channels"]:
    """What a picture holds at places that count from its edge, as the mesh's points do [px]."""
    no_map = np.empty(0, np.float32)  # the first holds both x and y
    seen = cv2.remap(picture, places - np.float32(0.5), no_map, cv2.INTER_LINEAR)
    return np.asarray(seen, np.float32)


def vertical(points: Points3) -> Float32[NDArray[np.float32], " 2"]:
    """The head's vertical in the picture, down from the forehead, of unit length.

    Args:
        points: of the mesh [px].
    """
    down = points[CHIN, :2] - points[FOREHEAD, :2]
    return np.asarray(down / max(float(np.linalg.norm(down)), 1e-6), np.float32)


def _openings(skin: Mesh3) -> EyeOpenings:
    """Mean distance of upper and lower lid along the head's vertical, of each eye."""
    gaps = [np.mean([skin[low, 1] - skin[up, 1] for up, low in lids]) for lids in LIDS]
    return np.array(gaps, np.float32)


def _lip_gap(skin: Mesh3) -> float:
    """Mean distance of the middles of the inner lips along the head's vertical."""
    upper, lower = (np.array(lip)[_LIPS] for lip in (UPPER_LIP, LOWER_LIP))
    return float(np.mean(skin[lower, 1] - skin[upper, 1]))


def _lip_gaps(basis: Float32[NDArray[np.float32], "n p 3"]) -> Float32[NDArray[np.float32], " n"]:
    return np.array([_lip_gap(each) for each in basis], np.float32)


def _parameters(pose: Pose, head: Points3, shape: Shape, expression: Expression) -> FaceParameters:
    gaze = [
        head[iris, :2] - head[list(corners), :2].mean(0)
        for iris, corners in zip(IRIS_CENTRES, EYE_CORNERS, strict=True)
    ]
    return FaceParameters(
        shape=shape.astype(np.float32),
        expression=expression.astype(np.float32),
        gaze=np.concatenate(gaze).astype(np.float32),
        rotation=axis_angle(pose.rotation),
        scale=pose.scale,
        translation=pose.translation[:2],
    )


def _ridge_solver(
    basis: Float32[NDArray[np.float32], "n p 3"], noise: float
) -> Float32[NDArray[np.float32], "n p3"]:
    """The matrix from point offsets to the most probable coefficients of unit spread."""
    weights = np.ones(basis.shape[1:], np.float64)
    weights[:, 2] = _DEPTH_WEIGHT
    flat = basis.reshape(len(basis), -1).astype(np.float64)
    weighted = flat * weights.ravel()
    gram = weighted @ flat.T + noise**2 * basis.shape[1] * np.eye(len(basis)) / 100
    return np.linalg.solve(gram, weighted).astype(np.float32)
