"""FLAME: shape, expression and joint rotations to the vertices of a head, by linear blend skinning.

Li et al., "Learning a model of facial shape and expression from 4D scans" (2017), equations 2 to 4,
in the published files' layout (model.md 3.2). Metres; x to the right of a picture taken from the
front, y up, z out of the face; five joints: root, neck, jaw, left eye, right eye.

``python -m difffae.face.flame generic_model.pkl flame.safetensors`` writes a model's arrays without
the pickle, for machines that should never see one.
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import safetensors.numpy
from jaxtyping import Float32, Int64
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from difffae.arrays import Points3, Triangles
from difffae.face.licensed import (
    AnyArray,
    LicensedFileError,
    publication,
    read_arrays,
    unusable,
)

NUM_SHAPE, NUM_EXPRESSION = 300, 100  # columns of shapedirs: identity, then expression
NUM_JOINTS = 5
LAST_BIN = 39  # yaw [deg] of the last contour on either side

ShapeCodes = Float32[NDArray[np.float32], " shape"]
ExpressionCodes = Float32[NDArray[np.float32], " expression"]
Pose = Float32[NDArray[np.float32], "5 3"]
Landmarks = Float32[NDArray[np.float32], "68 3"]

_logger = logging.getLogger(__name__)
_PERSONS_KEPT = 4


@dataclass(frozen=True, kw_only=True)
class LandmarkEmbedding:
    """Where on the triangles the 68 landmarks lie: 17 of the outline, then 51 that stay in place.

    Attributes:
        static_faces, static_weights: the triangles of the 51 and the weights of their corners.
        contour_faces, contour_weights: of the 17, for turns of 0 to 39 degrees and then, from
            entry 40, 1 to 39 degrees the other way.
        sign: 1 where the first forty are turns to the right of a picture taken from the front (the
            positive sense about y), -1 where they are turns to its left.
    """

    static_faces: Int64[NDArray[np.int64], " 51"]
    static_weights: Float32[NDArray[np.float32], "51 3"]
    contour_faces: Int64[NDArray[np.int64], "79 17"]
    contour_weights: Float32[NDArray[np.float32], "79 17 3"]
    sign: int

    def at(
        self, yaw: float
    ) -> tuple[Int64[NDArray[np.int64], " 68"], Float32[NDArray[np.float32], "68 3"]]:
        """Triangles and weights of all 68 for a head turned by a yaw [rad, positive about y]."""
        degrees = int(np.clip(np.round(self.sign * np.rad2deg(yaw)), -LAST_BIN, LAST_BIN))
        entry = degrees if degrees >= 0 else LAST_BIN - degrees
        return (
            np.concatenate([self.contour_faces[entry], self.static_faces]),
            np.concatenate([self.contour_weights[entry], self.static_weights]),
        )


class FlameModel:
    """A head model of FLAME's layout.

    Args:
        arrays: those of the published pickle, under their names there.
        embedding: where the landmarks lie; None where nobody asks for them.
        version: which publication it is; None where its hash is not known.

    Attributes:
        faces: the triangles.
        version: as given. Codes belong to the version they were found for: DECA's, EMOCA's,
            SMIRK's and MICA's are for 2020, and make other faces with 2023.
    """

    def __init__(
        self,
        arrays: Mapping[str, AnyArray],
        embedding: LandmarkEmbedding | None = None,
        version: str | None = None,
    ) -> None:
        directions = np.asarray(arrays["shapedirs"], np.float32)
        self._num_vertices = len(directions)
        flat = directions.reshape(3 * self._num_vertices, -1)
        self._template = np.asarray(arrays["v_template"], np.float32)
        self._shape_directions = np.ascontiguousarray(flat[:, :NUM_SHAPE])
        self._expression_directions = np.ascontiguousarray(flat[:, NUM_SHAPE:])
        corrections = np.asarray(arrays["posedirs"], np.float32).reshape(len(flat), -1, 9)
        self._corrections = [np.ascontiguousarray(part) for part in np.moveaxis(corrections, 1, 0)]
        self._weights = np.asarray(arrays["weights"], np.float32)
        regressor = np.asarray(arrays["J_regressor"], np.float64)
        self._regressor = regressor.astype(np.float32)
        regressed = np.einsum("jv,vcn->jcn", regressor, directions[..., NUM_SHAPE:])
        self._joint_directions = regressed.astype(np.float32).reshape(3 * NUM_JOINTS, -1)
        self._parents = [-1, *(int(parent) for parent in arrays["kintree_table"][0][1:])]
        self._embedding = embedding
        self._person = lru_cache(_PERSONS_KEPT)(self._make_person)
        self.faces: Triangles = np.asarray(arrays["f"], np.int32)
        self.version = version

    @property
    def template(self) -> Points3:
        """The mean head without any code [m]."""
        return self._template.copy()

    @property
    def expression_basis(self) -> Float32[NDArray[np.float32], "100 v 3"]:
        """How far each expression coefficient moves each vertex [m]."""
        basis = self._expression_directions.T.reshape(-1, self._num_vertices, 3)
        return np.ascontiguousarray(basis)

    @property
    def eye_centres(self) -> Points3:
        """The joints of left and right eye in the mean head [m]."""
        return np.asarray(self._regressor[-2:] @ self._template, np.float32)

    def with_shape(self, shape: ShapeCodes) -> "FlamePerson":
        """The head of one person, whose shape is worked out once; the last few are kept.

        Args:
            shape: up to 300 identity coefficients, in standard deviations; DECA has 100.

        Raises:
            ValueError: there are more.
        """
        _check_count("shape", len(shape), NUM_SHAPE)
        return self._person(shape.tobytes())

    def vertices(self, shape: ShapeCodes, expression: ExpressionCodes, pose: Pose) -> Points3:
        """The vertices [m] of a head; see `FlamePerson.vertices`."""
        return self.with_shape(shape).vertices(expression, pose)

    def landmarks(
        self, vertices: Points3, rotation: Float32[NDArray[np.float32], " 3"]
    ) -> Landmarks:
        """The 68 landmarks [m] of a head: the outline of the jaw as seen from the front, the rest.

        Args:
            vertices: of the turned head, in FLAME's axes.
            rotation: of the head, axis-angle [rad]; its yaw tells where the outline is.

        Raises:
            LicensedFileError: no landmark embedding was given.
        """
        if self._embedding is None:
            raise LicensedFileError(
                "landmarks were asked of a head model loaded without landmark_embedding.npy; set "
                "model.face.licensed.landmarks"
            )
        corners, weights = self._embedding.at(head_yaw(rotation))
        points = np.einsum("lcx,lc->lx", vertices[self.faces[corners]], weights)
        return np.asarray(points, np.float32)

    def _make_person(self, shape: bytes) -> "FlamePerson":
        codes = np.frombuffer(shape, np.float32)
        offsets = self._shape_directions[:, : len(codes)] @ codes
        return FlamePerson(self, self._template + offsets.reshape(-1, 3))


class FlamePerson:
    """The head of one person: FLAME with its shape fixed.

    Args:
        model: the head model.
        neutral: the person's vertices without expression and pose [m].
    """

    def __init__(self, model: FlameModel, neutral: Points3) -> None:
        self._model = model
        self.neutral = neutral
        self._joints = model._regressor @ neutral

    def vertices(self, expression: ExpressionCodes, pose: Pose) -> Points3:
        """The vertices [m] of this head.

        Args:
            expression: up to 100 coefficients, in standard deviations; DECA has 50.
            pose: rotation of root, neck, jaw, left and right eye, axis-angle [rad], each in the
                frame of the joint before it.

        Raises:
            ValueError: there are more coefficients.
        """
        model, count = self._model, len(expression)
        _check_count("expression", count, NUM_EXPRESSION)
        offsets = model._expression_directions[:, :count] @ expression
        rotations = np.asarray(Rotation.from_rotvec(pose).as_matrix(), np.float32)
        for joint in np.flatnonzero(np.any(pose[1:], axis=1)):
            change = rotations[joint + 1] - np.eye(3, dtype=np.float32)
            offsets += model._corrections[joint] @ change.reshape(9)
        surface = self.neutral + offsets.reshape(-1, 3)
        joints = self._joints + (model._joint_directions[:, :count] @ expression).reshape(-1, 3)
        moves = _joint_moves(rotations, joints, model._parents)
        blended = (model._weights @ moves.reshape(NUM_JOINTS, 12)).reshape(-1, 3, 4)
        turned = np.matmul(blended[:, :, :3], surface[:, :, None])[..., 0] + blended[:, :, 3]
        return np.ascontiguousarray(turned, np.float32)


def head_yaw(rotation: Float32[NDArray[np.float32], " 3"]) -> float:
    """How far a head is turned [rad]: positive about y, to the right of a picture of its front."""
    matrix = Rotation.from_rotvec(rotation).as_matrix()
    return float(np.arctan2(-matrix[2, 0], np.hypot(matrix[0, 0], matrix[1, 0])))


def load_flame(path: Path, landmarks: Path | None = None) -> FlameModel:
    """Read FLAME 2020, 2023 or 2023 Open from the published pickle or from its converted arrays.

    Args:
        path: the pickle, or a .safetensors or .npz file of the same arrays.
        landmarks: landmark_embedding.npy; None where landmarks are not needed.

    Raises:
        LicensedFileError: a file is missing, damaged or of another model.
    """
    _, arrays = read_arrays("flame", path)
    _check_values(arrays, path)
    version = publication("flame", path)
    embedding = None
    if landmarks is not None:
        embedding = load_embedding(landmarks, arrays)
    return FlameModel(arrays, embedding, version)


def load_embedding(path: Path, arrays: Mapping[str, AnyArray]) -> LandmarkEmbedding:
    """Read landmark_embedding.npy.

    The published programs disagree about the sense of turn of the outline's entries (DECA's and
    FLAME_PyTorch's have opposite signs), so the sense is read off the mean head: on the side that a
    head turns to, its outline lies nearer to the nose.

    Args:
        path: the file.
        arrays: of the head model.

    Raises:
        LicensedFileError: the file is missing, damaged, or does not fit the head model.
    """
    _, found = read_arrays("landmarks", path)
    publication("landmarks", path)
    faces = {name: np.asarray(found[f"{name}_lmk_faces_idx"], np.int64) for name in _PARTS}
    weights = {name: np.asarray(found[f"{name}_lmk_bary_coords"], np.float32) for name in _PARTS}
    for name in _PARTS:
        if faces[name].min() < 0 or faces[name].max() >= len(arrays["f"]):
            raise unusable("landmarks", path, f"its {name} triangles are not those of FLAME")
        if not np.allclose(weights[name].sum(-1), 1, atol=1e-2):
            raise unusable("landmarks", path, f"its {name} weights do not sum to 1")
    template = np.asarray(arrays["v_template"], np.float32)
    corners = template[np.asarray(arrays["f"], np.int64)[faces["dynamic"]]]
    middle = np.einsum("blcx,blc->blx", corners, weights["dynamic"]).mean(1)[:, 0]
    return LandmarkEmbedding(
        static_faces=faces["static"],
        static_weights=weights["static"],
        contour_faces=faces["dynamic"],
        contour_weights=weights["dynamic"],
        sign=1 if middle[LAST_BIN] < middle[2 * LAST_BIN] else -1,
    )


_PARTS = ("static", "dynamic")


def _check_count(name: str, got: int, expected: int) -> None:
    if got > expected:
        raise ValueError(f"got {got} {name} coefficients, expected at most {expected}")


def _check_values(arrays: Mapping[str, AnyArray], path: Path) -> None:
    """Refuse numbers that no head model has, before they index anything."""
    triangles, parents = arrays["f"], arrays["kintree_table"][0][1:]
    if triangles.min() < 0 or triangles.max() >= len(arrays["v_template"]):
        raise unusable("flame", path, "its triangles name vertices that it does not have")
    if any(not 0 <= parent <= joint for joint, parent in enumerate(parents)):
        raise unusable("flame", path, f"its joints have the parents {parents.tolist()}")
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise unusable("flame", path, f"its {name} holds numbers that are not finite")


def _joint_moves(
    rotations: Float32[NDArray[np.float32], "5 3 3"],
    joints: Float32[NDArray[np.float32], "5 3"],
    parents: Sequence[int],
) -> Float32[NDArray[np.float32], "5 3 4"]:
    """What each joint does to points of the unposed head: turn about it, after its parents."""
    moves = np.empty((NUM_JOINTS, 3, 4), np.float32)
    for joint, parent in enumerate(parents):
        turn, shift = rotations[joint], joints[joint] - rotations[joint] @ joints[joint]
        if parent >= 0:
            before = moves[parent]
            turn, shift = before[:, :3] @ turn, before[:, :3] @ shift + before[:, 3]
        moves[joint, :, :3], moves[joint, :, 3] = turn, shift
    return moves


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the arrays of FLAME's pickle to a safetensors file."""
    parser = argparse.ArgumentParser(prog="python -m difffae.face.flame", description=main.__doc__)
    parser.add_argument("pickle", type=Path, help="generic_model.pkl, flame2023_Open.pkl, …")
    parser.add_argument("out", type=Path, help="file to write, ending in .safetensors")
    given = parser.parse_args(arguments)
    try:
        _, arrays = read_arrays("flame", given.pickle)
        version = publication("flame", given.pickle)
    except LicensedFileError as error:
        parser.error(str(error))
    plain = {
        name: np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else np.int64)
        for name, array in arrays.items()
    }
    safetensors.numpy.save_file(plain, given.out, {"flame": version} if version else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
