"""The denoising U-Net."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from difffae.config import ModelConfig
from difffae.diffusion.parameterization import Parameterization
from difffae.diffusion.sampler import sample_dpm_solver
from difffae.diffusion.schedule import NoiseSchedule
from difffae.model.denoiser import Denoiser, DenoiserConfig, merge_attention
from difffae.model.layers import SpatialTransformer

Fill = Callable[[nn.Module], nn.Module]


def inputs(config: DenoiserConfig, *, batch: int = 2) -> tuple[Tensor, ...]:
    """Random arguments of a denoiser."""
    draw = torch.Generator(device=torch.empty(0).device).manual_seed(0)
    size = (config.latent_size, config.latent_size)
    return (
        torch.randn(batch, config.latent_channels, *size, generator=draw),
        torch.linspace(999, 20, batch),
        torch.randn(batch, config.condition_channels, *size, generator=draw),
        torch.randn(batch, 4, config.slot_width, generator=draw),
        torch.randn(batch, config.identity_width, generator=draw),
    )


@pytest.mark.parametrize("name", ["tiny", "lite-256", "paper-256", "paper-512"])
def test_a_noisy_latent_gives_a_prediction_and_attention_of_its_size(
    read_model: Callable[[str], ModelConfig], name: str
) -> None:
    model = read_model(name)
    config, side = model.denoiser, model.image_size // 8
    shapes = [(2, config.latent_channels, side, side), (2, 4, side, side)]
    with torch.device("meta"):
        size = (side, side)
        prediction, attention = Denoiser(config)(
            torch.empty(2, config.latent_channels, *size),
            torch.empty(2),
            torch.empty(2, config.condition_channels, *size),
            torch.empty(2, 4, config.slot_width),
            torch.empty(2, config.identity_width),
        )
    assert [prediction.shape, attention.shape] == shapes


@pytest.mark.parametrize("name", ["paper-256", "paper-512"])
def test_the_papers_u_net_has_as_many_parameters_as_latent_diffusions(
    read_model: Callable[[str], ModelConfig], name: str
) -> None:
    config = read_model(name).denoiser
    with torch.device("meta"):
        plain = Denoiser(replace(config, identity_width=0))
        whole = Denoiser(config)
    assert sum(weight.numel() for weight in plain.parameters()) == 845_155_524
    heads = sum(w.numel() for n, w in whole.named_parameters() if ".adain." in n)
    assert heads == 2 * 513 * 20_160  # scale and shift of each channel of the 22 residual blocks
    norms = sum(w.numel() for n, w in plain.named_parameters() if ".norm2." in n and "resid" in n)
    assert sum(weight.numel() for weight in whole.parameters()) == 845_155_524 + heads - norms


def test_the_papers_u_net_attends_at_sixteen_sites(
    read_model: Callable[[str], ModelConfig],
) -> None:
    with torch.device("meta"):
        denoiser = Denoiser(read_model("paper-256").denoiser)
    widths = [m.norm.num_channels for m in denoiser.modules() if isinstance(m, SpatialTransformer)]
    assert sorted(widths) == [320] * 5 + [640] * 5 + [1280] * 6
    assert len(denoiser.down) + len(denoiser.middle) + len(denoiser.up) == 8 + 3 + 2 + 12 + 3


def test_an_untrained_prediction_is_zero(tiny: ModelConfig) -> None:
    prediction, _ = Denoiser(tiny.denoiser)(*inputs(tiny.denoiser))
    assert torch.equal(prediction, torch.zeros(2, 4, 32, 32))


@pytest.mark.parametrize("num_steps", [1, 4])
def test_untrained_one_samples_exactly_the_prior_from_pure_noise(
    tiny: ModelConfig, num_steps: int
) -> None:
    denoiser = Denoiser(tiny.denoiser)
    noise, _, condition, slots, identity = inputs(tiny.denoiser, batch=1)
    prior = condition[:, :4]
    schedule = NoiseSchedule(tiny.schedule)
    parameterization = Parameterization(tiny.parameterization, schedule)
    seen: list[Tensor] = []

    def denoise(x_t: Tensor, t: int) -> Tensor:
        shown = parameterization.network_input(x_t, prior, t)
        with torch.no_grad():
            output, _ = denoiser(shown, torch.tensor([float(t)]), condition, slots, identity)
        seen.append(parameterization.x0(output, x_t, prior, t))
        return seen[-1]

    sampled = sample_dpm_solver(denoise, noise, schedule, num_steps=num_steps)
    assert torch.equal(seen[0], prior)
    if num_steps == 1:
        assert torch.equal(sampled, prior)
    else:  # a network that never answers still shrinks what noise there is about the prior
        assert (sampled - prior).square().mean() < noise.square().mean()


def test_attention_maps_sum_to_one_over_the_slots(tiny: ModelConfig, filled: Fill) -> None:
    _, attention = filled(Denoiser(tiny.denoiser))(*inputs(tiny.denoiser))
    torch.testing.assert_close(attention.sum(1), torch.ones(2, 32, 32))
    assert attention.std() > 1e-3


def test_attention_of_all_sites_is_resized_and_averaged() -> None:
    fine, coarse = torch.rand(1, 2, 4, 4), torch.full((1, 2, 2, 2), 0.5)
    torch.testing.assert_close(merge_attention([fine, coarse], 4), (fine + 0.5) / 2)


def test_attention_of_some_sizes_alone_may_count(tiny: ModelConfig, filled: Fill) -> None:
    """Of the tiny network's seven sites three are of 16 and four of 8; all make the mean."""
    torch.manual_seed(0)
    denoiser, given = filled(Denoiser(tiny.denoiser)), inputs(tiny.denoiser)
    maps = {}
    for sizes in ((), (16,), (8,)):
        denoiser.config = replace(tiny.denoiser, consistency_sizes=sizes)
        with torch.no_grad():
            maps[sizes] = denoiser(*given)[1]
    torch.testing.assert_close(maps[()], (3 * maps[(16,)] + 4 * maps[(8,)]) / 7)
    assert (maps[(16,)] - maps[(8,)]).abs().mean() > 1e-4


