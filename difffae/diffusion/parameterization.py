"""What the denoising network is shown and what its output means: prior, v or epsilon."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from difffae.diffusion.schedule import NoiseSchedule

_Level = Tensor | float


@dataclass(frozen=True, kw_only=True)
class ParameterizationConfig:
    """How a network's output becomes a clean sample.

    Attributes:
        kind: "epsilon" (the paper, eq. 1), "v" (Salimans & Ho 2022), or "prior": the sample is
            predicted as a residual around a prior mean, here the encoded condition.
        prior_spread: expected size of that residual, for "prior".
    """

    kind: Literal["epsilon", "v", "prior"] = "epsilon"
    prior_spread: float = 0.6

    def __post_init__(self) -> None:
        if self.prior_spread <= 0:
            raise ValueError(f"prior_spread is {self.prior_spread}; expected more than 0")


class Parameterization:
    """Preconditioning of one kind over one schedule.

    "prior" is EDM's preconditioning (Karras et al. 2022, table 1) of x - prior with data spread s,
    written for the variance-preserving x_t = alpha x0 + sigma n, so that it holds at alpha = 0 too:
    with d = sqrt(sigma^2 + alpha^2 s^2) the input is (x_t - alpha prior) / d and
    x0 = prior + alpha s^2 / d^2 (x_t - alpha prior) + sigma s / d F. From pure noise a network that
    answers 0 gives the prior.
    """

    def __init__(self, config: ParameterizationConfig, schedule: NoiseSchedule) -> None:
        """Keep both."""
        self.config = config
        self.schedule = schedule

    def network_input(self, x_t: Tensor, prior: Tensor, t: int | Tensor) -> Tensor:
        """What the network is shown of the noisy sample, of unit spread."""
        if self.config.kind != "prior":
            return x_t
        alpha, sigma = self._coefficients(t, x_t)
        return (x_t - alpha * prior) / self._spread(alpha, sigma)

    def x0(self, output: Tensor, x_t: Tensor, prior: Tensor, t: int | Tensor) -> Tensor:
        """The clean sample that the network's output stands for."""
        if self.config.kind == "epsilon":
            return self.schedule.x0_from_epsilon(x_t, output, t)
        if self.config.kind == "v":
            return self.schedule.x0_from_v(x_t, output, t)
        alpha, sigma = self._coefficients(t, x_t)
        spread, data = self._spread(alpha, sigma), self.config.prior_spread
        skip = alpha * data**2 / spread**2
        return prior + skip * (x_t - alpha * prior) + sigma * data / spread * output

    def target(self, x0: Tensor, noise: Tensor, prior: Tensor, t: int | Tensor) -> Tensor:
        """The network output that would give exactly `x0` from its noisy sample."""
        if self.config.kind == "epsilon":
            return noise
        x_t = self.schedule.add_noise(x0, noise, t)
        if self.config.kind == "v":
            return self.schedule.v_from_x0(x_t, x0, t)
        alpha, sigma = self._coefficients(t, x_t)
        spread, data = self._spread(alpha, sigma), self.config.prior_spread
        skip = alpha * data**2 / spread**2
        return (x0 - prior - skip * (x_t - alpha * prior)) * spread / (sigma * data)

    def _coefficients(self, t: int | Tensor, like: Tensor) -> tuple[_Level, _Level]:
        """Signal and noise; of one timestep they are numbers, which cost tensors less."""
        if isinstance(t, int):
            return float(self.schedule.alphas[t]), float(self.schedule.sigmas[t])
        return self.schedule.coefficients(t, like)

    def _spread(self, alpha: _Level, sigma: _Level) -> _Level:
        return (sigma**2 + (alpha * self.config.prior_spread) ** 2) ** 0.5
