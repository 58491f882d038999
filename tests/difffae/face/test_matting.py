"""The matte and the person's colours, on pictures whose true ones are known."""

import cv2
import numpy as np

from difffae.arrays import ImageU8, MaskF32
from difffae.face.matting import foreground_colours, refine_matte

SIDE = 200
PERSON, BEHIND = np.float32([40, 30, 20]), np.float32([160, 150, 170])


def _soft_disc() -> MaskF32:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(rows - SIDE / 2, columns - SIDE / 2)
    strands = 4 * np.sin(24 * np.arctan2(rows - SIDE / 2, columns - SIDE / 2))
    return np.clip((60 + strands - distance) / 3, 0, 1).astype(np.float32)


def _picture(matte: MaskF32) -> ImageU8:
    mixed = matte[..., None] * PERSON + (1 - matte[..., None]) * BEHIND
    return np.rint(mixed).astype(np.uint8)


def _coarse(matte: MaskF32) -> MaskF32:
    return cv2.GaussianBlur(matte, (0, 0), 5)


def test_a_matte_finds_strands_that_the_segmentation_blurs() -> None:
    true = _soft_disc()
    matte = refine_matte(_picture(true), _coarse(true))
    assert np.abs(matte - true).mean() < 0.3 * np.abs(_coarse(true) - true).mean()


def test_a_matte_of_an_empty_picture_is_empty_and_of_a_full_one_full() -> None:
    picture = _picture(_soft_disc())
    assert refine_matte(picture, np.zeros((SIDE, SIDE), np.float32)).max() == 0
    assert refine_matte(picture, np.ones((SIDE, SIDE), np.float32)).min() == 1


def test_where_colours_say_nothing_the_segmentation_decides() -> None:
    coarse = _coarse(_soft_disc())
    matte = refine_matte(np.full((SIDE, SIDE, 3), 90, np.uint8), coarse)
    assert np.abs(matte - coarse).mean() < 0.03


def test_a_persons_colours_are_free_of_the_background_along_the_border() -> None:
    true = _soft_disc()
    picture = _picture(true)
    own = foreground_colours(picture, true)
    border = (true > 0.3) & (true < 0.9)
    assert np.abs(picture[border] - PERSON).mean() > 40
    assert np.abs(own[border] - PERSON).mean() < 8


def test_a_large_picture_keeps_its_size() -> None:
    true = cv2.resize(_soft_disc(), (1500, 1100))
    assert refine_matte(_picture(true), _coarse(true)).shape == (1100, 1500)
