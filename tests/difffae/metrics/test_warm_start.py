"""Warm starts measured: the drivers, and what the figures say of a random model's frames."""

from pathlib import Path

import numpy as np
import pytest

from difffae.data.split import read_frames
from difffae.loading import load_pipeline
from difffae.metrics.warm_start import Judge, compare, still, there_and_back
from evaluation_media import portrait_256
from random_model import write_random_model


def test_the_moving_driver_runs_there_and_back_without_a_cut() -> None:
    frames = [np.full((2, 2, 3), shade, np.uint8) for shade in range(4)]
    shown = [int(frame[0, 0, 0]) for frame in there_and_back(frames, 9)]
    assert shown == [0, 1, 2, 3, 2, 1, 0, 1, 2]


def test_the_still_driver_is_one_picture_under_fresh_noise() -> None:
    frame = np.full((64, 64, 3), 128, np.uint8)
    first, second = still(frame, 2)
    assert (first != second).any()
    assert abs(float(first.mean()) - 128) < 0.2
    assert float(first.std()) == pytest.approx(2.0, abs=0.1)


def test_every_way_paints_the_same_frames_and_cold_is_its_own_measure(
    tmp_path: Path, carphone: Path
) -> None:
    pipeline = load_pipeline(write_random_model(tmp_path), runtime="eager")
    portrait = portrait_256()
    source, frames = pipeline.encode_source(portrait), list(read_frames(carphone))[:4]
    judge = Judge(None, portrait)
    cold, warm = compare(pipeline, source, frames, (1,), judge)
    assert (cold.name, warm.name) == ("1 step, cold", "1 step, warm")
    assert cold.driver_change == warm.driver_change > 0
    assert (cold.first_apart, cold.last_apart) == (0, 0)
    assert warm.last_apart > 0
    assert cold.flicker > 0
    assert np.isnan(cold.first_identity)
    with pytest.raises(ValueError, match="2 frames or more"):
        compare(pipeline, source, frames[:1], (1,), judge)
