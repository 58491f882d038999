"""A small picture's hole is filled by patches, lines first."""

import numpy as np
import pytest

from difffae.arrays import MaskU8, ShadingF32
from difffae.face import region_filling
from difffae.face.region_filling import fill_region


def noise(height: int, width: int, seed: int = 0) -> ShadingF32:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.float32)


def hole_in(height: int, width: int, rows: slice, columns: slice) -> MaskU8:
    hole = np.zeros((height, width), np.uint8)
    hole[rows, columns] = 1
    return hole


def test_every_colour_in_the_hole_is_one_from_around_it() -> None:
    image, hole = noise(32, 40), hole_in(32, 40, slice(10, 22), slice(8, 30))
    filled, field = fill_region(image, hole)
    np.testing.assert_array_equal(filled[hole == 0], image[hole == 0])
    assert (field[hole == 0] == -1).all()
    rows, columns = field[hole > 0].T
    assert (hole[rows, columns] == 0).all()
    np.testing.assert_array_equal(filled[hole > 0], image[rows, columns])


@pytest.mark.parametrize("is_upright", [True, False])
def test_a_line_goes_on_through_a_hole(is_upright: bool) -> None:
    image = np.full((40, 40, 3), 200, np.float32)
    image[:, 18:22] = 30
    hole = hole_in(40, 40, slice(12, 28), slice(12, 28))
    if not is_upright:
        image = np.ascontiguousarray(image.transpose(1, 0, 2))
    spoilt = np.where(hole[..., None] > 0, np.float32(120), image)
    np.testing.assert_array_equal(fill_region(spoilt, hole)[0], image)


def test_holes_at_the_pictures_edges_are_filled() -> None:
    image, hole = np.full((30, 30, 3), 90, np.float32), hole_in(30, 30, slice(12, 30), slice(0, 18))
    spoilt = np.where(hole[..., None] > 0, np.float32(255), image)
    np.testing.assert_array_equal(fill_region(spoilt, hole)[0], image)


def test_what_is_given_stays_as_it_was() -> None:
    image, hole = noise(20, 20), hole_in(20, 20, slice(8, 12), slice(8, 12))
    before = image.copy(), hole.copy()
    fill_region(image, hole)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(hole, before[1])


def test_the_next_place_is_the_same_however_that_is_compiled() -> None:
    random = np.random.default_rng(3)
    hole = hole_in(24, 24, slice(6, 20), slice(4, 16))
    for _ in range(20):
        slopes = random.integers(0, 3000, (24, 24, 2)).astype(np.int32)
        sure = random.integers(0, 1025, (24, 24)).astype(np.int32)
        given = (slopes, hole, sure, region_filling._SHARES)
        assert region_filling._next(*given) == region_filling._next.py_func(*given)
