"""The first stage: images to latents an eighth the size and back, helped by the condition."""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from difffae.arrays import (
    Alphas,
    Features,
    FoldedAlphas,
    FoldedImages,
    FoldedMasks,
    Images,
    Latents,
    Widened,
)
from difffae.model.layers import Downsample, GroupNorm, ResBlock, Upsample, conv3x3, zero_init

_CALIBRATION_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Sizes of the autoencoder.

    Attributes:
        latent_channels: channels of the latent.
        patch: pixels folded into channels before the first convolution (1 = none, as in the paper).
        channels: width of the finest level.
        multipliers: width of each level over `channels`; each further level halves the size.
        encoder_blocks: residual blocks of every level.
        decoder_blocks: residual blocks of each level, finest first.
        condition_channels: channels of the full-size condition that the decoder sees (composite and
            masks); 0 = a plain decoder, as in the paper.
        groups: of the group normalisation.
    """

    latent_channels: int = 4
    patch: int = 1
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 4)
    encoder_blocks: int = 2
    decoder_blocks: tuple[int, ...] = (3, 3, 3, 3)
    condition_channels: int = 0
    groups: int = 32

    def __post_init__(self) -> None:
        if len(self.decoder_blocks) != len(self.multipliers):
            raise ValueError(
                f"Got {self.decoder_blocks=} but expected one entry for each of {self.multipliers=}"
            )

    @property
    def factor(self) -> int:
        """Side of the image over side of the latent."""
        return int(self.patch * 2 ** (len(self.multipliers) - 1))


class Encoder(nn.Module):
    """Image to latent."""

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = [config.channels * multiplier for multiplier in config.multipliers]
        self.patch = config.patch
        self.enter = conv3x3(3 * config.patch**2, widths[0])
        levels: list[nn.Module] = []
        for level, width in enumerate(widths):
            if level:
                levels.append(Downsample(widths[level - 1], width))
            levels.extend(
                ResBlock(width, width, groups=config.groups) for _ in range(config.encoder_blocks)
            )
        self.levels = nn.Sequential(*levels)
        self.norm = GroupNorm(config.groups, widths[-1])
        self.leave = conv3x3(widths[-1], config.latent_channels)
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels, 1, 1))
        self.register_buffer("latent_std", torch.ones(config.latent_channels, 1, 1))

    def forward(self, image: Images) -> Latents:
        """The latent, scaled to zero mean and unit spread by what `calibrate` measured."""
        return self.encode(F.pixel_unshuffle(image, self.patch))

    def encode(self, folded: FoldedImages) -> Latents:
        """The same of an image whose patches are folded into channels already."""
        h = self.levels(self.enter(folded))
        raw = self.leave(F.silu(self.norm(h)))
        return cast(Tensor, (raw - self.latent_mean) / self.latent_std)

    @torch.no_grad()
    def calibrate(self, images: Images) -> None:
        """Measure mean and spread of each latent channel on these images (model.md 0.4)."""
        self.latent_mean.zero_()
        self.latent_std.fill_(1)
        raw = torch.cat([self(part).float() for part in torch.split(images, _CALIBRATION_BATCH)])
        self.latent_mean.copy_(raw.mean((0, 2, 3))[:, None, None])
        self.latent_std.copy_(raw.std((0, 2, 3))[:, None, None])


class Decoder(nn.Module):
    """Latent to image, mixed with the condition's composite where that is already right.

    A conditional decoder in the manner of Asymmetric VQGAN (arXiv 2306.04632): the last layer gives
    RGB and a mask alpha, and the image is alpha * RGB + (1 - alpha) * composite.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = [config.channels * multiplier for multiplier in config.multipliers][::-1]
        blocks = config.decoder_blocks[::-1]
        self.patch = config.patch
        self.enter = conv3x3(config.latent_channels, widths[0])
        levels: list[nn.Module] = []
        for level, width in enumerate(widths[:-1]):
            levels.extend(
                ResBlock(width, width, groups=config.groups) for _ in range(blocks[level])
            )
            levels.append(Upsample(width, widths[level + 1]))
        self.levels = nn.Sequential(*levels)
        unfolded = config.condition_channels * config.patch**2
        self.condition = zero_init(conv3x3(unfolded, widths[-1])) if unfolded else None
        self.finest = nn.Sequential(
            *(ResBlock(widths[-1], widths[-1], groups=config.groups) for _ in range(blocks[-1]))
        )
        self.norm = GroupNorm(config.groups, widths[-1])
        self.leave = conv3x3(widths[-1], (3 + bool(unfolded)) * config.patch**2)

    def forward(self, latent: Latents, condition: Features | None = None) -> tuple[Images, Alphas]:
        """The image, and how much of each pixel was generated: (b, 1, h, w) in [0, 1].

        Args:
            latent: as the encoder gives it.
            condition: composite (three channels in [-1, 1]) and masks at full size; None decodes
                the latent alone.
        """
        composite = masks = None
        if condition is not None:
            folded = F.pixel_unshuffle(condition, self.patch)
            composite, masks = folded.tensor_split([3 * self.patch**2], 1)
        image, alpha = self.paint(latent, composite, masks)
        return F.pixel_shuffle(image, self.patch), F.pixel_shuffle(alpha, self.patch)

    def paint(
        self,
        latent: Latents,
        composite: FoldedImages | None = None,
        masks: FoldedMasks | None = None,
    ) -> tuple[FoldedImages, FoldedAlphas]:
        """The same with the patches of condition, image and alpha folded into channels."""
        h = self.levels(self.enter(latent))
        if self.condition is None or composite is None or masks is None:
            h = self._leave(h)
            pixels = self.patch**2
            return h[:, : 3 * pixels], torch.ones_like(h[:, :pixels])
        h = self._leave(h + self.condition(torch.cat([composite, masks], 1)))
        own, alpha = h[:, : composite.shape[1]], torch.sigmoid(h[:, composite.shape[1] :])
        share = alpha[:, None]
        own, shown = (rearrange(x, "b (c p) h w -> b c p h w", c=3) for x in (own, composite))
        return (share * own + (1 - share) * shown).flatten(1, 2), alpha

    def _leave(self, h: Features) -> Widened:
        return cast(Tensor, self.leave(F.silu(self.norm(self.finest(h)))))
