"""Group normalisations taken apart for OpenVINO: the same answers, none of the operation left."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from difffae.runtime.group_norm import take_norms_apart
from difffae.runtime.openvino import convert_module, import_openvino

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO")


class Plain(nn.Module):
    """A group norm without weights of its own."""

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.group_norm(features, 4, eps=1e-3)


def filled(norm: nn.GroupNorm) -> nn.Module:
    """The norm with weights that differ from channel to channel."""
    torch.manual_seed(0)
    for weight in norm.parameters():
        nn.init.normal_(weight)
    return norm.requires_grad_(False)


def answers(module: nn.Module, features: Tensor) -> tuple[Tensor, int]:
    openvino = import_openvino()
    model = convert_module(openvino, module.eval(), (features,))
    count = take_norms_apart(openvino, model)
    assert not [op for op in model.get_ops() if op.get_type_name() == "GroupNormalization"]
    network = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return torch.from_numpy(np.array(network([features.numpy()])[0])), count


@pytest.mark.parametrize(
    "module",
    [
        filled(nn.GroupNorm(8, 24)),
        filled(nn.GroupNorm(24, 24)),
        filled(nn.GroupNorm(1, 24, eps=0.1)),
        Plain(),
    ],
    ids=["groups", "each channel", "all channels", "without weights"],
)
@pytest.mark.parametrize("shape", [(1, 24, 9, 7), (2, 24, 16, 16)])
def test_the_answers_stay(module: nn.Module, shape: tuple[int, ...]) -> None:
    features = torch.randn(shape, generator=torch.manual_seed(1)) * 3 + 2
    got, count = answers(module, features)
    assert count == 1
    torch.testing.assert_close(got, module(features), rtol=1e-4, atol=1e-4)


def test_a_mean_far_above_the_spread_costs_no_digits() -> None:
    features = torch.randn(1, 24, 16, 16, generator=torch.manual_seed(1)) + 1000
    norm = filled(nn.GroupNorm(8, 24))
    got, _ = answers(norm, features)
    torch.testing.assert_close(got, norm(features.double().float()), rtol=1e-2, atol=1e-2)


def test_every_norm_of_a_network_is_found() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.SiLU(), nn.GroupNorm(4, 8))
    features = torch.randn(1, 3, 8, 8, generator=torch.manual_seed(1))
    with torch.no_grad():
        wanted = module(features)
    got, count = answers(module, features)
    assert count == 2
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
