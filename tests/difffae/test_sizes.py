"""FLOPs and parameters of small networks, against sums done by hand."""

import torch
from torch import nn

from difffae.model.layers import Downsample, SelfAttention2d, SpatialTransformer
from difffae.sizes import network_sizes


def test_flops_of_convolutions_are_two_for_each_multiply_add() -> None:
    with torch.device("meta"):
        layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Downsample(8, 5))
    sizes = network_sizes("toy", layers, (torch.empty(1, 3, 12, 10, device="meta"),))
    first, second = sizes.layers
    assert first.flops == 2 * (12 * 10) * 8 * (3 * 3 * 3)
    assert second.flops == 2 * (6 * 5) * 5 * (8 * 3 * 3)
    assert [first.output, second.output] == [(8, 12, 10), (5, 6, 5)]
    assert [first.parameters, second.parameters] == [8 * 27 + 8, 5 * 72 + 5]
    assert (sizes.flops, sizes.parameters) == (first.flops + second.flops, 224 + 365)


def test_flops_of_self_attention_hold_both_products_of_its_pixels() -> None:
    pixels, channels = 6 * 4, 16
    with torch.device("meta"):
        attention = SelfAttention2d(channels, 4, 4)
    sizes = network_sizes("toy", attention, (torch.empty(1, channels, 6, 4, device="meta"),))
    projections = 4 * pixels * channels * channels
    products = 2 * pixels * pixels * channels  # q k and p v, over all heads
    assert sizes.flops == 2 * (projections + products)


def test_flops_of_a_transformer_hold_both_attentions_and_the_feed_forward() -> None:
    n, c, width, slots = 5 * 3, 8, 6, 4
    with torch.device("meta"):
        transformer = SpatialTransformer(c, width, 2, 4)
    inputs = torch.empty(1, c, 5, 3, device="meta"), torch.empty(1, slots, width, device="meta")
    convolutions = 2 * n * c * c
    self_attention = 4 * n * c * c + 2 * n * n * c
    cross_attention = 2 * n * c * c + 2 * slots * width * c + 2 * n * slots * c
    feed_forward = n * c * 8 * c + n * 4 * c * c
    expected = 2 * (convolutions + self_attention + cross_attention + feed_forward)
    assert network_sizes("toy", transformer, inputs).flops == expected
