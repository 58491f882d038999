"""The patch discriminator."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from difffae.model.discriminator import Discriminator, DiscriminatorConfig


@pytest.mark.parametrize(("num_layers", "side"), [(3, 30), (2, 62), (1, 126)])
def test_scores_form_a_map(num_layers: int, side: int) -> None:
    with torch.device("meta"):
        scores = Discriminator(DiscriminatorConfig(num_layers=num_layers))(
            torch.empty(2, 3, 256, 256)
        )
    assert scores.shape == (2, 1, side, side)


def test_three_layers_have_patch_gans_parameters() -> None:
    with torch.device("meta"):
        discriminator = Discriminator(DiscriminatorConfig())
    convolutions = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
    biases, norms = 64 + 1, 2 * (128 + 256 + 512)
    count = sum(weight.numel() for weight in discriminator.parameters())
    assert count == convolutions + biases + norms


@pytest.mark.parametrize(("num_layers", "patch"), [(3, 70), (2, 34)])
def test_a_score_sees_one_patch_alone(
    num_layers: int, patch: int, filled: Callable[[nn.Module], nn.Module]
) -> None:
    config = DiscriminatorConfig(channels=2, num_layers=num_layers)
    discriminator = filled(Discriminator(config))  # in eval mode: batch statistics see everything
    image = torch.randn(1, 3, 160, 160, requires_grad=True)
    scores = discriminator(image)
    (gradient,) = torch.autograd.grad(
        scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2], image
    )
    seen = gradient.abs().sum((0, 1)).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [patch, patch]


def test_weights_start_normal_with_a_spread_of_two_hundredths() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(DiscriminatorConfig())
    for layer in discriminator.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert layer.weight.mean().abs() < 0.002
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.mean().item() == pytest.approx(1, abs=0.01)
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.3)
            assert layer.bias.abs().max() == 0


def test_gradient_reaches_every_weight() -> None:
    discriminator = Discriminator(DiscriminatorConfig(channels=4, num_layers=2))
    discriminator(torch.randn(2, 3, 32, 32)).square().mean().backward()
    for name, weight in discriminator.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


@pytest.mark.parametrize("sizes", [{"channels": 0}, {"num_layers": 0}])
def test_sizes_that_cannot_be_built_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected 1 or more"):
        DiscriminatorConfig(**sizes)
