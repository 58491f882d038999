"""Placing networks."""

import torch
from torch import nn

from difffae.model.layers import GroupNorm
from difffae.training.layout import place


def test_weights_lie_channels_last() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 4))
    place(network, torch.device("cpu"))
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_group_norm_trains_on_channels_last_input_that_needs_no_gradient() -> None:
    norm = nn.GroupNorm(2, 8)
    picture = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    plain = nn.GroupNorm(2, 8)
    plain(picture).pow(3).mean().backward()
    place(norm, torch.device("cpu"))
    norm(picture.contiguous(memory_format=torch.channels_last)).pow(3).mean().backward()
    torch.testing.assert_close(norm.weight.grad, plain.weight.grad)
    assert not picture.requires_grad


def test_group_norm_of_channels_last_features_is_pytorch_s_with_its_gradients() -> None:
    torch.manual_seed(0)
    ours, plain = GroupNorm(4, 16), nn.GroupNorm(4, 16)
    features = 3 + torch.randn(2, 16, 5, 7)
    results = []
    for norm, layout in ((ours, torch.channels_last), (plain, torch.contiguous_format)):
        given = features.clone().contiguous(memory_format=layout).requires_grad_()
        out = norm(given)
        assert out.is_contiguous(memory_format=layout)
        out.pow(3).sum().backward()
        results.append([out, given.grad, norm.weight.grad, norm.bias.grad])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)
