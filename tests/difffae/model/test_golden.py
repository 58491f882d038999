"""Small networks give the same numbers as when their weights were first trained.

Golden outputs lie in `golden/`. After a change that is meant to alter them, write them anew:
`DIFFFAE_WRITE_GOLDEN=1 pytest tests/difffae/model/test_golden.py`, and say so in the commit.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from difffae.model.autoencoder import AutoencoderConfig, Decoder, Encoder
from difffae.model.denoiser import Denoiser, DenoiserConfig
from difffae.model.identity_encoder import IdentityEncoderConfig, SmallIdentityEncoder
from difffae.model.region_encoder import RegionEncoder, RegionEncoderConfig
from golden_outputs import assert_golden

AUTOENCODER = AutoencoderConfig(
    latent_channels=2,
    patch=2,
    channels=8,
    multipliers=(1, 2),
    encoder_blocks=1,
    decoder_blocks=(1, 1),
    condition_channels=6,
    groups=4,
)
DENOISER = DenoiserConfig(
    latent_channels=2,
    condition_channels=3,
    channels=8,
    multipliers=(1, 2),
    num_blocks=1,
    num_heads=2,
    attention_sizes=(8,),
    latent_size=8,
    slot_width=8,
    identity_width=6,
    groups=4,
)
REGIONS = RegionEncoderConfig(
    patch=4,
    channels=8,
    multipliers=(1, 2),
    num_blocks=1,
    num_heads=2,
    out_channels=8,
    num_slots=3,
    slot_width=8,
    groups=4,
)
IDENTITY = IdentityEncoderConfig(width=16, channels=8, groups=4)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape)).float()


CASES: Mapping[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "encoder": (lambda: Encoder(AUTOENCODER), (drawn(1, 1, 3, 32, 32),)),
    "decoder": (lambda: Decoder(AUTOENCODER), (drawn(2, 1, 2, 4, 4), drawn(3, 1, 6, 16, 16))),
    "region_encoder": (lambda: RegionEncoder(REGIONS), (drawn(4, 1, 3, 32, 32),)),
    "identity_encoder": (lambda: SmallIdentityEncoder(IDENTITY), (drawn(5, 1, 3, 112, 112),)),
    "denoiser": (
        lambda: Denoiser(DENOISER),
        (
            drawn(6, 2, 2, 8, 8),
            torch.tensor([999.0, 100.0]),
            drawn(7, 2, 3, 8, 8),
            drawn(8, 2, 3, 8),
            drawn(9, 2, 6),
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_network_gives_its_golden_output(
    name: str, filled: Callable[[nn.Module], nn.Module]
) -> None:
    build, arguments = CASES[name]
    with torch.no_grad():
        given = filled(build())(*arguments)
    outputs = given if isinstance(given, tuple) else (given,)
    assert_golden(name, outputs)
