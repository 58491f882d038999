"""The denoising U-Net: latent, condition, slots and identity in, prediction and attention out."""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from difffae.arrays import (
    Conditions,
    Features,
    Identities,
    Latents,
    SlotMasks,
    Slots,
    Timesteps,
    Widened,
)
from difffae.model.layers import (
    Downsample,
    GroupNorm,
    ResBlock,
    SpatialTransformer,
    Upsample,
    conv3x3,
    timestep_embedding,
    zero_init,
)


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig:
    """Sizes of the U-Net (paper table 5).

    Attributes:
        latent_channels: channels of the latent, in and out.
        condition_channels: channels concatenated to it (SPC, section 4.1): the render's latent, and
            in the bundled model the source's latent and masks.
        channels, multipliers, num_blocks, num_heads: of the U-Net.
        attention_sizes: sides of the feature maps that attend, as table 5 lists them.
        latent_size: side of the latent.
        slot_width: width of the slot tokens.
        identity_width: width of the identity token; 0 = the ablation without it.
        groups: of the group normalisation.
        consistency_sizes: sides of the feature maps whose attention enters A_cross; empty: all
            sites, as in the paper. Those of 4 and 8 are coarse (model.md 2.7).
    """

    latent_channels: int = 4
    condition_channels: int = 4
    channels: int = 320
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    num_blocks: int = 2
    num_heads: int = 8
    attention_sizes: tuple[int, ...] = (32, 16, 8)
    latent_size: int = 32
    slot_width: int = 192
    identity_width: int = 512
    groups: int = 32
    consistency_sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check that attention enters A_cross somewhere.

        Raises:
            ValueError: no site is of the sizes that count.
        """
        middle = self.latent_size // 2 ** (len(self.multipliers) - 1)
        sites = {*self.attention_sizes, middle}
        if not sites.issuperset(self.consistency_sizes):
            raise ValueError(
                f"denoiser.consistency_sizes is {self.consistency_sizes}; expected sizes that "
                f"attend, some of {sorted(sites)}, or none for all of them"
            )


class Block(nn.Module):
    """A residual block, and a spatial transformer where its size attends."""

    def __init__(
        self, in_channels: int, out_channels: int, config: DenoiserConfig, *, is_attending: bool
    ) -> None:
        super().__init__()
        self.residual = ResBlock(
            in_channels,
            out_channels,
            groups=config.groups,
            time_width=4 * config.channels,
            identity_width=config.identity_width,
        )
        self.transformer = (
            SpatialTransformer(out_channels, config.slot_width, config.num_heads, config.groups)
            if is_attending
            else None
        )

    def forward(
        self, x: Features, time: Tensor, slots: Slots, identity: Identities | None
    ) -> tuple[Widened, SlotMasks | None]:
        """Same size out, and how its pixels attend to the slots where it has a transformer."""
        x = self.residual(x, time, identity)
        if self.transformer is None:
            return x, None
        x, attention_map = self.transformer(x, slots)
        return x, attention_map.contiguous()  # FSDP warns of views


class Denoiser(nn.Module):
    """Latent diffusion's U-Net with slots as context and identity by AdaIN (paper eq. 4 to 6).

    Attributes:
        is_recomputing: while gradients are wanted, keep only the inputs of each block and compute
            it again in the backward pass (gradient checkpointing, Chen et al. 2016).
    """

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.is_recomputing = False
        widths = [config.channels * multiplier for multiplier in config.multipliers]
        self.config = config
        time_width = 4 * config.channels
        self.time = nn.Sequential(
            nn.Linear(config.channels, time_width), nn.SiLU(), nn.Linear(time_width, time_width)
        )
        self.enter = conv3x3(config.latent_channels + config.condition_channels, config.channels)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        current, size, skips = config.channels, config.latent_size, [config.channels]
        for level, width in enumerate(widths):
            for _ in range(config.num_blocks):
                self.down.append(
                    Block(current, width, config, is_attending=size in config.attention_sizes)
                )
                current = width
                skips.append(width)
            if level < len(widths) - 1:
                self.down.append(Downsample(width, width))
                skips.append(width)
                size //= 2
        self.middle = nn.ModuleList(
            [
                Block(current, current, config, is_attending=True),
                Block(current, current, config, is_attending=False),
            ]
        )
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(config.num_blocks + 1):
                self.up.append(
                    Block(
                        current + skips.pop(),
                        width,
                        config,
                        is_attending=size in config.attention_sizes,
                    )
                )
                current = width
            if level:
                self.up.append(Upsample(width, width))
                size *= 2
        self.norm = GroupNorm(config.groups, current)
        self.leave = zero_init(conv3x3(current, config.latent_channels))

    def forward(
        self,
        latent: Latents,
        timesteps: Timesteps,
        condition: Conditions,
        slots: Slots,
        identity: Identities | None,
    ) -> tuple[Latents, SlotMasks]:
        """The network's prediction, and A_cross: slots' attention merged over layers (eq. 7).

        Args:
            latent: noisy latent (b, c, h, w), preconditioned.
            timesteps: 0 to T - 1.
            condition: what is concatenated.
            slots: tokens of the source.
            identity: token of the source, or None for the ablation.
        """
        time = self.time(timestep_embedding(timesteps, self.config.channels).to(latent.dtype))
        tokens = (time, slots, identity)
        attention_maps: list[Tensor | None] = []
        h = self.enter(torch.cat([latent, condition], 1))
        skips = [h]
        for layer in self.down:
            h, attention_map = self._run_layer(layer, (h,), tokens)
            attention_maps.append(attention_map)
            skips.append(h)
        for layer in self.middle:
            h, attention_map = self._run_layer(layer, (h,), tokens)
            attention_maps.append(attention_map)
        for layer in self.up:
            parts = (h, skips.pop()) if isinstance(layer, Block) else (h,)
            h, attention_map = self._run_layer(layer, parts, tokens)
            attention_maps.append(attention_map)
        prediction = self.leave(F.silu(self.norm(h)))
        sites = [site for site in attention_maps if site is not None and self._counts(site)]
        return cast(Tensor, prediction), merge_attention(sites, latent.shape[-1])

    def _counts(self, site: Tensor) -> bool:
        """Whether a site's attention enters A_cross."""
        sizes = self.config.consistency_sizes
        return not sizes or site.shape[-1] in sizes

    def _run_layer(
        self,
        layer: nn.Module,
        parts: tuple[Tensor, ...],
        tokens: tuple[Tensor, Tensor, Tensor | None],
    ) -> tuple[Tensor, Tensor | None]:
        """A layer on its joined inputs, and its attention map if it has one."""
        if not isinstance(layer, Block):
            return layer(*parts), None

        def run(*given: Tensor) -> tuple[Tensor, Tensor | None]:
            joined = torch.cat(given, 1) if len(given) > 1 else given[0]
            return cast(tuple[Tensor, Tensor | None], layer(joined, *tokens))

        if not (self.is_recomputing and torch.is_grad_enabled()):
            return run(*parts)
        return cast(
            tuple[Tensor, Tensor | None],
            checkpoint(run, *parts, use_reentrant=False, preserve_rng_state=False),
        )


def merge_attention(attention_maps: list[Tensor], size: int) -> SlotMasks:
    """A_cross: the maps of all sites, resized and averaged (model.md 2.7)."""
    resized = [
        site if site.shape[-1] == size else F.interpolate(site, size=(size, size), mode="bilinear")
        for site in attention_maps
    ]
    return torch.stack(resized).mean(0)
