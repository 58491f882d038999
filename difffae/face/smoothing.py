"""One-Euro filter (Casiez et al. 2012): steady when still, quick when moving; a pure function."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from difffae.face.parameters import Vector

_STEADINESS_RANGE = 6.0  # how many times the default's cutoff the quickest setting has


@dataclass(frozen=True, kw_only=True)
class SmoothingConfig:
    """Settings of the filter, for signals measured in units of their usual change.

    Attributes:
        min_cutoff_hz: cutoff for a signal that stands still; lower is steadier and later.
        beta: how much the cutoff grows with speed.
        derivative_cutoff_hz: cutoff of the speed estimate.
        frame_rate_hz: of the driver.
    """

    min_cutoff_hz: float = 4.0
    beta: float = 8.0
    derivative_cutoff_hz: float = 4.0
    frame_rate_hz: float = 25.0

    @classmethod
    def of(cls, steadiness: float) -> "SmoothingConfig":
        """From one number: 0 follows at once, 0.5 is the default, 1 is steadiest."""
        factor = _STEADINESS_RANGE ** (1 - 2 * steadiness)
        return cls(min_cutoff_hz=cls.min_cutoff_hz * factor, beta=cls.beta * factor)


@dataclass(frozen=True, kw_only=True)
class SmoothingState:
    """The filtered signal and its speed."""

    value: Vector
    speed: Vector


def smooth(signal: Vector, state: SmoothingState | None, config: SmoothingConfig) -> SmoothingState:
    """Filter one more measurement; without a state the measurement is the start."""
    if state is None:
        return SmoothingState(value=signal, speed=np.zeros_like(signal))
    speed = (signal - state.value) * config.frame_rate_hz
    share = _share(np.float32(config.derivative_cutoff_hz), config.frame_rate_hz)
    speed = state.speed + share * (speed - state.speed)
    cutoff = config.min_cutoff_hz + config.beta * np.abs(speed)
    value = state.value + _share(cutoff, config.frame_rate_hz) * (signal - state.value)
    return SmoothingState(value=value.astype(np.float32), speed=speed.astype(np.float32))


def _share(cutoff_hz: NDArray[Any] | np.float32, frame_rate_hz: float) -> NDArray[Any]:
    """How much of a new measurement passes a first-order low-pass of that cutoff."""
    turn = 2 * np.pi * np.asarray(cutoff_hz) / frame_rate_hz
    return np.asarray(turn / (turn + 1))
