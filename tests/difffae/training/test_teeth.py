"""Teeth of many people, laid over each other."""

import logging
from pathlib import Path

import numpy as np
import pytest

from difffae.data.shards import ShardContents, ShardReader, encode_jpeg, write_shard
from difffae.face.facemesh import LOWER_LIP, UPPER_LIP, FaceMeshModel
from difffae.face.teeth import TEETH_SHAPE, TEETH_WIDTHS
from difffae.training.teeth import Smile, laid_over_each_other, learn_teeth
from face_media import load_head_model

SIDE = 256
SCALE = 60.0
EDGES = np.array([0, 0.118, 0.208, 0.293])
CENTRES = np.array([0.06, 0.163, 0.25])


@pytest.fixture(scope="module")
def head_model() -> FaceMeshModel:
    return load_head_model()


def toothed(at: np.ndarray) -> np.ndarray:
    """Logarithm of luma at places that are so far from the teeth's middle [head units]."""
    lines = np.concatenate([-EDGES, EDGES[1:]])
    dark = np.exp(-0.5 * ((at[..., None] - lines) / 0.012) ** 2).sum(-1)
    return np.asarray(0.05 - 0.3 * dark, np.float32)


def smile(shift: float, size: float) -> Smile:
    detail = np.tile(toothed((TEETH_WIDTHS - shift) / size), (TEETH_SHAPE[0], 1))
    return Smile(detail=detail, weight=np.ones(TEETH_SHAPE, np.float32))


def at(relief: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.interp(places, TEETH_WIDTHS, relief[4])


def test_shifted_and_larger_teeth_come_to_lie_over_each_other() -> None:
    random = np.random.default_rng(0)
    people = [smile(*random.uniform((-0.04, 0.9), (0.04, 1.12))) for _ in range(12)]
    relief = laid_over_each_other(people)
    assert relief is not None
    assert relief.shape == TEETH_SHAPE
    assert relief.dtype == np.float32
    # A mean without that is flat: the incisors' edges of one are the middle of another's teeth.
    blurred = np.mean([each.detail for each in people], axis=0)
    depth, flat = (at(x, CENTRES[:2]).mean() - at(x, EDGES[:3]).mean() for x in (relief, blurred))
    assert depth > 0.25
    assert depth > 2 * flat
    np.testing.assert_allclose(relief, relief[:, ::-1], atol=1e-6)


def test_what_are_no_teeth_give_no_relief() -> None:
    plain = Smile(detail=np.zeros(TEETH_SHAPE, np.float32), weight=np.ones(TEETH_SHAPE, np.float32))
    assert laid_over_each_other([plain]) is None


def frames(folder: Path, head_model: FaceMeshModel, *, gap: float) -> ShardReader:
    """One picture of a smile that shows teeth where it is open."""
    points = np.concatenate([head_model.mean, np.zeros((10, 3), np.float32)])
    points[list(LOWER_LIP)] = points[list(UPPER_LIP)]
    points[list(UPPER_LIP + LOWER_LIP), 0] *= np.float32(1.3)
    points[list(LOWER_LIP[1:-1]), 1] += np.float32(gap)
    points = np.asarray(points * SCALE + SIDE / 2, np.float32)
    image = np.full((SIDE, SIDE, 3), (200, 150, 120), np.uint8)
    top, bottom = int(points[UPPER_LIP[0], 1]) - 12, int(points[14, 1]) + 4
    across = (np.arange(SIDE) + 0.5 - SIDE / 2) / SCALE - head_model.mean[2, 0]
    image[top:bottom] = np.clip(np.exp(toothed(across)) * 190, 0, 255)[:, None]
    folder.mkdir()
    write_shard(
        folder / "frames-0.safetensors",
        ShardContents(
            pictures={"image": [encode_jpeg(image)]},
            arrays={"points": points[None]},
            labels={"person": ["a"], "clip": ["a"]},
        ),
    )
    return ShardReader(folder, "frames")


def test_a_relief_is_learned_from_pictures(tmp_path: Path, head_model: FaceMeshModel) -> None:
    learned = learn_teeth(frames(tmp_path / "shards", head_model, gap=0.2), head_model)
    assert learned is not None
    assert at(learned, CENTRES[:2]).min() > at(learned, EDGES[:3]).max() + 0.15


def test_frames_without_teeth_teach_none(
    tmp_path: Path, head_model: FaceMeshModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert learn_teeth(frames(tmp_path / "shards", head_model, gap=0.01), head_model) is None
    assert "paints them as one band" in caplog.text
