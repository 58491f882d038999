"""One picture over another."""

import numpy as np

from difffae.face.blending import lay_over

RANDOM = np.random.default_rng(0)
BELOW, ABOVE = RANDOM.integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)


def test_a_pixel_is_as_much_of_the_upper_picture_as_its_share_says() -> None:
    share = RANDOM.random((40, 50)).astype(np.float32)
    mixed = BELOW.copy()
    lay_over(mixed, ABOVE, share)
    wanted = BELOW + share[..., None].astype(float) * (ABOVE.astype(float) - BELOW)
    assert np.abs(mixed - wanted).max() <= 0.5 + 1e-4


def test_nothing_and_all_leave_the_very_pixels() -> None:
    share = np.zeros((40, 50), np.float32)
    share[10:, 20:] = 1
    mixed = BELOW.copy()
    lay_over(mixed, ABOVE, share)
    np.testing.assert_array_equal(mixed, np.where(share[..., None] > 0, ABOVE, BELOW))


def test_a_part_of_a_picture_can_be_laid_over() -> None:
    picture = BELOW.copy()
    part = (slice(5, 15), slice(30, 50))
    lay_over(picture[part], ABOVE[part], np.ones((10, 20), np.float32))
    wanted = BELOW.copy()
    wanted[part] = ABOVE[part]
    np.testing.assert_array_equal(picture, wanted)
