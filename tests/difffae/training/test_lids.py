"""The mean look of lids."""

import logging
from pathlib import Path

import numpy as np
import pytest

from difffae.data.shards import ShardContents, ShardReader, encode_jpeg, write_shard
from difffae.face.facemesh import EYE_RINGS, FaceMeshModel
from difffae.face.lids import LID_GAPS, LID_SHAPE
from difffae.training.lids import learn_lids
from face_media import load_head_model

SIDE = 256
SCALE = 60.0
SKIN = np.array([200, 150, 120], np.uint8)
LASHES, LID = 5, 11  # rows: at the lower lid's edge, and above the crease


@pytest.fixture(scope="module")
def head_model() -> FaceMeshModel:
    return load_head_model()


def opened(head_model: FaceMeshModel, gap: float) -> np.ndarray:
    """The mean face [px], both eyes open by so many head units."""
    points = np.concatenate([head_model.mean, np.zeros((10, 3), np.float32)]) * SCALE + SIDE / 2
    for ring in EYE_RINGS:
        upper, lower = list(ring[1:8]), list(ring[:8:-1])
        points[upper] = points[lower] - np.float32([0, gap * SCALE, 0])
    return np.asarray(points, np.float32)


def pictured(points: np.ndarray, share: float) -> np.ndarray:
    """Skin, with a line of so much of its colour where the lids are."""
    image = np.broadcast_to(SKIN, (SIDE, SIDE, 3)).copy()
    for ring in EYE_RINGS:
        lids = points[list(ring)]
        top, bottom = int(lids[1:8, 1].min()) - 2, int(lids[9:, 1].max()) + 3
        left, right = int(lids[:, 0].min()) - 3, int(lids[:, 0].max()) + 4
        image[top:bottom, left:right] = np.rint(share * SKIN)
    return image


def shards(folder: Path, frames: list[tuple[np.ndarray, np.ndarray]], people: str) -> ShardReader:
    folder.mkdir()
    write_shard(
        folder / "frames-0.safetensors",
        ShardContents(
            pictures={"image": [encode_jpeg(image) for _, image in frames]},
            arrays={"points": np.stack([points for points, _ in frames])},
            labels={"person": list(people), "clip": list(people)},
        ),
    )
    return ShardReader(folder, "frames")


def test_each_gap_has_the_lids_of_eyes_that_are_so_far_open(
    tmp_path: Path, head_model: FaceMeshModel
) -> None:
    looks = ((0.0, 0.3), (LID_GAPS[-1], 0.7))
    frames = [
        (points, pictured(points, share))
        for points, share in ((opened(head_model, gap), share) for gap, share in looks)
    ]
    learned = learn_lids(shards(tmp_path / "shards", frames, "ab"), head_model)
    assert learned is not None
    assert learned.shape == (len(LID_GAPS), *LID_SHAPE, 3)
    assert learned.dtype == np.float32
    np.testing.assert_allclose(learned[0, LASHES, 5:12], 0.3**1.2, atol=0.05)
    np.testing.assert_allclose(learned[-1, LASHES, 5:12], 0.7**1.2, atol=0.05)
    np.testing.assert_allclose(learned[:, [0, -1], 5:12], 1, atol=0.1)


def test_a_person_weighs_as_the_root_of_their_frames(
    tmp_path: Path, head_model: FaceMeshModel
) -> None:
    points = opened(head_model, 0)
    frames = [(points, pictured(points, share)) for share in (0.3, 0.3, 0.3, 0.3, 0.6)]
    learned = learn_lids(shards(tmp_path / "shards", frames, "aaaab"), head_model)
    assert learned is not None
    wanted = np.exp(1.2 * (2 * np.log(0.3) + np.log(0.6)) / 3)
    np.testing.assert_allclose(learned[0, LASHES, 5:12].mean(), wanted, atol=0.03)


def test_without_a_closed_eye_nothing_is_learned_and_that_is_said(
    tmp_path: Path, head_model: FaceMeshModel, caplog: pytest.LogCaptureFixture
) -> None:
    points = opened(head_model, 0.13)
    reader = shards(tmp_path / "shards", [(points, pictured(points, 0.5))], "a")
    with caplog.at_level(logging.WARNING):
        assert learn_lids(reader, head_model) is None
    assert "1 frames without a closed eye" in caplog.text
