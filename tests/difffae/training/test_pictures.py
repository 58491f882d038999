"""What the stages' picture losses weigh."""

import numpy as np
import pytest
import torch

from difffae.training.pictures import close_ups, features_area, importance

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


def test_a_close_up_shows_the_face_alone() -> None:
    image, weight = torch.full((2, 3, 64, 64), -1.0), torch.zeros(2, 1, 64, 64)
    image[0, :, 10:30, 30:50], weight[0, :, 10:30, 30:50] = 1.0, 1.0
    image[1, :, 40:50, 8:18], weight[1, :, 40:50, 8:18] = 1.0, 1.0
    near = close_ups(image, weight)
    assert near.shape == (2, 3, 160, 160)
    assert (near[:, :, 40:120, 40:120] > 0.99).all()
    assert (near[0] - near[1]).abs().mean() < 0.1


def test_a_picture_without_a_face_has_a_close_up() -> None:
    near = close_ups(torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32))
    assert near.isfinite().all()
