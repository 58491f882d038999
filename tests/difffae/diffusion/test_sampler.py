"""Samplers: equality with diffusers step by step, order of convergence, zero terminal SNR."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from difffae.diffusion.sampler import Denoise, sample_ddim, sample_dpm_solver
from difffae.diffusion.schedule import NoiseSchedule, ScheduleConfig

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Network = Callable[[Tensor, int], Tensor]
BETAS = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0015,
    "beta_end": 0.0195,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "trailing",
}


def _noise(seed: int = 0) -> Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(seed)).double()


def _network(x: Tensor, t: int) -> Tensor:
    """A smooth, bounded, non-linear stand-in for a trained network."""
    return 0.8 * torch.tanh(0.7 * x.roll(1, dims=-1) + 0.3 * math.cos(t / 160.0))


def _as_denoise(
    schedule: NoiseSchedule, prediction: str, trajectory: list[Tensor] | None = None
) -> Denoise:
    """Read ``_network`` as a prediction of the given kind; note every sample it is shown."""

    def denoise(x: Tensor, t: int) -> Tensor:
        if trajectory is not None:
            trajectory.append(x)
        output = _network(x, t)
        if prediction == "epsilon":
            return schedule.x0_from_epsilon(x, output, t)
        return schedule.x0_from_v(x, output, t) if prediction == "v_prediction" else output

    return denoise


def _run_oracle(scheduler: Any, num_steps: int) -> tuple[list[int], list[Tensor]]:
    """Walk diffusers' scheduler; return its timesteps and the sample before each and at the end."""
    scheduler.set_timesteps(num_steps)
    trajectory = [_noise()]
    for t in scheduler.timesteps:
        output = _network(trajectory[-1], int(t))
        trajectory.append(scheduler.step(output, t, trajectory[-1]).prev_sample)
    return [int(t) for t in scheduler.timesteps], trajectory


def _clamped_schedule(has_zero_terminal_snr: bool) -> NoiseSchedule:
    """Schedule with the terminal signal that diffusers' DPM-Solver substitutes for zero."""
    schedule = NoiseSchedule(ScheduleConfig(has_zero_terminal_snr=has_zero_terminal_snr))
    if has_zero_terminal_snr:
        schedule.alphas[-1] = 2.0**-12
        schedule.sigmas[-1] = math.sqrt(1.0 - 2.0**-24)
    return schedule


