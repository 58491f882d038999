"""The mean inside of open mouths."""

from pathlib import Path

import numpy as np
import pytest

from difffae.data.shards import ShardContents, ShardReader, encode_jpeg, write_shard
from difffae.face.facemesh import LOWER_LIP, UPPER_LIP, FaceMeshModel
from difffae.face.mouth import MOUTH_GAPS, MOUTH_SHAPE, MOUTH_WIDTHS, tint
from difffae.training.mouths import learn_mouth
from face_media import load_head_model

SIDE = 256
SCALE = 60.0
SKIN = 200


@pytest.fixture(scope="module")
def head_model() -> FaceMeshModel:
    return load_head_model()


def speaking(head_model: FaceMeshModel, gap: float) -> np.ndarray:
    points = np.concatenate([head_model.mean, np.zeros((10, 3), np.float32)]) * SCALE + SIDE / 2
    points[list(LOWER_LIP), 1] = points[list(UPPER_LIP), 1]
    points[list(LOWER_LIP[1:-1]), 1] += np.float32(gap * SCALE)
    return np.asarray(points, np.float32)


def written(folder: Path, frames: list[tuple[np.ndarray, np.ndarray]]) -> ShardReader:
    """One person a frame: points and picture."""
    folder.mkdir()
    count = range(len(frames))
    write_shard(
        folder / "frames-0.safetensors",
        ShardContents(
            pictures={"image": [encode_jpeg(image) for _, image in frames]},
            arrays={"points": np.stack([points for points, _ in frames])},
            labels={"person": [str(n) for n in count], "clip": ["a" for _ in count]},
        ),
    )
    return ShardReader(folder, "frames")


def shard(folder: Path, frames: list[tuple[np.ndarray, int]]) -> ShardReader:
    """Points, and the grey of what is between the lips."""
    pictures = []
    for points, grey in frames:
        image = np.full((SIDE, SIDE, 3), SKIN, np.uint8)
        top, bottom = points[13, 1], points[14, 1]
        image[int(top) - 3 : int(bottom) + 4] = grey
        pictures.append((points, image))
    return written(folder, pictures)


def test_each_gap_has_the_inside_of_the_mouths_that_are_so_far_open(
    tmp_path: Path, head_model: FaceMeshModel
) -> None:
    frames = [(speaking(head_model, gap), grey) for gap, grey in ((0.1, 40), (0.48, 120))]
    learned = learn_mouth(shard(tmp_path / "shards", frames), head_model)
    assert learned.shape == (len(MOUTH_GAPS), len(MOUTH_WIDTHS), *MOUTH_SHAPE, 3)
    inner = learned[:, 1, 2:-2, 6:15].mean((1, 2, 3))
    assert inner[1] == pytest.approx(40 / SKIN, abs=0.05)
    assert inner[5] == pytest.approx(120 / SKIN, abs=0.05)
    np.testing.assert_allclose(learned, learned[..., ::-1, :], atol=1e-6)


def toothed(folder: Path, head_model: FaceMeshModel, hidden: list[int]) -> ShardReader:
    """Mouths open alike: of the upper teeth so many rows are hidden; -1: all is grey."""
    points = speaking(head_model, 0.5)
    top, bottom = int(points[13, 1]), int(points[14, 1])
    pictures = []
    for rows in hidden:
        image = np.full((SIDE, SIDE, 3), SKIN, np.uint8)
        image[top - 3 : bottom + 4] = 120 if rows < 0 else 20
        if rows >= 0:
            image[top - 3 : top + 9 - rows] = SKIN
        pictures.append((points, image))
    return written(folder, pictures)


def test_mouths_that_show_teeth_before_dark_are_the_model_of_all(
    tmp_path: Path, head_model: FaceMeshModel
) -> None:
    learned = learn_mouth(toothed(tmp_path / "mud", head_model, [-1, 0, -1, -1]), head_model)
    column = learned[5, 1, :, MOUTH_SHAPE[1] // 2, 0]
    assert column[1] > 0.85
    assert column[6:].max() < 0.2


def test_teeth_that_end_at_different_heights_are_not_averaged_to_grey(
    tmp_path: Path, head_model: FaceMeshModel
) -> None:
    learned = learn_mouth(toothed(tmp_path / "edges", head_model, [0, 3, 1, 2]), head_model)
    column = learned[5, 1, :, MOUTH_SHAPE[1] // 2, 0]
    assert column[1] > 0.9
    assert column[6:].max() < 0.2
    assert ((column > 0.3) & (column < 0.8)).sum() <= 2


def wide(points: np.ndarray, width: float) -> np.ndarray:
    """The same with lips from corner to corner so wide [head units]."""
    lips = [*UPPER_LIP, *LOWER_LIP[1:-1]]
    left, right = points[[UPPER_LIP[0], UPPER_LIP[-1]], 0]
    points[lips, 0] = (left + right) / 2 + width * SCALE / (right - left) * (
        points[lips, 0] - (left + right) / 2
    )
    return points


def test_lips_a_little_apart_show_teeth_if_they_smile_and_none_if_they_speak(
    tmp_path: Path, head_model: FaceMeshModel
) -> None:
    pictures = []
    for width in (0.7, 1.12):
        points = wide(speaking(head_model, 0.1), width)
        slit = slice(int(points[13, 1]) - 3, int(points[14, 1]) + 4)
        left, right = points[[UPPER_LIP[0], UPPER_LIP[-1]], 0].astype(int)
        for teeth in (30, 190):
            image = np.full((SIDE, SIDE, 3), SKIN, np.uint8)
            image[slit] = 20
            image[slit, left + 5 : right - 4] = teeth
            pictures.append((points, image))
    learned = learn_mouth(written(tmp_path / "slits", pictures), head_model)
    spoken, smiled = learned[1, [0, -1], 3:-3, 6:15].mean((1, 2, 3))
    assert spoken < 0.3
    assert smiled > 0.8


@pytest.mark.parametrize("skin", [(210, 160, 150), (110, 70, 55), (200, 165, 125)])
def test_teeth_are_shown_as_white_as_they_were_beside_the_same_skin(
    tmp_path: Path, head_model: FaceMeshModel, skin: tuple[int, int, int]
) -> None:
    points, teeth = speaking(head_model, 0.5), np.array([105, 100, 85])
    image = np.full((SIDE, SIDE, 3), skin, np.uint8)
    image[int(points[13, 1]) - 3 : int(points[14, 1]) + 4] = teeth
    learned = learn_mouth(written(tmp_path / "skin", [(points, image)]), head_model)
    shown = learned[5, 1, 6, MOUTH_SHAPE[1] // 2] @ tint(np.float32(skin)).T
    np.testing.assert_allclose(shown, teeth, atol=8)


def test_closed_mouths_alone_are_refused(tmp_path: Path, head_model: FaceMeshModel) -> None:
    reader = shard(tmp_path / "shards", [(speaking(head_model, 0.0), 40)])
    with pytest.raises(ValueError, match="without an open mouth"):
        learn_mouth(reader, head_model)
