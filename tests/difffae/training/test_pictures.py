"""What the stages' picture losses weigh."""

import numpy as np
import pytest
import torch

from difffae.training.pictures import features_area, importance

FIVE = np.array([[20, 24], [44, 24], [32, 34], [24, 44], [40, 44]], np.float32)


def test_eyes_and_mouth_count_most_whether_open_or_closed() -> None:
    area = features_area(FIVE, 64)
    assert area.shape == (1, 64, 64)
    for x, y in ((20, 24), (44, 24), (32, 44)):
        assert area[0, y, x] > 0.97
    assert area[0, 2, 2] < 1e-3
    weight = importance(torch.zeros(1, 3, 64, 64), torch.from_numpy(area)[None])
    assert float(weight.max()) == pytest.approx(3, rel=0.03)


def test_a_larger_face_has_larger_eyes() -> None:
    small, large = (features_area(FIVE * scale, 128).sum() for scale in (1, 2))
    assert large == pytest.approx(4 * small, rel=0.02)
