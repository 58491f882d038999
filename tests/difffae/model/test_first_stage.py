"""Latent diffusion's first stage: sizes, quantisation, the Gaussian, calibration."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from difffae.checkpoint import load_module, save_tensors
from difffae.model.first_stage import (
    Codebook,
    FirstStageConfig,
    FirstStageDecoder,
    FirstStageEncoder,
    Halve,
    PixelAttention,
    Posterior,
)

Fill = Callable[[nn.Module], nn.Module]
VQ_F8 = FirstStageConfig()
KL_F8 = FirstStageConfig(kind="kl", multipliers=(1, 2, 4, 4), attention_sizes=())
TINY = FirstStageConfig(
    channels=8, multipliers=(1, 2), num_blocks=1, attention_sizes=(128,), num_codes=32, groups=4
)
TINY_KL = FirstStageConfig(
    kind="kl", channels=8, multipliers=(1, 2), num_blocks=1, attention_sizes=(), groups=4
)


def filled_pair(
    config: FirstStageConfig, filled: Fill
) -> tuple[FirstStageEncoder, FirstStageDecoder]:
    encoder, decoder = filled(FirstStageEncoder(config)), filled(FirstStageDecoder(config))
    assert isinstance(encoder, FirstStageEncoder)
    assert isinstance(decoder, FirstStageDecoder)
    return encoder, decoder


def pictures(batch: int = 2, side: int = 32) -> Tensor:
    random = np.random.RandomState(0).standard_normal((batch, 3, side, side))
    return torch.from_numpy(random).float()


@pytest.mark.parametrize(("config", "count"), [(VQ_F8, 67_717_295), (KL_F8, 83_653_863)])
def test_the_full_size_networks_have_latent_diffusions_parameter_counts(
    config: FirstStageConfig, count: int
) -> None:
    with torch.device("meta"):
        encoder, decoder = FirstStageEncoder(config), FirstStageDecoder(config)
        latent = encoder(torch.empty(2, 3, 256, 512))
        image, alpha = decoder(latent)
    weights = [*encoder.parameters(), *decoder.parameters()]
    assert sum(weight.numel() for weight in weights) == count
    assert config.factor == 8
    assert latent.shape == (2, 4, 32, 64)
    assert image.shape == (2, 3, 256, 512)
    assert alpha.shape == (2, 1, 256, 512)


def test_only_the_level_of_32_pixels_attends_beside_the_middle() -> None:
    with torch.device("meta"):
        encoder, decoder = FirstStageEncoder(VQ_F8), FirstStageDecoder(VQ_F8)
    places = [name for name, m in encoder.named_modules() if isinstance(m, PixelAttention)]
    assert places == ["levels.3.attentions.0", "levels.3.attentions.1", "middle.1"]
    places = [name for name, m in decoder.named_modules() if isinstance(m, PixelAttention)]
    assert places == ["middle.1", *(f"levels.0.attentions.{number}" for number in range(3))]


def test_norms_have_latent_diffusions_epsilon() -> None:
    with torch.device("meta"):
        both = nn.ModuleList([FirstStageEncoder(VQ_F8), FirstStageDecoder(VQ_F8)])
    norms = [m for m in both.modules() if isinstance(m, nn.GroupNorm)]
    assert {(norm.eps, norm.num_groups) for norm in norms} == {(1e-6, 32)}


def test_halving_pads_right_and_below_alone() -> None:
    halve = Halve(1)
    assert halve.conv.bias is not None
    with torch.no_grad():
        halve.conv.weight.copy_(torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 10]])[None, None])
        halve.conv.bias.zero_()
    picture = torch.arange(16.0).reshape(1, 1, 4, 4)
    # Output (i, j) sees input rows 2i to 2i + 2: the centre, and ten times the corner below.
    wanted = torch.tensor([[5 + 100, 7.0], [13, 15]])
    assert torch.equal(halve(picture)[0, 0], wanted)


def test_attention_is_single_head_softmax_over_pixels(filled: Fill) -> None:
    layer = filled(PixelAttention(8, 4))
    assert isinstance(layer, PixelAttention)
    x = pictures(1, 4)[:, :1].expand(1, 8, 4, 4) * torch.arange(1, 9).view(1, 8, 1, 1)
    normal = F.group_norm(x, 4, layer.norm.weight, layer.norm.bias, 1e-6)
    q, k, v = (conv(normal)[0].flatten(1) for conv in (layer.query, layer.key, layer.value))
    weights = torch.stack([((k.T @ q[:, i]) / math.sqrt(8)).softmax(0) for i in range(16)])
    mixed = torch.stack([v @ row for row in weights], 1).reshape(1, 8, 4, 4)
    torch.testing.assert_close(layer(x), x + layer.out(mixed), atol=1e-4, rtol=1e-4)


def test_each_vector_becomes_its_nearest_code() -> None:
    codebook = Codebook(32, 4)
    torch.nn.init.normal_(codebook.weight, generator=torch.manual_seed(0))
    raw = torch.randn(3, 4, 50, 70)  # more vectors than are compared at once
    given = codebook(raw)
    vectors, codes = raw.permute(0, 2, 3, 1).numpy(), codebook.weight.detach().numpy()
    distances = ((vectors[..., None, :] - codes) ** 2).sum(-1)
    assert np.array_equal(given.indices.numpy(), distances.argmin(-1))
    wanted = torch.from_numpy(codes[distances.argmin(-1)]).permute(0, 3, 1, 2)
    torch.testing.assert_close(given.vectors, wanted)
    torch.testing.assert_close(given.latent, wanted)


def test_codes_that_nothing_was_nearest_to_restart_at_latents() -> None:
    codebook = Codebook(6, 2)
    with torch.no_grad():
        codebook.weight.copy_(100 + torch.arange(12.0).view(6, 2))
        codebook.weight[2:4] = torch.tensor([[0.0, 0.0], [5.0, 5.0]])
    raw = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    raw[0, :, 0] += 5
    before = codebook.weight.detach().clone()
    for _ in range(2):
        codebook.restart_idle(raw, codebook(raw), 3)
    assert torch.equal(codebook.weight, before)
    assert codebook.idle.tolist() == [2, 2, 0, 0, 2, 2]
    codebook.restart_idle(raw, codebook(raw), 3)
    assert torch.equal(codebook.weight[2:4], before[2:4])
    latents = {tuple(vector) for vector in raw[0].flatten(1).T.tolist()}
    restarted = {tuple(vector) for vector in codebook.weight[[0, 1, 4, 5]].tolist()}
    assert restarted <= latents
    assert len(restarted) > 1
    assert codebook.idle.tolist() == [0] * 6


def test_the_same_codes_are_nearest_under_autocast() -> None:
    codebook = Codebook(512, 4)
    torch.nn.init.normal_(codebook.weight, generator=torch.manual_seed(1))
    raw = torch.randn(1, 4, 32, 32)
    plain = codebook(raw).indices
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(codebook(raw).indices, plain)


def test_gradient_passes_straight_through_and_only_vectors_reach_the_codebook() -> None:
    codebook = Codebook(8, 4)
    raw = torch.randn(1, 4, 2, 2, requires_grad=True)
    weights = torch.randn(1, 4, 2, 2)
    given = codebook(raw)
    (given.latent * weights).sum().backward()
    assert raw.grad is not None
    assert torch.equal(raw.grad, weights)
    assert codebook.weight.grad is None
    raw.grad = None
    (given.vectors * weights).sum().backward()
    assert raw.grad is None
    assert codebook.weight.grad is not None
    assert codebook.weight.grad.abs().sum() > 0


def test_the_codebook_starts_uniform_within_one_over_its_size() -> None:
    weight = Codebook(500, 4).weight.detach() * 500
    assert weight.abs().max() <= 1
    assert weight.var().item() == pytest.approx(1 / 3, rel=0.1)


def test_the_latent_is_not_quantised_and_the_decoder_quantises_it(filled: Fill) -> None:
    encoder, decoder = filled_pair(TINY, filled)
    latent = encoder(pictures())
    assert decoder.codebook is not None
    codes = decoder.codebook(latent).latent
    assert (codes - latent).abs().max() > 0.1
    torch.testing.assert_close(decoder(latent)[0], decoder(codes)[0], atol=1e-4, rtol=1e-4)
    assert torch.equal(decoder(latent)[0], decoder.decode(codes))
    assert torch.equal(decoder(latent)[1], torch.ones(2, 1, 32, 32))


def test_a_gaussian_is_sampled_in_training_and_its_mean_taken_otherwise(filled: Fill) -> None:
    encoder, _ = filled_pair(TINY_KL, filled)
    image = pictures(1, 16)
    posterior = encoder.posterior(image)
    assert torch.equal(encoder(image), posterior.mean)
    draws = encoder.train()(image.repeat(400, 1, 1, 1)).detach()
    assert posterior.log_variance is not None
    std = (0.5 * posterior.log_variance[0].detach()).exp()
    assert ((draws.mean(0) - posterior.mean[0]).abs() / std).max() < 0.25
    assert (draws.std(0) / std).log().abs().max() < 0.2


def test_divergence_is_that_of_torch_distributions() -> None:
    mean, log_variance = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    standard = torch.distributions.Normal(0.0, 1.0)
    wanted = torch.distributions.kl_divergence(normal, standard).sum((1, 2, 3))
    posterior = Posterior(mean=mean, log_variance=log_variance)
    torch.testing.assert_close(posterior.divergence(), wanted)
    with pytest.raises(ValueError, match="expected a Gaussian"):
        Posterior(mean=mean, log_variance=None).divergence()


@pytest.mark.parametrize("config", [TINY, TINY_KL])
def test_calibration_gives_unit_latents_and_the_decoder_takes_it_back(
    config: FirstStageConfig, filled: Fill
) -> None:
    encoder, decoder = filled_pair(config, filled)
    image = pictures(4)
    before = decoder(encoder(image))[0]
    encoder.calibrate(image)
    encoder.calibrate(image)  # twice: what was measured before must not matter
    decoder.adopt_scale(encoder)
    latent = encoder(image)
    torch.testing.assert_close(latent.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(latent.std((0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(decoder(latent)[0], before, atol=1e-4, rtol=1e-4)


def test_codebook_and_calibration_lie_in_the_decoders_file(tmp_path: Path, filled: Fill) -> None:
    encoder, decoder = filled_pair(TINY, filled)
    encoder.calibrate(pictures())
    decoder.adopt_scale(encoder)
    path = tmp_path / "decoder.safetensors"
    save_tensors(path, decoder.state_dict(), {})
    again = FirstStageDecoder(TINY)
    load_module(again, path)
    latent = encoder(pictures())
    assert torch.equal(again(latent)[0], decoder(latent)[0])
    assert "codebook.weight" in decoder.state_dict()
    assert not any("codebook" in name for name in encoder.state_dict())


@pytest.mark.parametrize("config", [TINY, TINY_KL])
def test_gradient_reaches_every_weight(config: FirstStageConfig, filled: Fill) -> None:
    encoder, decoder = filled_pair(config, filled)
    posterior = encoder.posterior(pictures())
    raw = posterior.sample()
    if decoder.codebook is not None:
        quantized = decoder.codebook(raw)
        loss, raw = quantized.vectors.square().sum(), quantized.latent
    else:
        loss = posterior.divergence().sum()
    (loss + decoder.decode(raw).square().sum()).backward()
    for network in (encoder.train(), decoder):
        for name, weight in network.named_parameters():
            assert weight.grad is not None, name
            is_shift = name.endswith("key.bias")  # softmax does not see it
            assert is_shift or weight.grad.abs().max() > 1e-7, name


@pytest.mark.parametrize(
    "changes", [{"kind": "gan"}, {"multipliers": ()}, {"channels": 100}, {"groups": 7}]
)
def test_sizes_that_cannot_be_built_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        FirstStageConfig(**changes)  # type: ignore[arg-type]
