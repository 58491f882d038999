"""The judge of the first stage's adversarial loss: pictures in, a map of scores per patch out."""

from dataclasses import dataclass
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from difffae.arrays import Images

_SLOPE = 0.2
_INIT_SPREAD = 0.02
_MOST_WIDE = 8


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """Sizes of the discriminator.

    Attributes:
        channels: width of the first layer; it doubles with each layer, up to eight times.
        num_layers: layers that halve the size. 3 judges patches of 70 px (VQ-f8-n256, KL-f8), 2 of
            34 px (VQ-f8).
    """

    channels: int = 64
    num_layers: int = 3

    def __post_init__(self) -> None:
        """Refuse what cannot be built.

        Raises:
            ValueError: no layer or no channel.
        """
        if self.channels < 1 or self.num_layers < 1:
            raise ValueError(
                f"Got {self.channels=} and {self.num_layers=}; expected 1 or more of both"
            )


class Discriminator(nn.Module):
    """PatchGAN (Isola et al. 2017, section 3.2.2) with batch normalisation, as taming's VQGAN.

    Every score is of one patch: high for what looks like a real picture, any real number.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        width = config.channels
        layers: list[nn.Module] = [_conv(3, width, stride=2, has_bias=True), nn.LeakyReLU(_SLOPE)]
        for number in range(1, config.num_layers + 1):
            wider = config.channels * min(2**number, _MOST_WIDE)
            stride = 2 if number < config.num_layers else 1
            layers += [
                _conv(width, wider, stride=stride, has_bias=False),
                _norm(wider),
                nn.LeakyReLU(_SLOPE),
            ]
            width = wider
        self.layers = nn.Sequential(*layers, _conv(width, 1, stride=1, has_bias=True))

    def forward(self, image: Images) -> Float[Tensor, "b 1 rows columns"]:
        """Scores of overlapping patches, (b, 1, rows, columns)."""
        return cast(Tensor, self.layers(image))


def _conv(in_channels: int, out_channels: int, *, stride: int, has_bias: bool) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, 4, stride=stride, padding=1, bias=has_bias)
    nn.init.normal_(conv.weight, 0.0, _INIT_SPREAD)
    return conv


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    nn.init.normal_(norm.weight, 1.0, _INIT_SPREAD)
    return norm