def test_sizes_that_do_not_attend_cannot_count(tiny: ModelConfig) -> None:
    with pytest.raises(ValueError, match=r"expected sizes that attend, some of \[8, 16\]"):
        replace(tiny.denoiser, consistency_sizes=(32,))


@pytest.mark.parametrize("argument", range(5))
def test_the_prediction_depends_on_every_argument(
    tiny: ModelConfig, filled: Fill, argument: int
) -> None:
    denoiser = filled(Denoiser(tiny.denoiser))
    given = list(inputs(tiny.denoiser, batch=1))
    with torch.no_grad():
        before, _ = denoiser(*given)
        given[argument] = given[argument] * 0.5
        after, _ = denoiser(*given)
    assert (after - before).abs().max() > 1e-2 * before.std()


def test_without_identity_width_none_is_needed(tiny: ModelConfig, filled: Fill) -> None:
    config = replace(tiny.denoiser, identity_width=0)
    denoiser = filled(Denoiser(config))
    latent, timesteps, condition, slots, _ = inputs(config)
    prediction, _ = denoiser(latent, timesteps, condition, slots, None)
    assert prediction.std() > 0.1
    assert not any("adain" in name for name in denoiser.state_dict())


@pytest.mark.parametrize("identity_width", [0, 16])
def test_gradient_reaches_every_weight(
    tiny: ModelConfig, filled: Fill, identity_width: int
) -> None:
    config = replace(tiny.denoiser, identity_width=identity_width)
    denoiser = filled(Denoiser(config))
    prediction, attention = denoiser(*inputs(config))
    (prediction.square().mean() + (attention * torch.randn_like(attention)).mean()).backward()
    grads = {name: weight.grad for name, weight in denoiser.named_parameters()}
    silent = {name for name, grad in grads.items() if grad is None or grad.abs().max() < 1e-7}
    # Instance normalisation takes away what a bias adds to a whole channel before it.
    spared = {name for name in grads if identity_width and name.endswith("residual.conv1.bias")}
    assert silent - spared == set()
