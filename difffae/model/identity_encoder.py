"""The bundled identity encoder: a small residual network from an aligned face to a token."""

from dataclasses import dataclass
from typing import Literal, cast

import torch.nn.functional as F
from torch import Tensor, nn

from difffae.arrays import Identities, Images
from difffae.model.layers import Downsample, GroupNorm, ResBlock


@dataclass(frozen=True, kw_only=True)
class IdentityEncoderConfig:
    """Which identity encoder, and its sizes.

    Attributes:
        kind: small is trained by this project; arcface is the paper's, from the user's own file
            (face.licensed.arcface), and takes its width alone from here.
        width: length of the token.
        channels: width of the first level; it doubles twice.
        groups: of the group normalisation.
    """

    kind: Literal["small", "arcface"] = "small"
    width: int = 512
    channels: int = 32
    groups: int = 8


class SmallIdentityEncoder(nn.Module):
    """Aligned faces (b, 3, 112, 112) to tokens of length sqrt(width): entries of order 1."""

    def __init__(self, config: IdentityEncoderConfig) -> None:
        super().__init__()
        c, groups = config.channels, config.groups
        self.layers = nn.Sequential(
            nn.Conv2d(3, c, 4, stride=4),
            ResBlock(c, c, groups=groups),
            Downsample(c, 2 * c),
            ResBlock(2 * c, 2 * c, groups=groups),
            Downsample(2 * c, 4 * c),
            ResBlock(4 * c, 4 * c, groups=groups),
            GroupNorm(groups, 4 * c),
            nn.SiLU(),
        )
        self.leave = nn.Linear(4 * c * 7 * 7, config.width)

    def forward(self, aligned: Images) -> Identities:
        """See the class."""
        token = self.leave(self.layers(aligned).flatten(1))
        return cast(Tensor, F.normalize(token.float(), dim=-1) * token.shape[-1] ** 0.5)
