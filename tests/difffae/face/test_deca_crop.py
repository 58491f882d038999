"""DECA's crop: its box, its pixels, and the exact way from one picture to the other."""

import numpy as np
import pytest
from skimage.transform import SimilarityTransform, warp

from difffae.face.crop import CropBox
from difffae.face.deca_crop import cut, deca_box
from face_media import TrackedPortrait


@pytest.fixture
def picture() -> np.ndarray:
    """A smooth picture, so that interpolation is told from misplacement."""
    y, x = np.mgrid[:300, :400].astype(np.float64)
    channels = [
        128 + 100 * np.sin(x / 23 + y / 31),
        128 + 100 * np.cos(x / 19 - y / 27),
        x / 400 * 255,
    ]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)


def mesh_points(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """All mesh points in the middle, but an ear, a brow, the other ear and the chin."""
    points = np.zeros((478, 3), np.float32)
    points[:, :2] = (left + right) / 2, (top + bottom) / 2
    points[234, 0], points[454, 0], points[105, 1], points[152, 1] = left, right, top, bottom
    return points


def decas_transform(left: float, top: float, right: float, bottom: float) -> SimilarityTransform:
    """DECA's own map from picture to crop, for indices of pixels (kpt68 convention).

    Our points count from the picture's corner, indices from the first pixel's centre.
    """
    size = int(((right - left) + (bottom - top)) / 2 * 1.1 * 1.25)
    corner = np.array([(left + right) / 2 - 0.5 - size / 2, (top + bottom) / 2 - 0.5 - size / 2])
    start = corner + np.array([[0, 0], [0, size], [size, 0]])
    return SimilarityTransform.from_estimate(start, np.array([[0, 0], [0, 223], [223, 0]]))


FACE = (120.5, 70.25, 250.0, 231.75)


def test_the_crop_is_the_one_decas_transform_cuts(picture: np.ndarray) -> None:
    got = cut(picture, deca_box(mesh_points(*FACE)))
    inverse = decas_transform(*FACE).inverse
    expected = warp(picture / 255, inverse, output_shape=(224, 224)) * 255
    assert expected.std() > 40
    assert np.abs(got - expected).max() < 2.5
    assert np.abs(got - expected).mean() < 0.5


def test_points_go_where_decas_transform_takes_them() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(0, 300, (50, 2)), np.zeros((50, 1))], -1)
    got = deca_box(mesh_points(*FACE)).to_crop(points.astype(np.float32), 224)
    expected = decas_transform(*FACE)(points[:, :2] - 0.5) + 0.5
    np.testing.assert_allclose(got[:, :2], expected, atol=1e-3)


def test_points_come_back_from_the_crop() -> None:
    box = deca_box(mesh_points(*FACE))
    points = np.random.default_rng(1).uniform(0, 300, (50, 3)).astype(np.float32)
    np.testing.assert_allclose(box.to_picture(box.to_crop(points, 224), 224), points, atol=1e-3)


def test_a_pixel_of_the_picture_stays_on_its_point(picture: np.ndarray) -> None:
    picture[:] = 0
    picture[150:153, 200:203] = 255
    box = CropBox(left=101.3, top=52.7, size=180.0)
    lit = cut(picture, box)[..., 0].astype(np.float64)
    y, x = np.mgrid[:224, :224] + 0.5
    centre = np.array([[(x * lit).sum(), (y * lit).sum(), 0]]) / lit.sum()
    np.testing.assert_allclose(
        box.to_picture(centre.astype(np.float32), 224)[0, :2], [201.5, 151.5], atol=0.05
    )


def test_outside_the_picture_the_crop_is_black(picture: np.ndarray) -> None:
    crop = cut(np.full_like(picture, 200), CropBox(left=-100.0, top=-50.0, size=224.0))
    assert (crop[:49] == 0).all()
    assert (crop[:, :99] == 0).all()
    assert (crop[51:, 101:] == 200).all()


def test_the_box_of_a_real_face_holds_brows_chin_and_ears(tracked: TrackedPortrait) -> None:
    box = deca_box(tracked.points)
    crop_points = box.to_crop(tracked.points, 224)
    seen = crop_points[[234, 454, 105, 334, 152], :2]
    assert seen.min() > 0.04 * 224
    assert seen.max() < 0.96 * 224
    chin, brow = crop_points[152, 1], crop_points[105, 1]
    # FAN's box of DECA's examples: brow to chin is about two thirds of the crop.
    assert 0.55 * 224 < chin - brow < 0.8 * 224
