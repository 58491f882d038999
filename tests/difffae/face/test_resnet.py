"""ResNet-50: torchvision's names, shapes and arithmetic."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deca_media import resnet50_shapes
from difffae.face.resnet import ResNet50

PUBLISHED_PARAMETERS = 25_557_032  # torchvision's resnet50, of which its fc has 2,049,000


@pytest.fixture(scope="module")
def network() -> ResNet50:
    """Random weights and random statistics, as after training."""
    torch.manual_seed(0)
    network = ResNet50().eval()
    for name, values in network.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            values.normal_(0, 0.1)
        elif "bn" in name or "downsample.1" in name:
            values.copy_(torch.rand(values.shape) * 0.4 + 0.8)
    return network


def test_names_and_shapes_are_torchvisions(network: ResNet50) -> None:
    got = {name: tuple(values.shape) for name, values in network.state_dict().items()}
    assert got == resnet50_shapes()
    assert len(got) == 318
    parameters = sum(values.numel() for values in network.parameters())
    assert parameters == PUBLISHED_PARAMETERS - 2_049_000


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """Batch normalisation at test time, by its formula."""
    mean, variance, weight, bias = (
        state[f"{name}.{key}"][None, :, None, None]
        for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias


def reference(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """ResNet-50 v1.5 from its weights' names alone."""
    x = F.relu(norm(F.conv2d(x, state["conv1.weight"], stride=2, padding=3), state, "bn1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for layer, count in (("layer1", 3), ("layer2", 4), ("layer3", 6), ("layer4", 3)):
        for index in range(count):
            name = f"{layer}.{index}"
            stride = 2 if layer != "layer1" and index == 0 else 1
            y = F.relu(norm(F.conv2d(x, state[f"{name}.conv1.weight"]), state, f"{name}.bn1"))
            y = F.conv2d(y, state[f"{name}.conv2.weight"], stride=stride, padding=1)
            y = F.relu(norm(y, state, f"{name}.bn2"))
            y = norm(F.conv2d(y, state[f"{name}.conv3.weight"]), state, f"{name}.bn3")
            if index == 0:
                x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
                x = norm(x, state, f"{name}.downsample.1")
            x = F.relu(x + y)
    assert x.shape[1:] == (2048, 7, 7)
    return x.sum((2, 3)) / 49


def test_features_are_those_of_the_published_arithmetic(network: ResNet50) -> None:
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        got, expected = network(images), reference(network.state_dict(), images)
    assert got.shape == (1, 2048)
    assert expected.std() > 1e-2
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_picture_of_another_size_is_refused(network: ResNet50) -> None:
    with pytest.raises(ValueError, match=r"Got a picture of \(256, 256\) pixels but expected 224"):
        network(torch.zeros(1, 3, 256, 256))
