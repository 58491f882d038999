"""A face that has not moved is known by its pixels."""

import numpy as np
import pytest

from difffae.arrays import Points3
from difffae.face.glimpse import glimpse_of, looks_the_same

HEIGHT, WIDTH = 90, 120
FRAME = np.random.default_rng(0).integers(10, 240, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def face(left: float, top: float, side: float = 40) -> Points3:
    corners = [[left, top, 0], [left + side, top, 0], [left + side, top + side, 0]]
    return np.array(corners, np.float32)


@pytest.mark.parametrize("corner", [(30, 20), (-15, -10), (90, 60)])
def test_a_codecs_rounding_is_no_change_and_a_pixel_of_the_face_is(
    corner: tuple[float, float],
) -> None:
    last = glimpse_of(FRAME, face(*corner))
    rounded = FRAME + np.random.default_rng(1).integers(-5, 6, FRAME.shape)
    assert looks_the_same(rounded.astype(np.uint8), last)
    blinking = FRAME.copy()
    row, column = (
        int(np.clip(value + 20, 0, end - 1))
        for value, end in zip(corner[::-1], (HEIGHT, WIDTH), strict=True)
    )
    blinking[row, column] += 6
    assert not looks_the_same(blinking, last)


def test_in_the_dark_small_changes_are_motion() -> None:
    dark = FRAME // 16
    last = glimpse_of(dark, face(30, 20))
    assert looks_the_same(dark, last)
    moved = dark.copy()
    moved[40, 50] += 3
    assert not looks_the_same(moved, last)


def test_what_moves_beside_the_face_does_not_count() -> None:
    last = glimpse_of(FRAME, face(30, 20))
    other = FRAME.copy()
    other[:, 80:] = 0
    assert looks_the_same(other, last)


def test_the_next_frame_may_lie_where_the_last_one_was() -> None:
    memory = FRAME.copy()
    last = glimpse_of(memory, face(30, 20))
    memory[:] = 255 - FRAME
    assert not looks_the_same(memory, last)


@pytest.mark.parametrize("shape", [(HEIGHT + 2, WIDTH, 3), (WIDTH, HEIGHT, 3)])
def test_a_frame_of_another_size_is_another_picture(shape: tuple[int, ...]) -> None:
    last = glimpse_of(np.zeros_like(FRAME), face(30, 20))
    assert not looks_the_same(np.zeros(shape, np.uint8), last)


def test_nothing_was_seen_yet_or_the_face_is_outside() -> None:
    assert not looks_the_same(FRAME, None)
    assert not looks_the_same(FRAME, glimpse_of(FRAME, face(300, 20)))
