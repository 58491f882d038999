"""Region-responsive encoder: a picture in, slot tokens and masks out (RSC, paper 4.2)."""

from dataclasses import dataclass, field
from typing import Literal, cast

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from difffae.arrays import Features, Images, SlotMasks, Slots
from difffae.model.layers import (
    Downsample,
    GroupNorm,
    ResBlock,
    SelfAttention2d,
    Upsample,
    conv3x3,
)

_EPSILON = 1e-8
Painted = Float[Tensor, "b slots 3 h w"]


@dataclass(frozen=True, kw_only=True)
class SlotLearningConfig:
    """How slots are learned (RSC): the decoder zeta, and losses beside the paper's squared error.

    The defaults are the paper's. With them slots take tens of thousands of steps to part; merged by
    attention, kept sharp and evenly used, they part in hundreds.

    Attributes:
        painter: of zeta: "convolutional", or "pointwise", which sees one place at a time and so
            paints nothing but smooth colours.
        painter_channels, painter_start, painter_doublings: its width, the side of the map that
            slots are broadcast to, and how often a convolutional one doubles it.
        merge: the masks that merge the slots' pictures: zeta's own, one a token as in the paper, or
            the slots' attention, which learns where each region ends from the picture itself.
        exchange: weight of the squared error where source and driver keep their masks and exchange
            their tokens: token i must mean the same region in both.
        entropy: weight of the masks' entropy per pixel [nat]: a pixel belongs to one slot.
        boundary: weight of the masks' total variation: few and short borders.
        usage: weight of how far the slots' mean shares are from even [nat].
        ramp_steps: steps over which entropy and boundary grow to their weights.
        joint: weight of this loss in the joint stage, so that slots stay apart there; 0 is the
            paper, where zeta is dropped after pretraining.
    """

    painter: Literal["convolutional", "pointwise"] = "convolutional"
    painter_channels: int = 48
    painter_start: int = 16
    painter_doublings: int = 2
    merge: Literal["decoder", "attention"] = "decoder"
    exchange: float = 0.0
    entropy: float = 0.0
    boundary: float = 0.0
    usage: float = 0.0
    ramp_steps: int = 0
    joint: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RegionEncoderConfig:
    """Sizes of the encoder (paper table 4) and of slot attention.

    Attributes:
        patch: side of the patches that the first layer folds; the map is image side / patch.
        channels, multipliers, num_blocks, num_heads, out_channels: of the U-Net.
        tokens: "slots", or "global", the ablation with one token of the whole picture.
        num_slots, slot_width, num_iterations: of slot attention.
        groups: of the group normalisation.
        regions: what each slot is, in order, where slots were taught fixed regions: what is named
            here can be swapped. Empty: nobody can say, as in the paper.
        told: those of the regions that a token alone tells enough of to be swapped by it, as
            `difffae.metrics.swap` measured.
        learning: how slots are learned.
    """

    patch: int = 8
    channels: int = 64
    multipliers: tuple[int, ...] = (1, 1, 2, 4)
    num_blocks: int = 2
    num_heads: int = 8
    out_channels: int = 192
    tokens: Literal["slots", "global"] = "slots"
    num_slots: int = 4
    slot_width: int = 192
    num_iterations: int = 3
    groups: int = 16
    regions: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    learning: SlotLearningConfig = field(default_factory=SlotLearningConfig)

    def __post_init__(self) -> None:
        """Check that every slot has a name of its own, or none has.

        Raises:
            ValueError: there are more or fewer names than slots, two alike, or unknown ones.
        """
        if not set(self.told) <= set(self.regions):
            raise ValueError(
                f"region_encoder.told is {self.told}; expected some of region_encoder.regions, "
                f"{self.regions}"
            )
        if self.regions and len(set(self.regions)) != self.num_tokens:
            raise ValueError(
                f"region_encoder.regions is {self.regions}; expected {self.num_tokens} different "
                "names, one for each slot, or none"
            )

    @property
    def num_tokens(self) -> int:
        """Tokens that the denoiser attends to."""
        return self.num_slots if self.tokens == "slots" else 1


def position_grid(height: int, width: int, like: Tensor) -> Tensor:
    """y, x, 1-y, 1-x of each pixel centre: (1, 4, height, width)."""
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([rows, columns, 1 - rows, 1 - columns])[None]


class SlotAttention(nn.Module):
    """Slots compete for pixels (Locatello et al. 2020), each from its own learned start.

    One start a slot, not one for all: slot i must mean the same region in source and driver, else
    tokens cannot be exchanged and attention consistency compares noise (model.md 2.6). The starts
    are of unit spread: smaller ones drown in the first update, which is the same for all slots, and
    slots that are alike take hundreds of steps to part.
    """

    def __init__(self, config: RegionEncoderConfig) -> None:
        super().__init__()
        inputs, width = config.out_channels, config.slot_width
        self.num_iterations = config.num_iterations
        start = torch.empty(config.num_slots, width)
        # On the meta device, where there is nothing to draw, drawing would import SymPy: a second.
        self.start = nn.Parameter(start if start.is_meta else nn.init.normal_(start))
        self.position = nn.Conv2d(4, inputs, 1)
        self.prepare = nn.Sequential(
            nn.LayerNorm(inputs),
            nn.Linear(inputs, inputs),
            nn.ReLU(),
            nn.Linear(inputs, inputs),
            nn.LayerNorm(inputs),
        )
        self.key = nn.Linear(inputs, width, bias=False)
        self.value = nn.Linear(inputs, width, bias=False)
        self.query = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width, bias=False))
        self.update = nn.GRUCell(width, width)
        self.refine = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, features: Features) -> tuple[Slots, SlotMasks]:
        """Slots, and masks (M of the last iteration) that sum to 1 over the slots."""
        batch, _, height, width = features.shape
        features = features + self.position(position_grid(height, width, features))
        inputs = self.prepare(rearrange(features, "b c h w -> b (h w) c"))
        keys, values = self.key(inputs), self.value(inputs)
        slots = repeat(self.start, "s d -> b s d", b=batch).to(inputs.dtype)
        masks = keys.new_zeros(())
        for _ in range(self.num_iterations):
            queries = self.query(slots) * slots.shape[-1] ** -0.5
            masks = torch.einsum("b n d, b s d -> b s n", keys, queries).float().softmax(1)
            shares = (masks + _EPSILON) / (masks + _EPSILON).sum(-1, keepdim=True)
            gathered = torch.einsum("b s n, b n d -> b s d", shares.to(values.dtype), values)
            flat = self.update(
                rearrange(gathered, "b s d -> (b s) d"), rearrange(slots, "b s d -> (b s) d")
            )
            slots = rearrange(flat, "(b s) d -> b s d", b=batch)
            slots = slots + self.refine(slots)
        return slots, rearrange(masks, "b s (h w) -> b s h w", h=height)


