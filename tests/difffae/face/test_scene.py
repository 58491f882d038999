"""Pictures taken apart and put before other backgrounds."""

import numpy as np

from difffae.arrays import ImageU8, MaskF32
from difffae.face.crop import CropBox
from difffae.face.scene import Scene, before, cover, scene_layers, take_scene

HEIGHT, WIDTH = 120, 160
GREEN = np.zeros((HEIGHT, WIDTH, 3), np.uint8) + np.array([0, 255, 0], np.uint8)


def _person() -> MaskF32:
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[30:, 50:110] = 1
    return mask


def _picture() -> ImageU8:
    picture = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    picture[_person() > 0] = (120, 60, 40)
    return picture


def _scene() -> Scene:
    return take_scene(_picture(), _person())


def test_the_person_stays_and_all_behind_is_exchanged() -> None:
    changed = before(_scene(), GREEN).picture
    np.testing.assert_array_equal(changed[60:, 60:100], _picture()[60:, 60:100])
    np.testing.assert_array_equal(changed[:20], GREEN[:20])
    np.testing.assert_array_equal(changed[:, :40], GREEN[:, :40])


def test_the_plate_shows_no_person() -> None:
    assert np.abs(_scene().plate.astype(int) - 200).max() <= 4


def test_a_picture_covers_another_shape_from_its_middle_without_being_squeezed() -> None:
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = 255
    assert cover(wide, 50, 50).min() == 255
    assert cover(wide, 50, 150).shape == (50, 150, 3)
    tall = cover(wide, 300, 100)
    assert tall.shape == (300, 100, 3)
    assert tall.min() == 255


def test_layers_of_a_crop_are_what_the_scene_holds_there() -> None:
    scene = _scene()
    colour = np.float32([1, 2, 3])
    layers = scene_layers(scene, CropBox(left=40, top=20, size=80), 80, colour)
    np.testing.assert_array_equal(layers.portrait, scene.person[20:100, 40:120])
    np.testing.assert_array_equal(layers.plate, scene.plate[20:100, 40:120])
    np.testing.assert_allclose(layers.person, scene.matte[20:100, 40:120], atol=1 / 255)
    assert layers.skin_colour is colour
