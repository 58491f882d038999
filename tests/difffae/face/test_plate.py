"""What lies behind a person."""

import cv2
import numpy as np
import pytest

from difffae.arrays import MaskF32
from difffae.face.plate import background_plate, enlarged_plate, smooth_plate
from difffae.face.source_face import PaintOut

SIZE = 96


@pytest.fixture
def person() -> MaskF32:
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[40:, 36:60] = 1
    return mask


@pytest.mark.parametrize("paint_out", [background_plate, smooth_plate])
def test_the_person_is_painted_out_of_the_plate(person: MaskF32, paint_out: PaintOut) -> None:
    image = np.full((SIZE, SIZE, 3), (30, 90, 160), np.uint8)
    image[person > 0] = (240, 200, 180)
    plate = paint_out(image, person)
    np.testing.assert_allclose(plate.astype(int), np.full_like(image, (30, 90, 160)), atol=3)


@pytest.mark.parametrize("paint_out", [background_plate, smooth_plate])
def test_the_plate_keeps_pixels_away_from_the_person(person: MaskF32, paint_out: PaintOut) -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    plate = paint_out(image, person)
    np.testing.assert_array_equal(plate[:20], image[:20])
    np.testing.assert_array_equal(plate[:, :15], image[:, :15])


def test_a_plate_without_a_person_is_the_picture() -> None:
    image = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    plate = background_plate(image, np.zeros((SIZE, SIZE), np.float32))
    np.testing.assert_array_equal(plate, image)


def test_an_enlarged_plate_has_the_large_picture_around_the_person(person: MaskF32) -> None:
    small = np.full((SIZE, SIZE, 3), (30, 90, 160), np.uint8)
    small[person > 0] = (240, 200, 180)
    large = np.random.default_rng(2).integers(0, 256, (3 * SIZE, 3 * SIZE, 3), dtype=np.uint8)
    mask = np.asarray(cv2.resize(person, (3 * SIZE, 3 * SIZE)), np.float32)
    plate = enlarged_plate(background_plate(small, person), large, mask)
    np.testing.assert_array_equal(plate[:60], large[:60])
    inside = plate[200:260, 130:160].astype(int)
    np.testing.assert_allclose(inside, np.full_like(inside, (30, 90, 160)), atol=3)
