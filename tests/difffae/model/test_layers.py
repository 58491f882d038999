"""The blocks that the networks share."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from difffae.model.layers import (
    Attention,
    Downsample,
    FeedForward,
    IdentityAdaIN,
    ResBlock,
    SpatialTransformer,
    Upsample,
    timestep_embedding,
)


def test_the_timestep_embedding_is_cosines_then_sines() -> None:
    embedded = timestep_embedding(torch.tensor([0.0, 7.0]), 8)
    assert embedded.shape == (2, 8)
    assert embedded[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    frequencies = [10_000 ** (-k / 4) for k in range(4)]
    wanted = [math.cos(7 * f) for f in frequencies] + [math.sin(7 * f) for f in frequencies]
    torch.testing.assert_close(embedded[1], torch.tensor(wanted))


def test_adain_starts_as_plain_instance_normalisation() -> None:
    features = torch.randn(2, 6, 5, 7) * 3 + 1
    out = IdentityAdaIN(6, 4)(features, torch.randn(2, 4))
    torch.testing.assert_close(out, F.instance_norm(features))
    torch.testing.assert_close(out.mean((2, 3)), torch.zeros(2, 6), atol=1e-6, rtol=0)


def test_adain_scales_and_shifts_by_a_linear_layer_of_silu_of_the_identity() -> None:
    adain, identity = IdentityAdaIN(6, 4), torch.randn(2, 4)
    nn.init.normal_(adain.modulation.weight)
    nn.init.normal_(adain.modulation.bias)
    features = torch.randn(2, 6, 5, 7) * 3 + 1
    token = identity / (1 + torch.exp(-identity))
    scale, shift = (token @ adain.modulation.weight.T + adain.modulation.bias).split(6, dim=1)
    spread, mean = torch.var_mean(features, (2, 3), correction=0, keepdim=True)
    normal = (features - mean) / (spread + 1e-5).sqrt()
    wanted = scale[..., None, None] * normal + shift[..., None, None]
    torch.testing.assert_close(adain(features, identity), wanted)


@pytest.mark.parametrize("identity_width", [0, 4])
def test_a_residual_block_starts_as_its_skip_and_then_hears_time(identity_width: int) -> None:
    block = ResBlock(8, 8, groups=4, time_width=16, identity_width=identity_width)
    x, identity = torch.randn(1, 8, 6, 6), torch.randn(1, identity_width)
    assert torch.equal(block(x, torch.randn(1, 16), identity), x)
    nn.init.normal_(block.conv2.weight)
    early, late = (block(x, torch.full((1, 16), time), identity) for time in (-1.0, 3.0))
    assert (early - late).abs().max() > 0.1


def test_a_residual_block_of_other_width_skips_by_a_convolution() -> None:
    block = ResBlock(8, 12, groups=4)
    x = torch.randn(2, 8, 6, 6)
    assert block.skip is not None
    torch.testing.assert_close(block(x), block.skip(x))


def test_attention_with_its_map_is_attention() -> None:
    attention = Attention(8, 6, 2)
    tokens, context = torch.randn(2, 9, 8), torch.randn(2, 4, 6)
    plain = attention(tokens, context)
    mixed, probabilities = attention.with_map(tokens, context)
    torch.testing.assert_close(mixed, plain)
    assert probabilities.shape == (2, 9, 4)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(2, 9))


def test_attention_has_biases_at_its_end_alone() -> None:
    names = {name for name, _ in Attention(8, 6, 2).named_parameters()}
    assert names == {"query.weight", "key.weight", "value.weight", "out.weight", "out.bias"}


def test_the_feed_forward_is_gated_by_gelu() -> None:
    feed = FeedForward(4)
    tokens = torch.randn(3, 4)
    value, gate = feed.expand(tokens).split(16, dim=-1)
    torch.testing.assert_close(feed(tokens), feed.contract(value * F.gelu(gate)))


def test_a_transformer_starts_as_nothing_and_maps_each_pixel_to_slots() -> None:
    transformer = SpatialTransformer(8, 6, 2, 4)
    x, slots = torch.randn(2, 8, 3, 5), torch.randn(2, 4, 6)
    out, attention_map = transformer(x, slots)
    assert torch.equal(out, x)
    assert attention_map.shape == (2, 4, 3, 5)
    torch.testing.assert_close(attention_map.sum(1), torch.ones(2, 3, 5))


def test_a_transformer_hears_its_slots() -> None:
    transformer = SpatialTransformer(8, 6, 2, 4)
    nn.init.normal_(transformer.leave.weight)
    x, slots = torch.randn(1, 8, 4, 4), torch.randn(1, 4, 6)
    changed = (transformer(x, slots)[0] - transformer(x, slots + 1)[0]).abs().max()
    assert changed > 1e-2


def test_sizes_halve_and_double() -> None:
    x = torch.randn(1, 4, 6, 8)
    assert Downsample(4, 5)(x).shape == (1, 5, 3, 4)
    assert Upsample(4, 5)(x).shape == (1, 5, 12, 16)