@pytest.mark.parametrize("num_steps", [1, 2, 3, 4, 8, 10, 25])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    ("prediction", "has_zero_terminal_snr"),
    [
        ("epsilon", False),
        ("v_prediction", False),
        ("v_prediction", True),
        ("sample", False),
        ("sample", True),
    ],
)
def test_dpm_solver_walks_in_step_with_diffusers(
    prediction: str, has_zero_terminal_snr: bool, order: int, num_steps: int
) -> None:
    oracle = DPMSolverMultistepScheduler(  # type: ignore[no-untyped-call]
        **BETAS,
        solver_order=order,
        prediction_type=prediction,
        rescale_betas_zero_snr=has_zero_terminal_snr,
    )
    timesteps, expected = _run_oracle(oracle, num_steps)
    schedule = _clamped_schedule(has_zero_terminal_snr)
    trajectory: list[Tensor] = []
    denoise = _as_denoise(schedule, prediction, trajectory)
    final = sample_dpm_solver(denoise, _noise(), schedule, num_steps=num_steps, order=order)
    assert schedule.trailing_timesteps(num_steps) == timesteps
    assert len(trajectory) == num_steps
    for ours, theirs in zip([*trajectory, final], expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("num_steps", [1, 2, 4, 8, 10, 25])
@pytest.mark.parametrize(
    ("prediction", "has_zero_terminal_snr"),
    [
        ("epsilon", False),
        ("v_prediction", False),
        ("v_prediction", True),
        ("sample", False),
        ("sample", True),
    ],
)
def test_ddim_walks_in_step_with_diffusers(
    prediction: str, has_zero_terminal_snr: bool, num_steps: int
) -> None:
    oracle = DDIMScheduler(  # type: ignore[no-untyped-call]
        **BETAS,
        clip_sample=False,
        set_alpha_to_one=True,
        prediction_type=prediction,
        rescale_betas_zero_snr=has_zero_terminal_snr,
    )
    timesteps, expected = _run_oracle(oracle, num_steps)
    schedule = NoiseSchedule(ScheduleConfig(has_zero_terminal_snr=has_zero_terminal_snr))
    trajectory: list[Tensor] = []
    denoise = _as_denoise(schedule, prediction, trajectory)
    final = sample_ddim(denoise, _noise(), schedule, num_steps=num_steps)
    assert schedule.trailing_timesteps(num_steps) == timesteps
    for ours, theirs in zip([*trajectory, final], expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("has_zero_terminal_snr", [False, True])
@pytest.mark.parametrize("num_steps", [1, 4, 7, 20])
def test_dpm_solver_of_order_1_is_ddim(num_steps: int, has_zero_terminal_snr: bool) -> None:
    schedule = NoiseSchedule(ScheduleConfig(has_zero_terminal_snr=has_zero_terminal_snr))
    solver = sample_dpm_solver(_network, _noise(), schedule, num_steps=num_steps, order=1)
    ddim = sample_ddim(_network, _noise(), schedule, num_steps=num_steps)
    torch.testing.assert_close(solver, ddim, rtol=0, atol=1e-12)


def _error_half_way(num_steps: int, order: int) -> float:
    """Distance at timestep 499 from the exact flow of Gaussian data N(0.4, 0.5^2).

    There E[x0 | x_t] is linear and (x_t - alpha_t mean) / sqrt(alpha_t^2 var + sigma_t^2) is
    constant along the flow.
    """
    schedule = NoiseSchedule(ScheduleConfig(has_zero_terminal_snr=False))
    mean, variance = 0.4, 0.25
    seen: dict[int, Tensor] = {}

    def spread(t: int) -> float:
        return math.sqrt(float(schedule.alphas[t] ** 2 * variance + schedule.sigmas[t] ** 2))

    def denoise(x: Tensor, t: int) -> Tensor:
        seen[t] = x
        alpha = float(schedule.alphas[t])
        return mean + variance * alpha / spread(t) ** 2 * (x - alpha * mean)

    sample_dpm_solver(denoise, _noise(), schedule, num_steps=num_steps, order=order)
    standard = (_noise() - float(schedule.alphas[999]) * mean) / spread(999)
    exact = float(schedule.alphas[499]) * mean + spread(499) * standard
    return float((seen[499] - exact).abs().max())


@pytest.mark.parametrize(("order", "expected"), [(1, 1.0), (2, 2.0)])
def test_error_on_gaussian_data_falls_at_the_order_of_the_solver(
    order: int, expected: float
) -> None:
    coarse, fine = _error_half_way(50, order), _error_half_way(100, order)
    assert math.log2(coarse / fine) == pytest.approx(expected, abs=0.25)


@pytest.mark.parametrize("sample", [sample_dpm_solver, sample_ddim])
@pytest.mark.parametrize("num_steps", [1, 2, 4, 8])
def test_perfect_denoiser_is_recovered_exactly_at_zero_terminal_snr(
    sample: Callable[..., Tensor], num_steps: int
) -> None:
    schedule = NoiseSchedule(ScheduleConfig())
    truth = _noise(seed=1).float()
    shown: list[tuple[int, Tensor]] = []

    def denoise(x: Tensor, t: int) -> Tensor:
        shown.append((t, x))
        return truth

    noise = _noise().float()
    final = sample(denoise, noise, schedule, num_steps=num_steps)
    assert schedule.log_snr(999) == -math.inf
    assert torch.equal(shown[0][1], noise)
    for t, x in shown:
        torch.testing.assert_close(x, schedule.add_noise(truth, noise, t), rtol=0, atol=1e-5)
    torch.testing.assert_close(final, truth, rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_steps", [1, 2, 4, 8])
def test_velocity_network_stays_finite_at_zero_terminal_snr(num_steps: int) -> None:
    schedule = NoiseSchedule(ScheduleConfig())
    denoise = _as_denoise(schedule, "v_prediction")
    final = sample_dpm_solver(denoise, _noise(), schedule, num_steps=num_steps)
    assert bool(torch.isfinite(final).all())
    assert float(final.abs().max()) < 10.0


def test_one_step_returns_the_prediction_from_pure_noise() -> None:
    schedule = NoiseSchedule(ScheduleConfig())
    final = sample_dpm_solver(_network, _noise(), schedule, num_steps=1)
    torch.testing.assert_close(final, _network(_noise(), 999), rtol=0, atol=0)


def test_second_step_after_pure_noise_is_of_order_1() -> None:
    schedule = NoiseSchedule(ScheduleConfig())
    two_m = sample_dpm_solver(_network, _noise(), schedule, num_steps=3, order=2)
    first = sample_dpm_solver(_network, _noise(), schedule, num_steps=3, order=1)
    torch.testing.assert_close(two_m, first, rtol=0, atol=1e-12)


def test_ddim_with_fresh_noise_keeps_the_variance_of_gaussian_data() -> None:
    schedule = NoiseSchedule(ScheduleConfig())

    def denoise(x: Tensor, t: int) -> Tensor:
        return schedule.alphas[t].to(x) * x

    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(1, 20_000, generator=generator)
    final = sample_ddim(denoise, noise, schedule, num_steps=500, eta=1.0, generator=generator)
    correlation = float(torch.corrcoef(torch.cat([noise, final]))[0, 1])
    assert float(final.std()) == pytest.approx(1.0, abs=0.03)
    assert abs(correlation) < 0.1


def test_ddim_fresh_noise_follows_its_generator() -> None:
    schedule = NoiseSchedule(ScheduleConfig())
    results = [
        sample_ddim(
            _network,
            _noise(),
            schedule,
            num_steps=4,
            eta=1.0,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (5, 5, 6)
    ]
    assert torch.equal(results[0], results[1])
    assert not torch.allclose(results[0], results[2], atol=1e-2)


def test_samplers_refuse_impossible_settings() -> None:
    schedule = NoiseSchedule(ScheduleConfig())
    with pytest.raises(ValueError, match="order is 3; expected 1 or 2"):
        sample_dpm_solver(_network, _noise(), schedule, num_steps=4, order=3)
    with pytest.raises(ValueError, match=r"eta is 1.5; expected a number in 0\.\.1"):
        sample_ddim(_network, _noise(), schedule, num_steps=4, eta=1.5)
    with pytest.raises(ValueError, match="num_steps is 0"):
        sample_dpm_solver(_network, _noise(), schedule, num_steps=0)


def test_a_walk_from_an_intermediate_level_is_the_whole_walks_rest() -> None:
    schedule, shown = NoiseSchedule(ScheduleConfig()), []

    def denoise(x: Tensor, t: int) -> Tensor:
        shown.append((t, x))
        return _network(x, t)

    whole = sample_dpm_solver(denoise, _noise(), schedule, num_steps=4, order=1)
    assert [t for t, _ in shown] == [999, 749, 499, 249]
    rest = sample_dpm_solver(_network, shown[2][1], schedule, num_steps=2, order=1, first=499)
    torch.testing.assert_close(rest, whole)


def test_a_walk_starts_at_a_timestep_of_the_schedule() -> None:
    schedule = NoiseSchedule(ScheduleConfig())
    with pytest.raises(ValueError, match=r"first is 1000; expected 0\.\.999"):
        sample_dpm_solver(_network, _noise(), schedule, num_steps=1, first=1000)
    with pytest.raises(ValueError, match=r"num_steps is 3; expected a whole number in 1\.\.2"):
        sample_dpm_solver(_network, _noise(), schedule, num_steps=3, first=1)
