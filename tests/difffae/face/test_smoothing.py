"""The One-Euro filter: steady, convergent, quick."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.face.parameters import Vector
from difffae.face.smoothing import SmoothingConfig, SmoothingState, smooth

CONFIG = SmoothingConfig()


def run(signal: Vector, config: SmoothingConfig = CONFIG) -> Vector:
    """The filtered values of a signal over time, (frames, n)."""
    state: SmoothingState | None = None
    values = []
    for measurement in signal:
        state = smooth(measurement.astype(np.float32), state, config)
        values.append(state.value)
    return np.stack(values)


def test_a_constant_signal_stays_what_it_is() -> None:
    constant = np.tile(np.array([1.5, -0.25, 30.0], np.float32), (20, 1))
    np.testing.assert_array_equal(run(constant), constant)


def test_the_first_measurement_passes_unchanged_and_at_rest() -> None:
    state = smooth(np.array([3.0, -7.0], np.float32), None, CONFIG)
    np.testing.assert_array_equal(state.value, [3.0, -7.0])
    np.testing.assert_array_equal(state.speed, [0.0, 0.0])


def test_the_second_measurement_follows_the_papers_equations() -> None:
    config = SmoothingConfig(
        min_cutoff_hz=1.0, beta=0.5, derivative_cutoff_hz=2.0, frame_rate_hz=10.0
    )

    def share(cutoff_hz: float) -> float:
        return 1 / (1 + 10.0 / (2 * np.pi * cutoff_hz))

    speed = share(2.0) * 0.3 * 10.0
    value = 1.0 + share(1.0 + 0.5 * speed) * 0.3
    start = smooth(np.array([1.0], np.float32), None, config)
    state = smooth(np.array([1.3], np.float32), start, config)
    assert state.speed[0] == pytest.approx(speed, rel=1e-5)
    assert state.value[0] == pytest.approx(value, rel=1e-5)


def test_a_step_is_reached_without_going_beyond_it() -> None:
    signal = np.concatenate([np.zeros((5, 1)), np.ones((60, 1))]).astype(np.float32)
    values = run(signal)[5:, 0]
    assert np.all(np.diff(values) >= 0)
    assert 0 < values[0] < 1
    assert values[-1] == pytest.approx(1, abs=1e-3)


def test_noise_around_a_still_signal_becomes_smaller() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, (400, 3)).astype(np.float32)
    steady = run(noise, SmoothingConfig(min_cutoff_hz=1.0, beta=0.5))
    assert steady.std() < 0.6 * noise.std()
    assert abs(float(steady.mean())) < 0.01
    assert steady.std() < run(noise).std() < noise.std()


def test_a_fast_motion_lags_less_than_in_a_filter_blind_to_speed() -> None:
    ramp = np.linspace(0, 40, 80, dtype=np.float32)[:, None]
    lag = np.abs(run(ramp) - ramp)[40:].mean()
    blind = np.abs(run(ramp, replace(CONFIG, beta=0.0)) - ramp)[40:].mean()
    assert lag < 0.5 * blind


def test_each_signal_is_filtered_on_its_own() -> None:
    random = np.random.default_rng(1)
    both = random.normal(size=(30, 2)).astype(np.float32)
    np.testing.assert_allclose(run(both)[:, :1], run(both[:, :1]), rtol=1e-6)


def test_one_number_goes_from_quick_over_the_default_to_steady() -> None:
    quick, middle, steady = (SmoothingConfig.of(value) for value in (0.0, 0.5, 1.0))
    assert middle == SmoothingConfig()
    start, jump = np.zeros(1, np.float32), np.ones(1, np.float32)
    passed = []
    for config in (quick, middle, steady):
        state = smooth(start, None, config)
        passed.append(float(smooth(jump, state, config).value[0]))
    assert passed[0] > passed[1] > passed[2] > 0
