"""Which frames of a clip make a pair."""

import numpy as np
import pytest

from difffae.data.frame_choice import choose_frames, face_signals, usual_change
from difffae.face.facemesh import LIDS

NUM_FRAMES = 30


def shares(liveliness: float, turning: float = 0, *, odd: int = 0) -> tuple[float, float]:
    """How often a clip's one odd frame is in a pair, and how often both frames are the same."""
    signals = np.zeros((NUM_FRAMES, 6), np.float32)
    signals[7, odd] = 3
    random = np.random.default_rng(0)
    drawn = [choose_frames(signals, random, liveliness, turning) for _ in range(3000)]
    return np.mean([7 in pair for pair in drawn]), np.mean([a == b for a, b in drawn])


def test_without_liveliness_frames_are_drawn_evenly() -> None:
    odd, same = shares(0.0)
    assert odd == pytest.approx(2 / NUM_FRAMES, abs=0.02)
    assert same == 0


def test_a_frame_that_differs_is_drawn_as_much_likelier_as_its_squared_change_says() -> None:
    first, second = 1 / NUM_FRAMES, (1 - 1 / NUM_FRAMES) * 10 / (NUM_FRAMES - 2 + 10)
    odd, same = shares(1.0)
    assert odd == pytest.approx(first + second, abs=0.03)
    assert same == 0


def test_turning_asks_for_changes_of_pose_alone() -> None:
    lids, turned = shares(0.0, 1.0)[0], shares(0.0, 1.0, odd=4)[0]
    assert lids == pytest.approx(shares(0.0)[0])
    assert turned == pytest.approx(shares(1.0)[0])


def test_signals_tell_a_closed_eye_from_an_open_one_whatever_the_face_s_size() -> None:
    random = np.random.default_rng(1)
    points = random.uniform(40, 200, (1, 478, 3)).astype(np.float32)
    closed = points.copy()
    for up, low in LIDS[0]:
        closed[:, up] = closed[:, low]
    signals = face_signals(np.concatenate([points, 2 * points, closed]))
    np.testing.assert_allclose(signals[0], signals[1], rtol=1e-4)
    assert signals[2, 0] == 0
    assert signals[2, 1] == signals[0, 1] > 0


def test_usual_change_is_what_happens_within_clips() -> None:
    one = np.array([[0.0, 5.0], [2.0, 5.0]], np.float32)
    assert usual_change([one, one + 100]) == pytest.approx([1.0, 1e-4])
