"""The edited crop laid back into the portrait."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from difffae.arrays import ImageU8, MaskF32
from difffae.face.crop import CropBox
from difffae.face.layers import Layers
from difffae.face.renderer import Condition
from difffae.face.warp import Warp
from difffae.generator import Generated
from difffae.paste_back import lay_into, paste_back
from plain_warp import plain_warp

SMALL, LARGE = 64, 192


def noise(side: int, seed: int = 0) -> ImageU8:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def person_mask() -> MaskF32:
    mask = np.zeros((SMALL, SMALL), np.float32)
    mask[24:, 26:38] = 1
    return mask


def resting_warp() -> Warp:
    """Nothing moves and the face covers nothing: the head layer is all."""
    rows, columns = np.indices((SMALL, SMALL))
    here = np.stack([columns, rows], -1).astype(np.float32)
    return plain_warp(here)


def condition(composite: ImageU8) -> Condition:
    none = np.zeros((SMALL, SMALL), np.float32)
    return Condition(
        composite=composite,
        face_mask=none,
        inside_mask=none,
        person_mask=person_mask(),
        warp=resting_warp(),
    )


def layers(portrait: ImageU8) -> Layers:
    size = portrait.shape[0]
    return Layers(
        portrait=portrait,
        person=np.ones((size, size), np.float32),
        plate=np.zeros_like(portrait),
        skin_colour=np.zeros(3, np.float32),
    )


def made(image: ImageU8, alpha: float) -> Generated:
    return Generated(image=image, alpha=np.full((SMALL, SMALL), alpha, np.float32))


def test_at_the_models_own_size_the_generated_crop_is_taken_as_it_is() -> None:
    image = noise(SMALL)
    patch, edited = paste_back(
        made(image, 0.3), condition(noise(SMALL, 1)), person_mask(), layers(noise(SMALL, 2))
    )
    np.testing.assert_array_equal(patch, image)
    assert edited[40, 32] == pytest.approx(1, abs=1e-3)
    assert edited[4, 4] == pytest.approx(0, abs=1e-3)


def test_where_networks_made_nothing_the_portraits_own_pixels_are_kept() -> None:
    composite, portrait = noise(SMALL, 1), noise(LARGE, 2)
    patch, _ = paste_back(
        made(composite, 0.0), condition(composite), person_mask(), layers(portrait)
    )
    inner = slice(2, -2)  # the outermost pixels of an enlarged map repeat their neighbours
    np.testing.assert_allclose(patch[inner, inner].astype(int), portrait[inner, inner], atol=2)


def test_where_networks_made_everything_their_picture_is_enlarged() -> None:
    image = np.asarray(cv2.GaussianBlur(noise(SMALL), (0, 0), 4))
    patch, _ = paste_back(
        made(image, 1.0), condition(noise(SMALL, 1)), person_mask(), layers(noise(LARGE, 2))
    )
    enlarged = cv2.resize(image, (LARGE, LARGE), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(patch.astype(int), enlarged, atol=2)


def test_the_person_before_and_after_the_motion_is_edited() -> None:
    source = np.zeros((SMALL, SMALL), np.float32)
    source[:10, :10] = 1
    _, edited = paste_back(
        made(noise(SMALL), 1.0), condition(noise(SMALL)), source, layers(noise(SMALL))
    )
    assert edited[3, 3] > 0.9
    assert edited[40, 32] > 0.9
    assert edited[3, 60] < 0.01


def test_only_edited_pixels_change_and_the_mask_says_which() -> None:
    image = np.full((100, 120, 3), 50, np.uint8)
    edited = np.zeros((SMALL, SMALL), np.float32)
    edited[20:44, 20:44] = 1
    box = CropBox(left=30, top=20, size=SMALL)
    result, mask = lay_into(image, np.full((SMALL, SMALL, 3), 200, np.uint8), edited, box)
    expected = np.zeros((100, 120), bool)
    expected[40:64, 50:74] = True
    np.testing.assert_array_equal(mask, np.where(expected, 255, 0))
    np.testing.assert_array_equal(result[~expected], 50)
    np.testing.assert_array_equal(result[expected], 200)


def test_a_patch_of_another_size_is_brought_to_the_boxs() -> None:
    image = np.full((150, 150, 3), 50, np.uint8)
    patch, edited = np.full((SMALL, SMALL, 3), 200, np.uint8), np.ones((SMALL, SMALL), np.float32)
    box = CropBox(left=10, top=10, size=128)
    result, mask = lay_into(image, patch, edited, box)
    np.testing.assert_array_equal(result[60:90, 60:90], 200)
    assert mask[60:90, 60:90].min() == 255
    assert mask[:10].max() == 0


def test_the_edit_fades_at_borders_inside_the_portrait_and_not_at_its_own() -> None:
    image = np.full((100, 140, 3), 50, np.uint8)
    patch, edited = np.full((100, 100, 3), 200, np.uint8), np.ones((100, 100), np.float32)
    result, _ = lay_into(image, patch, edited, CropBox(left=0, top=0, size=100))
    row = result[50, :, 0].astype(int)
    assert row[0] == 200
    assert result[0, 50, 0] == 200
    assert result[99, 50, 0] == 200
    assert 50 < row[99] < 80
    assert (np.diff(row[90:100]) <= 0).all()
    assert row[90] == 200


@pytest.mark.parametrize("seed", range(3))
def test_the_edit_reaches_as_far_as_a_disc_around_the_person_softened(seed: int) -> None:
    random = np.random.default_rng(seed)
    source = (random.random((SMALL, SMALL)) > 0.998).astype(np.float32)
    none = np.zeros((SMALL, SMALL), np.float32)
    alone = replace(condition(noise(SMALL)), person_mask=none)
    _, edited = paste_back(made(noise(SMALL), 1.0), alone, source, layers(noise(SMALL)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (25, 25))
    wanted = cv2.GaussianBlur(cv2.dilate(source, disc), (0, 0), 5.0)
    assert 0.1 < wanted.mean() < 0.9
    np.testing.assert_allclose(edited, wanted, rtol=0, atol=1e-6)


def test_where_the_condition_is_hidden_the_networks_picture_is_shown_whatever_alpha_says() -> None:
    hidden = np.zeros((SMALL, SMALL), np.float32)
    hidden[:, : SMALL // 2] = 1
    image = np.full((SMALL, SMALL, 3), 200, np.uint8)
    told = replace(condition(np.full((SMALL, SMALL, 3), 128, np.uint8)), hidden=hidden)
    portrait = np.full((LARGE, LARGE, 3), 30, np.uint8)
    patch, edited = paste_back(made(image, 0.0), told, person_mask(), layers(portrait))
    assert (patch[10:-10, 10 : LARGE // 2 - 10] == 200).all()
    assert (patch[10:-10, LARGE // 2 + 10 : -10] == 30).all()
    assert edited[10, 10] == 1
    assert edited[10, -10] < 0.01
