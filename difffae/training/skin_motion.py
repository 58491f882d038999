"""Learn how far skin goes with an expression: pairs of frames in, a correction of its basis out.

Tracked points follow lids and lips by what they see, and the plain skin between by what a face
usually does: cheeks of a smile rise less than they do. Optical flow from the moved portrait to the
true frame says where they went; the correction is what of it follows from the expression.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, Mesh3
from difffae.data.motions import moved
from difffae.data.pairs import PairMaker, Picture
from difffae.face.facemesh import (
    EYE_RINGS,
    LOWER_LIP,
    NUM_MESH_POINTS,
    UPPER_LIP,
    FaceMeshModel,
    SkinMotion,
    values_at,
)
from difffae.face.facemesh_rig import FaceMeshRig
from difffae.face.parameters import matrix

_SMOOTH_PX = 1.5
_MOST_FLOW = 0.25  # what is further away is a mistake of the flow's [head units]
_RIDGE = 0.02  # for each pair, times the component's number: later ones are seldom sure
_DEPTH_RIDGE = 3.0  # so much less sure is what moves along the view
_TRUSTED_FROM = 0.05  # this far from lids and inner lips all of the correction counts [head units]

Flow = Float32[NDArray[np.float32], "points 2"]


@dataclass(frozen=True, kw_only=True)
class SkinFlows:
    """What flow adds to the motion of the mesh in many pairs of frames.

    Attributes:
        changes: of the expression from the first frame to the second.
        rotations: head to camera, in the second frame.
        flows: from where the mesh moved each point to where the picture shows it [head units].
    """

    changes: Float32[NDArray[np.float32], "pairs expression"]
    rotations: Float32[NDArray[np.float32], "pairs 3 3"]
    flows: Float32[NDArray[np.float32], "pairs points 2"]


def learn_skin_motion(maker: PairMaker, rig: FaceMeshRig, num_pairs: int) -> SkinMotion:
    """The correction of an expression basis.

    Args:
        maker: draws pairs of frames; its seed does not count.
        rig: without dense motion, of a head model without a correction.
        num_pairs: how many are looked at, every person in as many.
    """
    draws = (np.random.default_rng((0, index)) for index in range(num_pairs))
    seen = [_flow(rig, *maker.clip_pictures(random)) for random in draws]
    changes, rotations, flows = (np.stack(each) for each in zip(*seen, strict=True))
    found = solve(SkinFlows(changes=changes, rotations=rotations, flows=flows))
    trusted = trust(rig.head_model)
    return np.asarray(found * trusted[:, None], np.float32)


def solve(seen: SkinFlows) -> SkinMotion:
    """The most probable linear dependence of flow on expression (ridge), in the head's axes."""
    num_pairs, count = seen.changes.shape
    inputs = np.einsum("nak,ne->nake", seen.rotations[:, :2].astype(np.float64), seen.changes)
    inputs = inputs.reshape(2 * num_pairs, 3 * count)
    outputs = np.moveaxis(seen.flows, 2, 1).reshape(2 * num_pairs, -1)
    number = np.arange(1, count + 1)
    ridge = _RIDGE * num_pairs * np.concatenate([number, number, _DEPTH_RIDGE * number])
    solved = np.linalg.solve(inputs.T @ inputs + np.diag(ridge), inputs.T @ outputs)
    return np.ascontiguousarray(np.moveaxis(solved.reshape(3, count, -1), 0, 2), np.float32)


def trust(head_model: FaceMeshModel) -> Float32[NDArray[np.float32], " points"]:
    """How much of the correction counts at each point: none at lids and inner lips.

    The tracker sees those, and openings of eyes and mouth are measured by them.
    """
    seen = [point for line in (*EYE_RINGS, UPPER_LIP, LOWER_LIP) for point in line]
    flat = head_model.mean[:, :2]
    away = np.linalg.norm(flat[:, None] - flat[seen], axis=2).min(1)
    return np.asarray(np.minimum(away / _TRUSTED_FROM, 1), np.float32)


def _flow(
    rig: FaceMeshRig, source: Picture, target: Picture
) -> tuple[NDArray[np.float32], NDArray[np.float32], Flow]:
    """Change of the expression, the shown head's rotation, and flow at the mesh's points."""
    face, shown, condition = moved(source, target, rig)
    mesh = rig.head_model.pose(shown, face.fitted.residual)[:NUM_MESH_POINTS]
    flow = _flow_at(condition.composite, target.image, mesh) / np.float32(shown.scale)
    change = shown.expression - face.fitted.parameters.expression
    return change, matrix(shown.rotation), np.clip(flow, -_MOST_FLOW, _MOST_FLOW)


def _flow_at(shown: ImageU8, true: ImageU8, mesh: Mesh3) -> Flow:
    """Dense inverse search (Kroeger et al., ECCV 2016) from one picture to the other [px]."""
    first, second = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (shown, true))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found = search.calc(first, second, np.zeros((*first.shape, 2), np.float32))
    flow = cv2.GaussianBlur(found, (0, 0), _SMOOTH_PX)
    return values_at(np.asarray(flow, np.float32), mesh[:, None, :2])[:, 0]
