"""Crops: there and back again, borders, and the box of a portrait."""

import numpy as np
import pytest

from difffae.arrays import ImageU8, Points3
from difffae.face.crop import (
    FACE_TO_CROP,
    CropBox,
    box_around,
    crop,
    paste,
    portrait_box,
)
from face_media import TrackedPortrait


def noise(height: int, width: int, seed: int = 0) -> ImageU8:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def face_points(left: float, top: float, side: float) -> Points3:
    corners = [(left, top, 0), (left + side, top + side / 2, 3), (left, top + side, -2)]
    return np.array(corners, np.float32)


@pytest.mark.parametrize("box", [(10, 20, 128), (-30.5, 7.25, 91.5), (300, -80, 700)])
def test_points_come_back_from_the_crop_to_where_they_were(box: tuple[float, ...]) -> None:
    square = CropBox(left=box[0], top=box[1], size=box[2])
    points = np.random.default_rng(1).uniform(-50, 600, (478, 3)).astype(np.float32)
    back = square.to_picture(square.to_crop(points, 256), 256)
    np.testing.assert_allclose(back, points, atol=2e-3)


def test_corners_of_the_box_become_corners_of_the_crop() -> None:
    box = CropBox(left=10, top=20, size=128)
    points = np.array([(10, 20, 4), (138, 148, 0), (74, 20, -1)], np.float32)
    expected = np.array([(0, 0, 8), (256, 256, 0), (128, 0, -2)], np.float32)
    np.testing.assert_allclose(box.to_crop(points, 256), expected, atol=1e-4)


def test_pasting_an_unchanged_crop_gives_the_very_same_picture() -> None:
    image, box = noise(90, 120), CropBox(left=17, top=5, size=64)
    weight = np.random.default_rng(2).uniform(0, 1, (64, 64)).astype(np.float32)
    np.testing.assert_array_equal(paste(image, crop(image, box, 64), weight, box), image)


def test_pasting_replaces_by_weight_and_only_inside_the_box() -> None:
    image, box = noise(50, 60), CropBox(left=8, top=4, size=32)
    before = image.copy()
    patch = np.full((32, 32, 3), 200, np.uint8)
    weight = np.zeros((32, 32), np.float32)
    weight[:, 10:20], weight[:, 20:] = 0.25, 1.0
    result = paste(image, patch, weight, box)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(result[4:36, 28:40], 200)
    mixed = 0.75 * image[4:36, 18:28] + 50
    np.testing.assert_allclose(result[4:36, 18:28], mixed, atol=0.6)
    result[4:36, 18:40] = image[4:36, 18:40]
    np.testing.assert_array_equal(result, image)


def test_a_patch_of_another_size_than_the_box_is_refused() -> None:
    box = CropBox(left=0, top=0, size=32)
    with pytest.raises(ValueError, match=r"\(31, 31\).*\(32, 32\)"):
        paste(noise(40, 40), noise(31, 31), np.ones((31, 31), np.float32), box)


def test_a_crop_of_its_own_size_is_a_plain_cut() -> None:
    image = noise(90, 120)
    cut = crop(image, CropBox(left=30, top=11, size=64), 64)
    np.testing.assert_array_equal(cut, image[11:75, 30:94])


def test_pixels_outside_the_picture_repeat_its_border() -> None:
    image = noise(40, 50)
    cut = crop(image, CropBox(left=-6, top=-3, size=60), 60)
    expected = np.pad(image, ((3, 17), (6, 4), (0, 0)), mode="edge")
    np.testing.assert_array_equal(cut, expected)


def test_a_box_beside_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the 50x40 picture"):
        crop(noise(40, 50), CropBox(left=50, top=0, size=20), 32)


def test_shrinking_averages_pixels() -> None:
    image = noise(64, 64)
    means = image.reshape(32, 2, 32, 2, 3).astype(float).mean((1, 3))
    small = crop(image, CropBox(left=0, top=0, size=64), 32)
    np.testing.assert_allclose(small, means, atol=0.51)


@pytest.mark.parametrize("size", [64, 256])
def test_pixels_move_where_points_move(size: int) -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    image[80:88, 120:128] = 255
    box = CropBox(left=60, top=40, size=128)
    cut = crop(image, box, size)[..., 0].astype(float)
    rows, columns = np.indices(cut.shape) + 0.5
    centre = np.array([(columns * cut).sum(), (rows * cut).sum()]) / cut.sum()
    expected = box.to_crop(np.array([(124, 84, 0)], np.float32), size)[0, :2]
    np.testing.assert_allclose(centre, expected, atol=0.1)


def test_the_box_around_points_is_a_square_over_their_middle() -> None:
    box = box_around(np.array([(10, 100, 5), (50, 120, 9)], np.float32), factor=2.0)
    assert (box.left, box.top, box.size) == (-10, 70, 80)


def test_a_face_crop_of_256_pixels_is_taken_whole(tracked: TrackedPortrait) -> None:
    box = portrait_box(tracked.points, 256, 256)
    assert (box.left, box.top, box.size) == (0, 0, 256)
    np.testing.assert_array_equal(crop(tracked.image, box, 256), tracked.image)


@pytest.mark.parametrize(("side", "is_whole"), [(95, True), (80, False)])
def test_a_picture_hardly_larger_than_the_wanted_crop_is_taken_whole(
    side: float, is_whole: bool
) -> None:
    box = portrait_box(face_points(80, 70, side), 256, 256)
    assert (box == CropBox(left=0, top=0, size=256)) == is_whole
    assert box.size == (256 if is_whole else round(side * FACE_TO_CROP))


def test_a_portrait_box_is_the_face_with_hair_and_neck_around_it() -> None:
    box = portrait_box(face_points(400, 300, 100), 1000, 1000)
    assert box.size == round(100 * FACE_TO_CROP)
    assert (box.left + box.size / 2, box.top + box.size / 2) == (450, 350)


@pytest.mark.parametrize("corner", [(0, 0), (700, 20), (20, 500), (690, 480), (-20, 560)])
def test_a_portrait_box_has_whole_pixels_and_stays_inside(corner: tuple[float, float]) -> None:
    box = portrait_box(face_points(corner[0], corner[1], 90.7), 600, 800)
    assert all(float(value).is_integer() for value in (box.left, box.top, box.size))
    assert box.left >= 0
    assert box.top >= 0
    assert box.left + box.size <= 800
    assert box.top + box.size <= 600
