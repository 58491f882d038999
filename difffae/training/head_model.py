"""Learn the linear head model: tracked points of clips and stills in, mean and bases out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import Points3, Triangles
from difffae.checkpoint import save_tensors
from difffae.data.shards import ShardReader
from difffae.face.facemesh import EYE_RINGS, LOWER_LIP, NUM_MESH_POINTS, UPPER_LIP, align

_PROCRUSTES_ROUNDS = 4
_FEATURE_WEIGHT = 3.0  # lids and lips count this much more in the expression basis


@dataclass(frozen=True, kw_only=True)
class HeadModelConfig:
    """Sizes of the bases, and how many pairs of frames say how skin moves (`skin_motion`)."""

    num_shape: int = 40
    num_expression: int = 64
    num_pairs: int = 4000

    def __post_init__(self) -> None:
        if min(self.num_shape, self.num_expression, self.num_pairs) < 1:
            raise ValueError(f"Got {self}, but bases need a component and a pair at least")


@dataclass(frozen=True, kw_only=True)
class PointTracks:
    """Points of one still (one row) or one clip, and whose they are."""

    points: Float32[NDArray[np.float32], "frames 478 3"]
    person: str


def orient(triangles: Triangles, mean: Points3) -> Triangles:
    """Wind every triangle so that its normal points out of the head."""
    a, b, c = (mean[triangles[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    behind = np.array([0, 0, mean[:, 2].max()], np.float32)
    outwards = ((a + b + c) / 3 - behind) * normals
    flipped = triangles[:, [0, 2, 1]]
    return np.where(outwards.sum(-1, keepdims=True) < 0, flipped, triangles).astype(np.int32)


def learn_head_model(
    tracks: list[PointTracks], skin_triangles: Triangles, config: HeadModelConfig
) -> dict[str, NDArray[Any]]:
    """Fit mean, shape and expression bases by Procrustes alignment and principal components.

    The shape basis explains how the median faces of clips and the stills differ; the expression
    basis how each clip's frames differ from its own median, every person weighing the same.

    Returns:
        The tensors that `FaceMeshModel` takes.
    """
    if len(tracks) < 2:
        raise ValueError(f"Got {len(tracks)} clips and stills, but a head model needs at least 2")
    mean = _unit(tracks[0].points[0, :NUM_MESH_POINTS])
    weights = np.ones(NUM_MESH_POINTS, np.float32)
    heads: list[NDArray[np.float32]] = []
    for _ in range(_PROCRUSTES_ROUNDS):
        heads = [_to_head(track.points, mean, weights) for track in tracks]
        spread = _expression_spread(heads)
        weights = (1 / (spread + 0.25 * np.median(spread))).astype(np.float32)
        weights /= weights.mean()
        mean = _unit(_medians(heads).mean(0))
    expression_basis = _expression_basis(tracks, heads, config.num_expression)
    neutral = _medians(heads) - mean
    alike = np.ones(len(neutral)), np.ones(NUM_MESH_POINTS)
    shape_basis = _principal(neutral, *alike, config.num_shape)
    return {
        "mean": mean,
        "shape_basis": shape_basis,
        "expression_basis": expression_basis,
        "rigid_weights": weights,
        "skin_triangles": orient(skin_triangles, mean),
    }


def _unit(points: Points3) -> Points3:
    centred = points - points.mean(0)
    return np.asarray(centred / np.sqrt((centred**2).sum(-1).mean()), np.float32)


def _to_head(
    points: Float32[NDArray[np.float32], "n 478 3"], mean: Points3, weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    mesh = points[:, :NUM_MESH_POINTS]
    return np.stack([align(frame, mean, weights).to_head(frame) for frame in mesh])


def _medians(heads: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.stack([np.median(head, 0) for head in heads])


def _expression_spread(heads: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """How far each point strays from its clip's median [head units]: (points,)."""
    clips = [head for head in heads if len(head) > 1]
    deviations = [np.abs(head - np.median(head, 0)).sum(-1).mean(0) for head in clips]
    return np.asarray(np.mean(deviations, axis=0))


def _expression_basis(
    tracks: list[PointTracks], heads: list[NDArray[np.float32]], count: int
) -> NDArray[np.float32]:
    importance = np.ones(NUM_MESH_POINTS)
    for ring in (*EYE_RINGS, UPPER_LIP, LOWER_LIP):
        importance[list(ring)] = _FEATURE_WEIGHT
    clips = [(track, head) for track, head in zip(tracks, heads, strict=True) if len(head) > 1]
    frames_of: dict[str, int] = {}
    for track, head in clips:
        frames_of[track.person] = frames_of.get(track.person, 0) + len(head)
    deviations = np.concatenate([head - np.median(head, 0) for _, head in clips])
    frame_weights = np.concatenate(
        [np.full(len(head), frames_of[track.person] ** -0.5) for track, head in clips]
    )
    return _principal(deviations, frame_weights, importance, count)


def _principal(
    samples: NDArray[Any], weights: NDArray[Any], importance: NDArray[Any], count: int
) -> NDArray[np.float32]:
    """Principal components of centred samples (n, p, 3), each scaled to one standard deviation."""
    scaled = (samples * np.sqrt(importance)[:, None]).reshape(len(samples), -1)
    share = weights / weights.sum()
    covariance = (scaled * share[:, None]).T @ scaled
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1][:count]
    basis = (vectors[:, order] * np.sqrt(np.maximum(values[order], 0))).T
    scaled_back = basis.reshape(len(order), -1, 3) / np.sqrt(importance)[:, None]
    return np.asarray(scaled_back, np.float32)


def read_tracks(reader: ShardReader) -> list[PointTracks]:
    """The tracked points of frame shards, clip by clip."""
    points = reader.column("points")
    rows: dict[tuple[str, str], list[int]] = {}
    for index, label in enumerate(zip(reader.labels("person"), reader.labels("clip"), strict=True)):
        rows.setdefault(label, []).append(index)
    return [
        PointTracks(points=points[indices], person=person) for (person, _), indices in rows.items()
    ]


def save_head_model(path: Path, tensors: dict[str, NDArray[Any]]) -> None:
    """Write what `learn_head_model` found as safetensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    save_tensors(path, {name: torch.from_numpy(array) for name, array in contiguous.items()}, {})
