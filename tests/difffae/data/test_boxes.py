"""Boxes of clips and what is cut out of a picture by them."""

import numpy as np
import pytest

from difffae.data.boxes import Box, cut_out, middle_square, whole


def box(left: float, top: float, right: float, bottom: float) -> Box:
    return Box(left=left, top=top, right=right, bottom=bottom)


def test_overlap_is_intersection_over_union_of_areas() -> None:
    assert box(0, 0, 10, 10).overlap(box(5, 0, 15, 10)) == pytest.approx(50 / 150)
    assert box(0, 0, 10, 10).overlap(box(0, 0, 10, 10)) == 1
    assert box(0, 0, 10, 10).overlap(box(11, 0, 20, 10)) == 0
    assert box(0, 0, 10, 10).overlap(box(11, 11, 20, 20)) == 0  # two negative sides make no area


def test_the_square_is_fomms_box_grown_on_each_end_around_the_middle() -> None:
    assert box(10, 20, 50, 120).square(0.1) == box(-30, 10, 90, 130)


def test_a_square_is_moved_inside_and_shrunk_only_if_it_must_be() -> None:
    assert box(-20, 10, 80, 110).moved_inside(200, 100) == box(0, 0, 100, 100)
    assert box(150, -5, 230, 75).moved_inside(200, 100) == box(120, 0, 200, 80)
    assert box(50, -50, 250, 150).moved_inside(300, 100) == box(100, 0, 200, 100)


def test_share_within_tells_how_much_of_a_box_a_frame_has() -> None:
    assert box(0, 60, 100, 160).share_within(whole(200, 120)) == pytest.approx(0.6)


def test_the_middle_square_is_that_of_a_centre_crop() -> None:
    assert middle_square(176, 144) == box(16, 0, 160, 144)


def test_shrinking_averages_so_that_fine_stripes_turn_grey() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    small = cut_out(stripes, whole(256, 256), 64)
    assert small.shape == (64, 64, 3)
    assert np.abs(small.astype(int) - 127).max() <= 1


def test_shrinking_by_a_whole_factor_is_the_mean_of_each_block() -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3)).astype(np.uint8)
    small = cut_out(image, box(32, 0, 128, 96), 32)
    blocks = image[:, 32:].reshape(32, 3, 32, 3, 3).mean((1, 3))
    assert np.abs(small - blocks).max() <= 0.51


def test_a_box_that_is_not_square_is_stretched_and_trimmed_to_the_picture() -> None:
    y, x = np.mgrid[0:100, 0:200]
    image = np.stack([x, 2 * y, 0 * x], -1).astype(np.uint8)
    small = cut_out(image, box(100, 20, 200, 180), 50)  # 100 by 80 of it lie in the picture
    assert small[0, 0, 0] == pytest.approx(100.5, abs=1)
    assert small[-1, -1, 0] == pytest.approx(198.5, abs=1)
    assert small[-1, 0, 1] == pytest.approx(2 * 99.2 - 0.6, abs=2)


def test_a_box_beside_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the 20x10 picture"):
        cut_out(np.zeros((10, 20, 3), np.uint8), box(20, 0, 30, 10), 8)
