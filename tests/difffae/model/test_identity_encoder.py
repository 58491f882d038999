"""The bundled identity encoder."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from difffae.config import ModelConfig
from difffae.model.identity_encoder import SmallIdentityEncoder

Fill = Callable[[nn.Module], nn.Module]


@pytest.mark.parametrize(
    ("name", "width"), [("tiny", 16), ("lite-256", 128), ("paper-256", 512), ("paper-512", 512)]
)
def test_an_aligned_face_gives_a_token_of_the_denoisers_width(
    read_model: Callable[[str], ModelConfig], name: str, width: int
) -> None:
    config = read_model(name)
    assert config.denoiser.identity_width == width
    with torch.device("meta"):
        token = SmallIdentityEncoder(config.identity)(torch.empty(2, 3, 112, 112))
    assert token.shape == (2, width)


def test_tokens_entries_are_of_order_one(tiny: ModelConfig, filled: Fill) -> None:
    encoder = filled(SmallIdentityEncoder(tiny.identity))
    with torch.no_grad():
        tokens = encoder(torch.rand(3, 3, 112, 112) * 2 - 1)
    torch.testing.assert_close(tokens.norm(dim=-1), torch.full((3,), 4.0))
    assert (tokens[0] - tokens[1]).abs().max() > 1e-3


def test_gradient_reaches_every_weight(tiny: ModelConfig, filled: Fill) -> None:
    encoder = filled(SmallIdentityEncoder(tiny.identity))
    tokens = encoder(torch.rand(2, 3, 112, 112) * 2 - 1)
    (tokens * torch.randn_like(tokens)).sum().backward()
    grads = {name: weight.grad for name, weight in encoder.named_parameters()}
    assert [name for name, grad in grads.items() if grad is None or not grad.any()] == []
