"""DiffusionRig's U-Net in its published sizes, with random weights: a noisy picture and maps in.

Ding et al. 2023, arXiv 2304.06711, whose network is ADM's (Dhariwal & Nichol 2021, section 3) in
pixel space, with a latent code of the source that modulates as time does. The layout is that of the
public script's defaults (adobe-research/diffusion-rig, utils/script_util.py), written anew for
timing alone.
"""

from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from difffae.arrays import Features, Timesteps
from difffae.model.layers import conv3x3, timestep_embedding

NUM_STEPS = 20  # its README edits with --timestep_respacing ddim20

Resize = Literal["halve", "double", "keep"]
Resized = Float[Tensor, "b out new_h new_w"]
Vectors = Float[Tensor, "b width"]


@dataclass(frozen=True, kw_only=True)
class PixelUNetConfig:
    """Sizes of the U-Net.

    Attributes:
        image_size: side of the picture [px].
        in_channels: the noisy picture, and rendering, normals and albedo.
        out_channels: of the prediction.
        channels: of the first convolution, a quarter of the time embedding's width.
        widths: channels of each size, from the picture's on.
        num_blocks: residual blocks of each size on the way down; one more on the way up.
        attention_sizes: sides of the feature maps that attend [px].
        head_width: channels of one head of attention; 0: one head for all of them.
        code_width: of the source's latent code; 0: there is none.
    """

    image_size: int = 256
    in_channels: int = 12
    out_channels: int = 3
    channels: int = 128
    widths: tuple[int, ...] = (128, 128, 256, 256, 512, 512)
    num_blocks: int = 2
    attention_sizes: tuple[int, ...] = (16,)
    head_width: int = 0
    code_width: int = 64


class PixelUNet(nn.Module):
    """A U-Net that changes size inside residual blocks, and modulates by time and a code."""

    def __init__(self, config: PixelUNetConfig) -> None:
        super().__init__()
        self.config = config
        time_width = 4 * config.channels
        self.time = nn.Sequential(
            nn.Linear(config.channels, time_width), nn.SiLU(), nn.Linear(time_width, time_width)
        )
        size, width = config.image_size, config.widths[0]
        self.enter = conv3x3(config.in_channels, width)
        skips = [width]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, out in enumerate(config.widths):
            for _ in range(config.num_blocks):
                self.down.append(_Stage(width, out, config, size=size))
                width = out
                skips.append(width)
            if level < len(config.widths) - 1:
                self.down.append(_Block(width, width, config, resize="halve"))
                skips.append(width)
                size //= 2
        self.middle = nn.ModuleList(
            [
                _Block(width, width, config),
                _PixelAttention(width, config.head_width),
                _Block(width, width, config),
            ]
        )
        for level, out in reversed(list(enumerate(config.widths))):
            for _ in range(config.num_blocks + 1):
                self.up.append(_Stage(width + skips.pop(), out, config, size=size))
                width = out
            if level:
                self.up.append(_Block(width, width, config, resize="double"))
                size *= 2
        self.leave = nn.Sequential(
            nn.GroupNorm(32, width), nn.SiLU(), conv3x3(width, config.out_channels)
        )

    def forward(
        self, noisy: Features, timesteps: Timesteps, code: Vectors | None = None
    ) -> Float[Tensor, "b out h w"]:
        """The prediction, as large as the input.

        Args:
            noisy: the noisy picture and, concatenated, the maps.
            timesteps: 0 to T - 1.
            code: of the source; None where the network takes none.
        """
        time = self.time(timestep_embedding(timesteps, self.config.channels))
        h = self.enter(noisy)
        skips = [h]
        for layer in self.down:
            h = layer(h, time, code)
            skips.append(h)
        before, attention, after = self.middle
        h = after(attention(before(h, time, code)), time, code)
        for layer in self.up:
            joined = torch.cat([h, skips.pop()], 1) if isinstance(layer, _Stage) else h
            h = layer(joined, time, code)
        return cast(Tensor, self.leave(h))


def example_inputs(device: str = "cpu") -> tuple[Tensor, ...]:
    """Random arguments of the published network, at batch 1."""
    config = PixelUNetConfig()
    with torch.device(device):
        noisy = torch.randn(1, config.in_channels, config.image_size, config.image_size)
        return noisy, torch.full((1,), 500.0), torch.randn(1, config.code_width)


class _Block(nn.Module):
    """Norm, SiLU, convolution, twice; the second norm is modulated, the first may be resized."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        config: PixelUNetConfig,
        *,
        resize: Resize = "keep",
    ) -> None:
        super().__init__()
        self.resize = resize
        self.norm1 = nn.GroupNorm(32, in_channels)
        self.conv1 = conv3x3(in_channels, out_channels)
        self.time = nn.Linear(4 * config.channels, 2 * out_channels)
        self.code = nn.Linear(config.code_width, 2 * out_channels) if config.code_width else None
        self.norm2 = nn.GroupNorm(32, out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Features, time: Vectors, code: Tensor | None) -> Resized:
        h = self.conv1(self._resized(F.silu(self.norm1(x))))
        h = _modulated(self.norm2(h), self.time(F.silu(time)))
        if self.code is not None and code is not None:
            h = _modulated(h, self.code(F.silu(code)))
        x = self._resized(x)
        return cast(Tensor, self.conv2(F.silu(h)) + (x if self.skip is None else self.skip(x)))

    def _resized(self, x: Features) -> Resized:
        if self.resize == "halve":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if self.resize == "double" else x


class _Stage(nn.Module):
    """A residual block, and attention where its size attends."""

    def __init__(
        self, in_channels: int, out_channels: int, config: PixelUNetConfig, *, size: int
    ) -> None:
        super().__init__()
        self.block = _Block(in_channels, out_channels, config)
        is_attending = size in config.attention_sizes
        self.attention = _PixelAttention(out_channels, config.head_width) if is_attending else None

    def forward(self, x: Features, time: Vectors, code: Tensor | None) -> Resized:
        h = self.block(x, time, code)
        return cast(Tensor, h if self.attention is None else self.attention(h))


class _PixelAttention(nn.Module):
    """Self-attention of all pixels, beside the identity."""

    def __init__(self, channels: int, head_width: int) -> None:
        super().__init__()
        self.head_width = head_width or channels
        self.norm = nn.GroupNorm(32, channels)
        self.enter = nn.Linear(channels, 3 * channels)
        self.leave = nn.Linear(channels, channels)

    def forward(self, x: Features) -> Features:
        entered = self.enter(rearrange(self.norm(x), "b c h w -> b (h w) c"))
        pattern = "b n (parts heads d) -> parts b heads n d"
        q, k, v = rearrange(entered, pattern, parts=3, d=self.head_width)
        mixed = rearrange(F.scaled_dot_product_attention(q, k, v), "b heads n d -> b n (heads d)")
        return cast(Tensor, x + rearrange(self.leave(mixed), "b (h w) c -> b c h w", h=x.shape[2]))


def _modulated(x: Features, scale_and_shift: Vectors) -> Features:
    scale, shift = scale_and_shift[..., None, None].chunk(2, dim=1)
    return x * (1 + scale) + shift