class GlobalToken(nn.Module):
    """One token of the whole picture in place of slots (the paper's ablation): its mask is 1."""

    def __init__(self, config: RegionEncoderConfig) -> None:
        super().__init__()
        self.project = nn.Linear(config.out_channels, config.slot_width)

    def forward(self, features: Features) -> tuple[Slots, SlotMasks]:
        """The mean of the features, projected; a mask of ones."""
        token = self.project(features.mean((2, 3)))[:, None]
        return token, torch.ones_like(features[:, :1], dtype=torch.float32)


class RegionEncoder(nn.Module):
    """U-Net features of a picture, then slot attention over them."""

    def __init__(self, config: RegionEncoderConfig) -> None:
        super().__init__()
        widths = [config.channels * multiplier for multiplier in config.multipliers]
        groups = config.groups
        self.enter = nn.Conv2d(3, config.channels, config.patch, stride=config.patch)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        current, skips = config.channels, [config.channels]
        for level, width in enumerate(widths):
            for block in range(config.num_blocks):
                self.down.append(ResBlock(current if block == 0 else width, width, groups=groups))
                skips.append(width)
            current = width
            if level < len(widths) - 1:
                self.down.append(Downsample(width, width))
                skips.append(width)
        self.middle = nn.Sequential(
            ResBlock(current, current, groups=groups),
            SelfAttention2d(current, config.num_heads, groups),
            ResBlock(current, current, groups=groups),
        )
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(config.num_blocks + 1):
                self.up.append(ResBlock(current + skips.pop(), width, groups=groups))
                current = width
            if level:
                self.up.append(Upsample(width, width))
        self.norm = GroupNorm(groups, current)
        self.leave = conv3x3(current, config.out_channels)
        if config.tokens == "slots":
            self.slot_attention = SlotAttention(config)
        else:
            self.global_token = GlobalToken(config)
        self.tokens = config.tokens

    def forward(self, image: Images) -> tuple[Slots, SlotMasks]:
        """Slot tokens and slot masks of a picture."""
        h = self.enter(image)
        skips = [h]
        for layer in self.down:
            h = layer(h)
            skips.append(h)
        h = self.middle(h)
        for layer in self.up:
            h = layer(h) if isinstance(layer, Upsample) else layer(torch.cat([h, skips.pop()], 1))
        features = self.leave(F.silu(self.norm(h)))
        summarise = self.slot_attention if self.tokens == "slots" else self.global_token
        return cast(tuple[Tensor, Tensor], summarise(features))


class BroadcastDecoder(nn.Module):
    """zeta of the paper: each slot paints a picture and a mask; used to learn slots alone."""

    def __init__(self, slot_width: int, config: SlotLearningConfig) -> None:
        super().__init__()
        self.start = config.painter_start
        self.position = nn.Conv2d(4, slot_width, 1)
        channels = config.painter_channels
        layers: list[nn.Module]
        if config.painter == "pointwise":
            layers = [nn.SiLU(), nn.Conv2d(slot_width, channels, 1), nn.SiLU()]
            layers += [nn.Conv2d(channels, channels, 1), nn.SiLU(), nn.Conv2d(channels, 4, 1)]
        else:
            layers = [conv3x3(slot_width, channels), nn.SiLU()]
            for _ in range(config.painter_doublings):
                layers += [Upsample(channels, channels), nn.SiLU()]
            layers.append(conv3x3(channels, 4))
        self.paint = nn.Sequential(*layers)

    def forward(self, slots: Slots) -> tuple[Painted, SlotMasks]:
        """The picture that each slot paints, and masks that sum to 1 over the slots."""
        batch = slots.shape[0]
        tiles = repeat(slots, "b s d -> (b s) d h w", h=self.start, w=self.start)
        painted = self.paint(tiles + self.position(position_grid(self.start, self.start, slots)))
        pictures, logits = rearrange(painted, "(b s) c h w -> b s c h w", b=batch).split(
            [3, 1], dim=2
        )
        return pictures, logits[:, :, 0].float().softmax(1)


def merge_pictures(pictures: Painted, masks: SlotMasks) -> Images:
    """The slots' pictures merged by masks of any size (paper section 4.3)."""
    size = pictures.shape[-2:]
    is_alike = masks.shape[-2:] == size
    fitting = masks if is_alike else F.interpolate(masks, size=size, mode="bilinear")
    return (pictures.float() * fitting[:, :, None]).sum(1)
