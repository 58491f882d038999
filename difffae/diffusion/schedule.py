"""Noise schedule: timesteps in, signal and noise coefficients and their conversions out.

Variance-preserving diffusion, x_t = alpha_t x0 + sigma_t noise with alpha_t^2 + sigma_t^2 = 1
(Ho et al. 2020, eq. 4); v-prediction as Salimans & Ho 2022, appendix D; zero terminal SNR as
Lin et al. 2023, algorithm 1.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Shape of the noise schedule; the defaults are latent diffusion's own for faces.

    Attributes:
        num_timesteps: Number of discrete noise levels T.
        beta_start: Variance added at the first timestep.
        beta_end: Variance added at the last timestep, before rescaling.
        curve: "scaled_linear" is linear in sqrt(beta) (what latent diffusion calls "linear");
            "linear" is linear in beta.
        has_zero_terminal_snr: Rescale so that the last timestep is pure noise.
    """

    num_timesteps: int = 1000
    beta_start: float = 0.0015
    beta_end: float = 0.0195
    curve: Literal["scaled_linear", "linear"] = "scaled_linear"
    has_zero_terminal_snr: bool = True

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: If a value does not describe a schedule.
        """
        if self.num_timesteps < 2:
            raise ValueError(f"num_timesteps is {self.num_timesteps}; expected 2 or more")
        if not 0.0 < self.beta_start <= self.beta_end < 1.0:
            raise ValueError(
                f"betas run from {self.beta_start} to {self.beta_end}; "
                "expected 0 < beta_start <= beta_end < 1"
            )
        if self.curve not in ("scaled_linear", "linear"):
            raise ValueError(f"curve is {self.curve!r}; expected 'scaled_linear' or 'linear'")


class NoiseSchedule:
    """Coefficients of a variance-preserving schedule and the conversions between predictions.

    Timesteps are an int, or an integer tensor with one entry per batch element. Coefficients are
    kept in float64 on the CPU and cast to the type and device of the data they multiply.

    Attributes:
        config: The configuration it was built from.
        alphas: Signal coefficients, float64 (T,).
        sigmas: Noise coefficients, float64 (T,).
    """

    def __init__(self, config: ScheduleConfig) -> None:
        """Compute the coefficients that ``config`` describes."""
        self.config = config
        signal = torch.cumprod(1.0 - _betas(config), dim=0).sqrt()
        if config.has_zero_terminal_snr:
            signal = (signal - signal[-1]) * (signal[0] / (signal[0] - signal[-1]))
        self.alphas: Tensor = signal
        self.sigmas: Tensor = (1.0 - signal.square()).sqrt()

    @property
    def num_timesteps(self) -> int:
        """Number of noise levels T; the noisiest timestep is T - 1."""
        return self.config.num_timesteps

    def log_snr(self, t: int) -> float:
        """Half the log signal-to-noise ratio, log(alpha_t / sigma_t).

        Minus infinity at the last timestep of a schedule with zero terminal SNR.
        """
        return float(torch.log(self.alphas[t]) - torch.log(self.sigmas[t]))

    def trailing_timesteps(self, num_steps: int, first: int | None = None) -> list[int]:
        """Evenly spaced timesteps that start at the noisiest one: 4 -> 999, 749, 499, 249.

        Args:
            num_steps: How many.
            first: Timestep to start at instead.

        Raises:
            ValueError: If ``first`` is no timestep, or ``num_steps`` not within 1..first + 1.
        """
        total = self.num_timesteps if first is None else first + 1
        if not 1 <= total <= self.num_timesteps:
            raise ValueError(f"first is {first}; expected 0..{self.num_timesteps - 1}")
        if not 1 <= num_steps <= total:
            raise ValueError(f"num_steps is {num_steps}; expected a whole number in 1..{total}")
        return [round(total - index * total / num_steps) - 1 for index in range(num_steps)]

    def timestep_for_sigma(self, sigma: Tensor) -> Tensor:
        """Timestep whose ratio sigma_t / alpha_t is nearest, on a log scale, to an EDM sigma.

        Args:
            sigma: Noise levels of Karras et al. 2022 (x = x0 + sigma noise), any shape;
                infinity stands for pure noise.

        Returns:
            Timesteps, int64, of the same shape.
        """
        log_sigmas = torch.log(self.sigmas) - torch.log(self.alphas)
        borders = (log_sigmas[1:] + log_sigmas[:-1]) / 2
        wanted = torch.log(sigma.detach().to(borders)).contiguous()
        return torch.searchsorted(borders, wanted, right=True).to(sigma.device)

    def add_noise(self, x0: Tensor, noise: Tensor, t: int | Tensor) -> Tensor:
        """Noised sample x_t = alpha_t x0 + sigma_t noise."""
        alpha, sigma = self.coefficients(t, x0)
        return alpha * x0 + sigma * noise

    def x0_from_epsilon(self, x_t: Tensor, epsilon: Tensor, t: int | Tensor) -> Tensor:
        """Clean sample that a noise prediction implies.

        Raises:
            ValueError: If a timestep is pure noise, where the clean sample is undefined.
        """
        alpha, sigma = self.coefficients(t, x_t)
        if bool((alpha == 0).any()):
            raise ValueError(
                f"got noise prediction at timestep {t}, where the signal is zero; "
                "expected a network that predicts x0 or v, or a schedule with "
                "has_zero_terminal_snr=False"
            )
        return (x_t - sigma * epsilon) / alpha

    def x0_from_v(self, x_t: Tensor, v: Tensor, t: int | Tensor) -> Tensor:
        """Clean sample that a velocity prediction implies, alpha_t x_t - sigma_t v."""
        alpha, sigma = self.coefficients(t, x_t)
        return alpha * x_t - sigma * v

    def epsilon_from_x0(self, x_t: Tensor, x0: Tensor, t: int | Tensor) -> Tensor:
        """Noise that, added to ``x0``, gives ``x_t``."""
        alpha, sigma = self.coefficients(t, x_t)
        return (x_t - alpha * x0) / sigma

    def v_from_x0(self, x_t: Tensor, x0: Tensor, t: int | Tensor) -> Tensor:
        """Velocity alpha_t noise - sigma_t x0 of the pair, here (alpha_t x_t - x0) / sigma_t."""
        alpha, sigma = self.coefficients(t, x_t)
        return (alpha * x_t - x0) / sigma

    def coefficients(self, t: int | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha_t and sigma_t, shaped to multiply ``like`` (B, ...).

        Of an int they are scalars on the CPU, which multiply tensors of any device: to upload them
        would make each step of a sampler wait for a GPU.
        """
        if isinstance(t, int):
            return self.alphas[t].to(like.dtype), self.sigmas[t].to(like.dtype)
        index = torch.as_tensor(t, dtype=torch.int64, device=self.alphas.device)
        shape = (-1,) + (1,) * (like.ndim - 1) if index.ndim else ()
        alpha = self.alphas[index].reshape(shape).to(like)
        sigma = self.sigmas[index].reshape(shape).to(like)
        return alpha, sigma


def _betas(config: ScheduleConfig) -> Tensor:
    """Variance added at each timestep before any rescaling, float64 (T,)."""
    power = 0.5 if config.curve == "scaled_linear" else 1.0
    start, end = config.beta_start**power, config.beta_end**power
    ramp = torch.linspace(start, end, config.num_timesteps, dtype=torch.float64)
    return ramp.square() if config.curve == "scaled_linear" else ramp
