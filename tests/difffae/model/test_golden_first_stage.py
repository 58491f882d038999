"""Small first stages and their judges give the same numbers as when they were first written.

See `test_golden.py` on how to write golden outputs anew.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from difffae.model.discriminator import Discriminator, DiscriminatorConfig
from difffae.model.first_stage import FirstStageConfig, FirstStageDecoder, FirstStageEncoder
from golden_outputs import assert_golden

VQ = FirstStageConfig(
    channels=8, multipliers=(1, 2), num_blocks=1, attention_sizes=(128,), num_codes=16, groups=4
)
KL = FirstStageConfig(kind="kl", channels=8, multipliers=(1, 2), num_blocks=1, groups=4)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape)).float()


def reconstructed(config: FirstStageConfig, fill: Callable[[nn.Module], nn.Module]) -> list[Tensor]:
    encoder, decoder = fill(FirstStageEncoder(config)), fill(FirstStageDecoder(config))
    latent = encoder(drawn(1, 1, 3, 16, 32))
    return [latent, decoder(latent)[0]]


def judged(fill: Callable[[nn.Module], nn.Module]) -> list[Tensor]:
    discriminator = fill(Discriminator(DiscriminatorConfig(channels=4, num_layers=2)))
    return [discriminator(drawn(2, 2, 3, 32, 32)), discriminator.train()(drawn(3, 2, 3, 32, 32))]


@pytest.mark.parametrize("name", ["first_stage_vq", "first_stage_kl", "discriminator"])
def test_a_network_gives_its_golden_output(
    name: str, filled: Callable[[nn.Module], nn.Module]
) -> None:
    with torch.no_grad():
        if name == "discriminator":
            outputs = judged(filled)
        else:
            outputs = reconstructed(VQ if name == "first_stage_vq" else KL, filled)
    assert_golden(name, outputs)
