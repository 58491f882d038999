"""Two networks that segment people, and what counts where they disagree."""

from types import SimpleNamespace

import numpy as np
import pytest

from difffae.face.mediapipe import PersonSegmenter


def segmenter(fine: float, right: float) -> PersonSegmenter:
    """One whose networks say the same of every pixel."""

    def says(value: float) -> SimpleNamespace:
        answer = SimpleNamespace(segmentation_mask=np.full((32, 48), value, np.float32))
        return SimpleNamespace(process=lambda _: answer)

    made = PersonSegmenter()
    made._models = [says(fine), says(right)]
    return made


@pytest.mark.parametrize("says", [0.0, 1.0])
def test_where_the_two_disagree_the_second_decides(says: float) -> None:
    mask = segmenter(1 - says, says).segment(np.zeros((32, 48, 3), np.uint8))
    assert mask.shape == (32, 48)
    np.testing.assert_allclose(mask, says, atol=1e-5)


def test_where_both_doubt_so_does_the_mask() -> None:
    mask = segmenter(0.5, 0.5).segment(np.zeros((32, 48, 3), np.uint8))
    np.testing.assert_allclose(mask, 0.5, atol=1e-5)
