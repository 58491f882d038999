"""Flicker of a still driver, and a codec's share of it."""

import numpy as np
import pytest

from difffae.figures.over_time import (
    NUM_STILL,
    Flicker,
    LongRun,
    flicker_table,
    long_run_table,
    still,
)


def test_a_still_camera_shows_its_noise_alone() -> None:
    picture = np.full((48, 64, 3), 128, np.uint8)
    clean, noisy = (list(still(picture, noise)) for noise in (0.0, 3.0))
    assert len(clean) == len(noisy) == NUM_STILL
    assert all((frame == picture).all() for frame in clean)
    stack = np.stack(noisy).astype(float)
    assert stack.std(0).mean() == pytest.approx(3, rel=0.1)
    assert stack.mean() == pytest.approx(128, abs=0.1)


def test_tables_have_means_over_drivers() -> None:
    rows = [
        Flicker(driver="a", noise=0.0, before=0.1, after=0.2),
        Flicker(driver="b", noise=0.0, before=0.3, after=0.4),
        Flicker(driver="a", noise=3.0, before=1.0, after=0.5),
    ]
    assert flicker_table(rows)[2:] == ["| 0 | 0.20 | 0.30 |", "| 3 | 1.00 | 0.50 |"]
    assert long_run_table([LongRun(portrait="P", first=0.9, last=0.8996)])[-1] == (
        "| P | 0.900 | 0.900 |"
    )
