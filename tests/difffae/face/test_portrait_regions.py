"""The four regions of a portrait, on a head drawn by hand."""

import numpy as np
import pytest

from difffae.face.portrait_regions import BACKGROUND, BODY, FACE, HEAD, portrait_regions

SIDE = 100
FIVE = np.array([[40, 35], [60, 35], [50, 45], [43, 55], [57, 55]], np.float32)


def boxed(*box: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.float32)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = 1
    return mask


def test_face_hair_clothes_and_background_are_where_they_were_drawn() -> None:
    regions = portrait_regions(boxed(35, 25, 65, 65), boxed(25, 10, 75, 100), FIVE)
    assert regions.sum(0) == pytest.approx(1)
    owner = regions.argmax(0)
    assert owner[45, 50] == FACE
    assert owner[15, 50] == HEAD  # above the face
    assert owner[45, 70] == HEAD  # beside it
    assert owner[80, 50] == BODY  # below the chin
    assert owner[45, 90] == BACKGROUND
    assert owner[5, 50] == BACKGROUND


def test_the_chin_line_turns_with_the_face() -> None:
    """A head on its side has its body at the side."""
    five = FIVE[:, ::-1].copy()  # eyes to the left of the mouth
    regions = portrait_regions(boxed(25, 35, 65, 65), boxed(5, 20, 100, 80), five)
    owner = regions.argmax(0)
    assert owner[50, 90] == BODY
    assert owner[25, 20] == HEAD
    assert owner[75, 20] == HEAD


def test_a_face_that_the_segmentation_missed_is_no_background() -> None:
    regions = portrait_regions(boxed(35, 25, 65, 65), boxed(0, 0, 0, 0), FIVE)
    assert regions[FACE, 45, 50] == 1
    assert regions[BACKGROUND, 45, 50] == 0
