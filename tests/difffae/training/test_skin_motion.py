"""What optical flow says of skin that tracked points do not."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from difffae.data.pairs import Picture
from difffae.face.config import FaceConfig
from difffae.face.facemesh import EYE_RINGS, LOWER_LIP, UPPER_LIP, FaceMeshModel
from difffae.face.facemesh_rig import FaceMeshRig
from difffae.face.parameters import matrix
from difffae.training.skin_motion import SkinFlows, learn_skin_motion, solve, trust
from face_media import TrackedPortrait, load_head_model, tracked_portrait, tracked_tensors

CHEEKS = (50, 280)
NOT_TRUSTED = [point for line in (*EYE_RINGS, UPPER_LIP, LOWER_LIP) for point in line]


@pytest.fixture(scope="module")
def tensors() -> dict[str, Any]:
    """The head model's, without what it has learned of skin."""
    return tracked_tensors()


def cheeks(tensors: dict[str, Any]) -> np.ndarray:
    """Cheeks that rise with the first component, all around them less."""
    mean = tensors["mean"]
    further = np.zeros_like(tensors["expression_basis"])
    for cheek in CHEEKS:
        away = np.linalg.norm(mean[:, :2] - mean[cheek, :2], axis=1)
        further[0, :, 1] -= 0.06 * np.exp(-0.5 * (away / 0.4) ** 2)
    return further * trust(FaceMeshModel(tensors))[:, None]


@dataclass
class Smiling:
    """Pairs of one portrait and what a rig makes of it; points are where a tracker sees them."""

    portrait: TrackedPortrait
    shows: FaceMeshRig
    tracks: FaceMeshModel

    def clip_pictures(self, random: np.random.Generator) -> Iterator[Picture]:
        seen = self.portrait
        first = Picture(image=seen.image, points=seen.points, person=seen.person)
        face = self.shows.take_apart(first.sighting, first.person)
        expression = face.fitted.parameters.expression.copy()
        expression[:3] += random.uniform(-1.5, 1.5, 3)
        shown = replace(face.fitted.parameters, expression=expression)
        condition = self.shows.condition(face, shown, face.appearance.lighting)
        points = self.tracks.pose(shown, self.tracks.fit(seen.points).residual)
        yield first
        yield Picture(image=condition.composite, points=points, person=condition.person_mask)


def test_what_skin_does_beyond_tracked_points_is_found(
    tensors: dict[str, Any], openpeople: list[Path]
) -> None:
    further = cheeks(tensors)
    plain = FaceMeshModel(tensors)
    shows = FaceMeshRig(FaceMeshModel({**tensors, "skin_motion": further}), FaceConfig(), 256)
    maker: Any = Smiling(portrait=tracked_portrait(openpeople[0]), shows=shows, tracks=plain)
    found = learn_skin_motion(maker, FaceMeshRig(plain, FaceConfig(), 256), 40)
    risen, wanted = found[0, list(CHEEKS), 1], further[0, list(CHEEKS), 1]
    np.testing.assert_allclose(risen, wanted, rtol=0.4)
    assert np.abs(found[1:3, list(CHEEKS), 1]).max() < 0.2 * np.abs(wanted).min()
    assert not found[:, NOT_TRUSTED].any()


def test_flow_of_turned_heads_is_told_apart_by_the_heads_axes() -> None:
    random = np.random.default_rng(1)
    wanted = random.normal(0, 0.01, (4, 9, 3))
    changes = random.normal(0, 1, (3000, 4)).astype(np.float32)
    turns = random.normal(0, 0.6, (3000, 3)).astype(np.float32)
    rotations = np.stack([matrix(turn) for turn in turns])
    moved = np.einsum("nab,ne,epb->npa", rotations, changes, wanted)[..., :2]
    noisy = (moved + random.normal(0, 0.01, moved.shape)).astype(np.float32)
    found = solve(SkinFlows(changes=changes, rotations=rotations, flows=noisy))
    np.testing.assert_allclose(found[..., :2], wanted[..., :2], atol=4e-3)
    assert np.corrcoef(found[..., 2].ravel(), wanted[..., 2].ravel())[0, 1] > 0.9


def test_lids_and_inner_lips_stay_where_they_are_tracked() -> None:
    trusted = trust(load_head_model())
    assert not trusted[NOT_TRUSTED].any()
    assert trusted[list(CHEEKS)].min() == 1
