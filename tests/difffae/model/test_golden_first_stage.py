"""Small first stages and their judges give the same numbers as when they were first written.

See `test_golden.py` on how to write golden outputs anew.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from difffae.model.discriminator import Discriminator, DiscriminatorConfig
from difffae.model.first_stage import FirstStageConfig, FirstStageDecoder, FirstStageEncoder

GOLDEN = Path(__file__).with_name("golden")
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
    named = {f"output{k}": output.contiguous() for k, output in enumerate(outputs)}
    path = GOLDEN / f"{name}.safetensors"
    if os.environ.get("DIFFFAE_WRITE_GOLDEN"):
        save_file(named, path)
    golden = load_file(path)
    assert golden.keys() == named.keys()
    for key, wanted in golden.items():
        assert wanted.std() > 1e-2
        torch.testing.assert_close(named[key], wanted, atol=2e-4, rtol=2e-4)
