"""Two networks that segment people, and what counts where they disagree."""

from types import SimpleNamespace

import numpy as np
import pytest

from difffae.face.mediapipe import PersonSegmenter

SIDE = 100


def segmenter(fine: np.ndarray, right: np.ndarray) -> PersonSegmenter:
    """One whose networks say this of every picture."""

    def says(mask: np.ndarray) -> SimpleNamespace:
        answer = SimpleNamespace(segmentation_mask=mask.astype(np.float32))
        return SimpleNamespace(process=lambda _: answer)

    made = PersonSegmenter()
    made._models = [says(fine), says(right)]
    return made


def seen(fine: np.ndarray, right: np.ndarray) -> np.ndarray:
    return segmenter(fine, right).segment(np.zeros((SIDE, SIDE, 3), np.uint8))


def band(first: int, end: int) -> np.ndarray:
    """1 in these columns."""
    columns = np.arange(SIDE)
    return np.tile((columns >= first) & (columns < end), (SIDE, 1)).astype(np.float32)


@pytest.mark.parametrize("says", [0.0, 1.0])
def test_where_the_two_disagree_the_second_decides(says: float) -> None:
    whole = np.ones((SIDE, SIDE))
    mask = seen((1 - says) * whole, says * whole)
    np.testing.assert_allclose(mask, says, atol=1e-5)


def test_curls_beside_a_person_are_the_persons_and_a_wall_further_off_is_not() -> None:
    mask = seen(fine=band(30, 53) + band(70, 100), right=band(30, 51))
    assert mask[50, 51] > 0.9
    assert mask[50, 58:].max() < 0.01
    alone = seen(fine=0 * band(0, 1), right=band(30, 51))
    assert alone[50, 52] < mask[50, 52]


def test_where_both_doubt_so_does_the_mask() -> None:
    doubt = np.full((SIDE, SIDE), 0.5)
    np.testing.assert_allclose(seen(doubt, doubt), 0.5, atol=1e-5)
