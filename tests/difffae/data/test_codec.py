"""Frames through a call's codec."""

import numpy as np

from difffae.data.codec import through_codec
from difffae.metrics.image import mean_change


def test_a_codec_keeps_size_number_and_picture() -> None:
    rows, columns = np.indices((48, 64))
    picture = np.stack([rows * 5, columns * 4, rows + columns], -1).astype(np.uint8)
    frames = list(through_codec([picture] * 10, (64, 48)))
    assert len(frames) == 10
    assert all(frame.shape == picture.shape for frame in frames)
    assert mean_change(frames[-1], picture) < 4
