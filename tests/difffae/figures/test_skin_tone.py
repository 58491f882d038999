"""Groups of skin tone by colour."""

import numpy as np
import pytest

from difffae.figures.skin_tone import tone_group, typology_angle

POINTS = np.full((478, 3), 32, np.float32)


@pytest.mark.parametrize(
    ("colour", "group"),
    [
        ((240, 215, 200), "light"),
        ((192, 148, 114), "intermediate"),
        ((90, 60, 45), "brown or dark"),
    ],
)
def test_skin_is_grouped_by_how_light_it_looks(colour: tuple[int, ...], group: str) -> None:
    image = np.full((64, 64, 3), colour, np.uint8)
    assert tone_group(typology_angle(image, POINTS)) == group


def test_lighter_skin_has_a_larger_angle() -> None:
    angles = [
        typology_angle(np.full((64, 64, 3), (v, 0.75 * v, 0.6 * v), np.uint8), POINTS)
        for v in (80, 150, 230)
    ]
    assert angles == sorted(angles)
