"""Samplers: a function that predicts clean samples, and noise, in; a sample out.

DPM-Solver++ of order 1 and 2 (multistep, midpoint; Lu et al. 2022b, algorithm 2) and DDIM
(Song et al. 2020, eq. 12 and 16), with trailing timesteps, so that the first evaluation is at
the noisiest level. Zero terminal SNR is exact: with lambda = log(alpha / sigma) = -inf the first
step has h = inf, hence exp(-h) = 0, and the second step has h / h_prev = 0, hence is of order 1.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from difffae.diffusion.schedule import NoiseSchedule

Denoise = Callable[[Tensor, int], Tensor]
"""(x_t, t) -> predicted x0 of the same shape."""


@dataclass(frozen=True, kw_only=True)
class _Level:
    """One noise level: signal and noise coefficients and half log-SNR (may be infinite)."""

    alpha: float
    sigma: float
    log_snr: float


_CLEAN = _Level(alpha=1.0, sigma=0.0, log_snr=math.inf)


def sample_dpm_solver(
    denoise: Denoise,
    noise: Tensor,
    schedule: NoiseSchedule,
    *,
    num_steps: int,
    order: int = 2,
    first: int | None = None,
) -> Tensor:
    """Integrate the probability-flow ODE from noise to a clean sample by DPM-Solver++.

    The first and the last step are of order 1; the last one lands on the denoised sample itself.

    Args:
        denoise: Predicts x0; called once per step, from the noisiest timestep on.
        noise: Standard normal noise (B, ...); with ``first``, a sample of that noise level.
        schedule: Noise levels to walk down.
        num_steps: Number of calls of ``denoise``.
        order: 1 (equal to DDIM with eta 0) or 2 (multistep midpoint, "2M").
        first: Timestep to start at; None: the noisiest.

    Returns:
        A clean sample of the shape of ``noise``.

    Raises:
        ValueError: If ``order``, ``num_steps`` or ``first`` is out of range.
    """
    if order not in (1, 2):
        raise ValueError(f"order is {order}; expected 1 or 2")
    timesteps = schedule.trailing_timesteps(num_steps, first)
    levels = [*(_level(schedule, t) for t in timesteps), _CLEAN]
    x = noise
    previous: Tensor | None = None
    previous_h = math.inf
    for t, (level, target) in zip(timesteps, itertools.pairwise(levels), strict=True):
        denoised = denoise(x, t)
        h = target.log_snr - level.log_snr
        estimate = denoised
        if order == 2 and previous is not None and target is not _CLEAN:
            estimate = denoised + (0.5 * h / previous_h) * (denoised - previous)
        x = (target.sigma / level.sigma) * x - (target.alpha * math.expm1(-h)) * estimate
        previous, previous_h = denoised, h
    return x


def sample_ddim(
    denoise: Denoise,
    noise: Tensor,
    schedule: NoiseSchedule,
    *,
    num_steps: int,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sample by DDIM, deterministic with ``eta`` 0 and as noisy as DDPM with ``eta`` 1.

    Args:
        denoise: Predicts x0; called once per step, from the noisiest timestep on.
        noise: Standard normal noise (B, ...).
        schedule: Noise levels to walk down.
        num_steps: Number of calls of ``denoise``.
        eta: Share of fresh noise per step, 0..1.
        generator: Source of the fresh noise, on the device of ``noise``; unused with ``eta`` 0.

    Returns:
        A clean sample of the shape of ``noise``.

    Raises:
        ValueError: If ``eta`` or ``num_steps`` is out of range.
    """
    if not 0.0 <= eta <= 1.0:
        raise ValueError(f"eta is {eta}; expected a number in 0..1")
    timesteps = schedule.trailing_timesteps(num_steps)
    levels = [*(_level(schedule, t) for t in timesteps), _CLEAN]
    x = noise
    for t, (level, target) in zip(timesteps, itertools.pairwise(levels), strict=True):
        denoised = denoise(x, t)
        epsilon = (x - level.alpha * denoised) / level.sigma
        fresh = eta * _posterior_deviation(level, target)
        x = target.alpha * denoised + math.sqrt(target.sigma**2 - fresh**2) * epsilon
        if fresh > 0.0:
            x = x + fresh * torch.randn(
                x.shape, generator=generator, dtype=x.dtype, device=x.device
            )
    return x


@lru_cache(maxsize=64)
def _level(schedule: NoiseSchedule, t: int) -> _Level:
    """Return the noise level of timestep ``t`` as plain numbers."""
    return _Level(
        alpha=float(schedule.alphas[t]),
        sigma=float(schedule.sigmas[t]),
        log_snr=schedule.log_snr(t),
    )


def _posterior_deviation(level: _Level, target: _Level) -> float:
    """Standard deviation of DDPM's posterior from ``level`` to ``target`` (DDIM, eq. 16)."""
    removed = 1.0 - (level.alpha / target.alpha) ** 2
    return target.sigma / level.sigma * math.sqrt(removed)
