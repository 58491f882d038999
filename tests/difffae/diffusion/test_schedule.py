"""Noise schedule: known values, conversions, spacing and zero terminal SNR."""

import math
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError

from difffae.diffusion.schedule import NoiseSchedule, ScheduleConfig


@pytest.fixture
def plain() -> NoiseSchedule:
    return NoiseSchedule(ScheduleConfig(has_zero_terminal_snr=False))


@pytest.fixture
def zero_snr() -> NoiseSchedule:
    return NoiseSchedule(ScheduleConfig())


def test_last_level_of_the_face_schedule_has_the_published_signal(plain: NoiseSchedule) -> None:
    assert float(plain.alphas[999]) ** 2 == pytest.approx(1.423e-4, abs=1e-6)
    assert plain.log_snr(999) == pytest.approx(-4.43, abs=0.005)
    assert plain.log_snr(0) == pytest.approx(3.25, abs=0.005)
    assert plain.log_snr(253) > 0.0 > plain.log_snr(255)


def test_linear_curve_is_the_ddpm_schedule() -> None:
    config = ScheduleConfig(
        beta_start=1e-4, beta_end=0.02, curve="linear", has_zero_terminal_snr=False
    )
    assert float(NoiseSchedule(config).alphas[999]) ** 2 == pytest.approx(4.04e-5, abs=1e-7)


def test_coefficients_keep_unit_variance_and_float64(zero_snr: NoiseSchedule) -> None:
    total = zero_snr.alphas.square() + zero_snr.sigmas.square()
    assert zero_snr.alphas.dtype == torch.float64
    assert torch.allclose(total, torch.ones_like(total), rtol=0, atol=1e-15)


def test_coefficients_of_one_timestep_are_not_uploaded(zero_snr: NoiseSchedule) -> None:
    like = torch.zeros(1, 4, 2, 2, dtype=torch.float16, device="meta")
    alpha, sigma = zero_snr.coefficients(500, like)
    assert {(each.device.type, each.dtype, each.ndim) for each in (alpha, sigma)} == {
        ("cpu", torch.float16, 0)
    }
    clean = zero_snr.x0_from_v(like, like, 500)
    assert (clean.device.type, clean.dtype, clean.shape) == ("meta", torch.float16, like.shape)
    assert zero_snr.coefficients(torch.tensor([500]), like)[0].device.type == "meta"


def test_zero_terminal_snr_keeps_the_first_level_and_ends_in_pure_noise(
    plain: NoiseSchedule, zero_snr: NoiseSchedule
) -> None:
    assert float(zero_snr.alphas[999]) == 0.0
    assert float(zero_snr.sigmas[999]) == 1.0
    assert zero_snr.log_snr(999) == -math.inf
    assert float(zero_snr.alphas[0]) == pytest.approx(float(plain.alphas[0]), abs=1e-15)
    assert bool((zero_snr.alphas.diff() < 0).all())


def test_trailing_timesteps_start_at_the_noisiest_level(plain: NoiseSchedule) -> None:
    assert plain.trailing_timesteps(1) == [999]
    assert plain.trailing_timesteps(2) == [999, 499]
    assert plain.trailing_timesteps(4) == [999, 749, 499, 249]
    assert plain.trailing_timesteps(1000) == list(range(999, -1, -1))


@pytest.mark.parametrize("num_steps", [0, -1, 1001])
def test_impossible_step_count_is_refused(plain: NoiseSchedule, num_steps: int) -> None:
    with pytest.raises(ValueError, match=rf"num_steps is {num_steps}; expected .* 1\.\.1000"):
        plain.trailing_timesteps(num_steps)


@pytest.mark.parametrize("t", [0, 500, torch.tensor([0, 400, 998])])
def test_conversions_return_the_sample_and_the_noise(
    zero_snr: NoiseSchedule, t: int | torch.Tensor
) -> None:
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(3, 4, 5, 5, generator=generator, dtype=torch.float64)
    noise = torch.randn(3, 4, 5, 5, generator=generator, dtype=torch.float64)
    x_t = zero_snr.add_noise(x0, noise, t)
    v = zero_snr.v_from_x0(x_t, x0, t)
    torch.testing.assert_close(zero_snr.epsilon_from_x0(x_t, x0, t), noise)
    torch.testing.assert_close(zero_snr.x0_from_v(x_t, v, t), x0)
    torch.testing.assert_close(zero_snr.x0_from_epsilon(x_t, noise, t), x0)


def test_velocity_is_signal_times_noise_minus_noise_level_times_sample(
    plain: NoiseSchedule,
) -> None:
    x0, noise = torch.tensor([[2.0]]), torch.tensor([[-3.0]])
    alpha, sigma = float(plain.alphas[300]), float(plain.sigmas[300])
    v = plain.v_from_x0(plain.add_noise(x0, noise, 300), x0, 300)
    assert float(v) == pytest.approx(alpha * -3.0 - sigma * 2.0, abs=1e-5)


def test_batched_timesteps_noise_each_element_by_its_own_level(plain: NoiseSchedule) -> None:
    x0, noise = torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1)
    noised = plain.add_noise(x0, noise, torch.tensor([10, 900]))
    assert noised.dtype == torch.float32
    assert noised.flatten().tolist() == pytest.approx(plain.alphas[[10, 900]].tolist())


def test_noise_prediction_is_refused_at_zero_signal(zero_snr: NoiseSchedule) -> None:
    x = torch.zeros(1, 1)
    with pytest.raises(ValueError, match=r"timestep 999.*predicts x0 or v"):
        zero_snr.x0_from_epsilon(x, x, 999)


def test_velocity_at_zero_signal_is_the_negative_sample(zero_snr: NoiseSchedule) -> None:
    x0, noise = torch.full((1, 1), 0.7), torch.full((1, 1), -1.2)
    x_t = zero_snr.add_noise(x0, noise, 999)
    assert float(x_t) == pytest.approx(-1.2)
    assert float(zero_snr.v_from_x0(x_t, x0, 999)) == pytest.approx(-0.7)


def test_edm_sigma_finds_its_own_timestep(zero_snr: NoiseSchedule) -> None:
    timesteps = torch.arange(1000)
    edm_sigma = zero_snr.sigmas / zero_snr.alphas
    assert torch.equal(zero_snr.timestep_for_sigma(edm_sigma), timesteps)
    assert torch.equal(zero_snr.timestep_for_sigma(edm_sigma[400:402] * 1.0005), timesteps[400:402])


def test_edm_sigma_beyond_the_schedule_takes_the_nearest_end(
    plain: NoiseSchedule, zero_snr: NoiseSchedule
) -> None:
    sigma = torch.tensor([[0.0, 1e9, math.inf]])
    assert plain.timestep_for_sigma(sigma).tolist() == [[0, 999, 999]]
    assert zero_snr.timestep_for_sigma(sigma).tolist() == [[0, 998, 999]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_timesteps": 1}, "num_timesteps is 1"),
        ({"beta_start": 0.0}, "betas run from 0.0"),
        ({"beta_end": 1.0}, "betas run from 0.0015 to 1.0"),
    ],
)
def test_impossible_configuration_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScheduleConfig(**values)


def test_unknown_curve_is_refused() -> None:
    with pytest.raises((ValueError, TypeCheckError), match="cosine"):
        ScheduleConfig(curve="cosine")  # type: ignore[arg-type]
