"""What the denoiser is shown and what its output means."""

from typing import Literal

import pytest
import torch
from torch import Tensor

from difffae.diffusion.parameterization import Parameterization, ParameterizationConfig
from difffae.diffusion.schedule import NoiseSchedule, ScheduleConfig

SPREAD = 0.6
TIMESTEPS = (0, 1, 37, 254, 500, 873, 998, 999)
Kind = Literal["epsilon", "v", "prior"]


def build(kind: Kind, *, has_zero_terminal_snr: bool = True) -> Parameterization:
    schedule = NoiseSchedule(ScheduleConfig(has_zero_terminal_snr=has_zero_terminal_snr))
    return Parameterization(ParameterizationConfig(kind=kind, prior_spread=SPREAD), schedule)


def drawn(seed: int, batch: int = 2) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 4, 8, 8, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("t", TIMESTEPS)
@pytest.mark.parametrize("kind", ["v", "prior"])
def test_the_exact_target_gives_back_the_clean_sample_at_every_noise_level(
    kind: Kind, t: int
) -> None:
    parameterization = build(kind)
    x0, noise, prior = drawn(0), drawn(1), drawn(2)
    x_t = parameterization.schedule.add_noise(x0, noise, t)
    target = parameterization.target(x0, noise, prior, t)
    torch.testing.assert_close(parameterization.x0(target, x_t, prior, t), x0)


@pytest.mark.parametrize("t", TIMESTEPS)
def test_epsilon_gives_back_the_clean_sample_where_any_signal_is_left(t: int) -> None:
    parameterization = build("epsilon", has_zero_terminal_snr=False)
    x0, noise, prior = drawn(0), drawn(1), drawn(2)
    x_t = parameterization.schedule.add_noise(x0, noise, t)
    assert torch.equal(parameterization.target(x0, noise, prior, t), noise)
    torch.testing.assert_close(parameterization.x0(noise, x_t, prior, t), x0)


def test_epsilon_is_refused_at_pure_noise() -> None:
    with pytest.raises(ValueError, match="signal is zero"):
        build("epsilon").x0(drawn(0), drawn(1), drawn(2), 999)


@pytest.mark.parametrize("kind", ["epsilon", "v"])
def test_only_around_a_prior_is_the_noisy_sample_changed(kind: Kind) -> None:
    x_t = drawn(0)
    assert build(kind).network_input(x_t, drawn(1), 500) is x_t


@pytest.mark.parametrize("t", TIMESTEPS[:-1])
def test_a_prior_is_edm_preconditioning_of_the_residual(t: int) -> None:
    """Karras et al. 2022, table 1, for the variance-exploding z = x_t / alpha."""
    parameterization = build("prior")
    alpha, sigma = parameterization.schedule.alphas[t], parameterization.schedule.sigmas[t]
    x_t, prior, output = drawn(0), drawn(1), drawn(2)
    noise_level, z = sigma / alpha, x_t / alpha - prior
    total = noise_level**2 + SPREAD**2
    c_skip, c_out, c_in = SPREAD**2 / total, noise_level * SPREAD / total**0.5, total**-0.5
    torch.testing.assert_close(parameterization.network_input(x_t, prior, t), c_in * z)
    x0 = prior + c_skip * z + c_out * output
    torch.testing.assert_close(parameterization.x0(output, x_t, prior, t), x0)


def test_from_pure_noise_a_silent_network_gives_exactly_the_prior() -> None:
    parameterization, noise, prior = build("prior"), drawn(0).float(), drawn(1).float()
    assert torch.equal(parameterization.network_input(noise, prior, 999), noise)
    assert torch.equal(parameterization.x0(torch.zeros_like(noise), noise, prior, 999), prior)
    output = drawn(2).float()
    given = parameterization.x0(output, noise, prior, 999)
    torch.testing.assert_close(given, prior + SPREAD * output)


@pytest.mark.parametrize("t", TIMESTEPS)
def test_input_and_target_have_unit_spread_for_residuals_of_the_expected_size(t: int) -> None:
    parameterization = build("prior")
    noise, prior = drawn(1, 400), drawn(2, 400)
    x0 = prior + SPREAD * drawn(0, 400)
    x_t = parameterization.schedule.add_noise(x0, noise, t)
    for tensor in (
        parameterization.network_input(x_t, prior, t),
        parameterization.target(x0, noise, prior, t),
    ):
        assert tensor.std().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("kind", ["v", "prior"])
def test_every_sample_of_a_batch_may_have_its_own_timestep(kind: Kind) -> None:
    parameterization = build(kind)
    timesteps = torch.tensor([999, 20])
    x0, noise, prior = drawn(0), drawn(1), drawn(2)
    x_t = parameterization.schedule.add_noise(x0, noise, timesteps)
    shown = parameterization.network_input(x_t, prior, timesteps)
    target = parameterization.target(x0, noise, prior, timesteps)
    torch.testing.assert_close(parameterization.x0(target, x_t, prior, timesteps), x0)
    for row, t in enumerate((999, 20)):
        one = slice(row, row + 1)
        alone = parameterization.network_input(x_t[one], prior[one], t)
        torch.testing.assert_close(shown[one], alone)
        alone = parameterization.target(x0[one], noise[one], prior[one], t)
        torch.testing.assert_close(target[one], alone)


@pytest.mark.parametrize("spread", [0.0, -1.0])
def test_a_spread_that_is_not_positive_is_refused(spread: float) -> None:
    with pytest.raises(ValueError, match=f"prior_spread is {spread}"):
        ParameterizationConfig(kind="prior", prior_spread=spread)
