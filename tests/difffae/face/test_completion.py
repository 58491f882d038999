"""Holes are filled with what is around them."""

import numpy as np
import pytest

from difffae.arrays import ImageU8, MaskU8
from difffae.face import completion
from difffae.face.completion import complete


def stripes(height: int, width: int, period: int = 8) -> ImageU8:
    """Upright stripes, dark and bright."""
    bright = (np.arange(width) // (period // 2)) % 2 == 0
    row = np.where(bright[:, None], np.uint8([220, 200, 90]), np.uint8([20, 40, 60]))
    return np.ascontiguousarray(np.broadcast_to(row, (height, width, 3)))


def square_hole(height: int, width: int, side: int) -> MaskU8:
    hole = np.zeros((height, width), np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    hole[top : top + side, left : left + side] = 1
    return hole


@pytest.mark.parametrize("size", [(64, 64), (128, 96), (200, 256)])
def test_stripes_go_on_through_a_hole(size: tuple[int, int]) -> None:
    image, hole = stripes(*size, period=16), square_hole(*size, side=24)
    spoilt = np.where(hole[..., None] > 0, np.uint8(255), image)
    filled = complete(spoilt, hole)
    wrong = np.abs(filled.astype(int) - image).mean(-1)[hole > 0]
    assert (wrong < 40).mean() > 0.9


def test_a_wall_stays_a_wall() -> None:
    image, hole = np.full((120, 90, 3), (120, 130, 140), np.uint8), square_hole(120, 90, 40)
    spoilt = np.where(hole[..., None] > 0, np.uint8(0), image)
    np.testing.assert_allclose(complete(spoilt, hole).astype(int), image, atol=1)


def test_what_is_outside_of_the_hole_stays() -> None:
    image = np.random.default_rng(0).integers(0, 256, (150, 300, 3), dtype=np.uint8)
    hole = square_hole(150, 300, 60)
    np.testing.assert_array_equal(complete(image, hole)[hole == 0], image[hole == 0])


def test_what_is_near_in_height_is_taken() -> None:
    """Sky above, grass below: a hole at the horizon does not fill with either alone."""
    image = np.full((128, 128, 3), (120, 170, 240), np.uint8)
    image[64:] = (60, 120, 30)
    hole = square_hole(128, 128, 50)
    filled = complete(np.where(hole[..., None] > 0, np.uint8(255), image), hole)
    wrong = np.abs(filled.astype(int) - image).mean(-1)[hole > 0]
    assert (wrong < 20).mean() > 0.9


def test_the_same_picture_is_filled_alike() -> None:
    image = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    hole = square_hole(128, 128, 40)
    np.testing.assert_array_equal(complete(image, hole), complete(image, hole))


def test_no_hole_no_change() -> None:
    image = stripes(40, 40)
    np.testing.assert_array_equal(complete(image, np.zeros((40, 40), np.uint8)), image)


@pytest.mark.parametrize("size", [(5, 5), (6, 60), (40, 40)])
def test_where_little_is_known_it_is_smooth(size: tuple[int, int]) -> None:
    image, hole = np.full((*size, 3), 200, np.uint8), np.ones(size, np.uint8)
    hole[:, :2] = 0
    filled = complete(np.where(hole[..., None] > 0, np.uint8(0), image), hole)
    np.testing.assert_allclose(filled.astype(int), image, atol=16)


def test_a_picture_that_is_all_hole_has_a_result() -> None:
    assert complete(stripes(30, 30), np.ones((30, 30), np.uint8)).shape == (30, 30, 3)


def test_patches_are_compared_alike_however_that_is_compiled() -> None:
    """Two processes that compile at once inline differently: by one bit, another patch is found."""
    random = np.random.default_rng(2)
    image = random.integers(0, 256, (40, 3 * 40)).astype(np.int32)
    trust = random.integers(1, 129, image.shape).astype(np.int32)
    rows = (image, trust, random.uniform(1e3, 1e4, (34, 34)))
    for here, there in random.integers(0, 34, (200, 2, 2)):
        places = (tuple(here), tuple(there), np.inf)
        assert completion._cost(rows, *places) == completion._cost.py_func(rows, *places)
