"""Blocks the networks share, after latent diffusion's U-Net (Rombach et al. 2022)."""

import math
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from difffae.arrays import Doubled, Features, Halved, Identities, Slots, Timesteps, Widened

_MAX_PERIOD = 10_000.0
_Layer = TypeVar("_Layer", nn.Conv2d, nn.Linear)


def zero_init(module: _Layer) -> _Layer:
    """Set weight and bias to zero, so that the branch ending here adds nothing at first."""
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


def group_norm(
    x: Features,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Features:
    """Group normalisation (Wu and He 2018); where a CPU is learning, of a contiguous copy.

    Convolutions are fastest on channels-last features, but torch 2.13's CPU kernel of this
    normalisation is not: planes and both copies together take less than half its time.
    """
    if not torch.is_grad_enabled() or x.device.type != "cpu" or x.is_contiguous():
        return F.group_norm(x, groups, weight, bias, eps)
    normal = F.group_norm(x.contiguous(), groups, weight, bias, eps)
    return normal.contiguous(memory_format=torch.channels_last)


class GroupNorm(nn.GroupNorm):
    """PyTorch's layer by way of `group_norm`."""

    def forward(self, input: Features) -> Features:
        """Normalise each group of channels over its pixels, then scale and shift each channel."""
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


def conv3x3(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps (or with stride 2 halves) the size."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)


def timestep_embedding(timesteps: Timesteps, width: int) -> Tensor:
    """Sinusoids of a timestep, cosines first (model.md 1.2): (b, width)."""
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    angles = timesteps.float()[:, None] * torch.exp(-math.log(_MAX_PERIOD) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class IdentityAdaIN(nn.Module):
    """Adaptive instance normalisation by the identity token: h_s * IN(h) + h_b (paper eq. 4, 5).

    (h_s, h_b) come from one linear layer on SiLU(f_id). It starts at h_s = 1, h_b = 0: the layer is
    a plain instance normalisation until it has learned otherwise.
    """

    def __init__(self, channels: int, identity_width: int) -> None:
        super().__init__()
        self.modulation = zero_init(nn.Linear(identity_width, 2 * channels))
        with torch.no_grad():
            self.modulation.bias[:channels] = 1

    def forward(self, features: Features, identity: Identities) -> Features:
        """Normalise each channel over its pixels, then scale and shift it."""
        scale, shift = self.modulation(F.silu(identity))[..., None, None].chunk(2, dim=1)
        normal = group_norm(features, features.shape[1])
        return cast(Tensor, scale * normal + shift)


class ResBlock(nn.Module):
    """Norm, SiLU, convolution, twice; time is added between, identity modulates the second norm."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        groups: int,
        time_width: int = 0,
        identity_width: int = 0,
    ) -> None:
        super().__init__()
        self.norm1 = GroupNorm(groups, in_channels)
        self.conv1 = conv3x3(in_channels, out_channels)
        self.time = nn.Linear(time_width, out_channels) if time_width else None
        self.norm2 = None if identity_width else GroupNorm(groups, out_channels)
        self.adain = IdentityAdaIN(out_channels, identity_width) if identity_width else None
        self.conv2 = zero_init(conv3x3(out_channels, out_channels))
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(
        self, x: Features, time: Tensor | None = None, identity: Identities | None = None
    ) -> Widened:
        """Same size out; `time` is the time embedding (b, width)."""
        h = self.conv1(F.silu(self.norm1(x)))
        if self.adain is not None:
            h = self.adain(h, identity)
        if self.time is not None:  # after AdaIN, which takes away any shift of a whole channel
            h = h + self.time(F.silu(cast(Tensor, time)))[..., None, None]
        if self.norm2 is not None:
            h = self.norm2(h)
        h = self.conv2(F.silu(h))
        return cast(Tensor, h + (x if self.skip is None else self.skip(x)))


class Attention(nn.Module):
    """Multi-head attention without query, key and value biases (model.md 1.3)."""

    def __init__(self, channels: int, context_width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(context_width, channels, bias=False)
        self.value = nn.Linear(context_width, channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Tokens (b, n, channels) attend to context (b, m, context_width)."""
        if torch.is_grad_enabled() and tokens.device.type == "cpu":
            return self.with_map(tokens, context)[0]  # its backward pass is the faster one there
        q, k, v = self._heads(tokens, context)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return cast(Tensor, self.out(rearrange(mixed, "b heads n d -> b n (heads d)")))

    def with_map(self, tokens: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and the probabilities averaged over heads: (b, n, m), each row sums to 1."""
        q, k, v = self._heads(tokens, context)
        probabilities = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
        mixed = self.out(rearrange(probabilities @ v, "b heads n d -> b n (heads d)"))
        return mixed, probabilities.mean(1)

    def _heads(self, tokens: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        projected = self.query(tokens), self.key(context), self.value(context)
        q, k, v = (
            rearrange(x, "b n (heads d) -> b heads n d", heads=self.num_heads) for x in projected
        )
        return q, k, v


class FeedForward(nn.Module):
    """GEGLU, four times as wide (Shazeer 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, 8 * channels)
        self.contract = nn.Linear(4 * channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Each token on its own."""
        value, gate = self.expand(tokens).chunk(2, dim=-1)
        return cast(Tensor, self.contract(value * F.gelu(gate)))


class SpatialTransformer(nn.Module):
    """Pixels attend to one another, then to the slots, then pass a feed-forward (model.md 1.3)."""

    def __init__(self, channels: int, context_width: int, num_heads: int, groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm(groups, channels, eps=1e-6)
        self.enter = nn.Conv2d(channels, channels, 1)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.self_attention = Attention(channels, channels, num_heads)
        self.cross_attention = Attention(channels, context_width, num_heads)
        self.feed_forward = FeedForward(channels)
        self.leave = zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Features, slots: Slots) -> tuple[Features, Tensor]:
        """The features, and how much each pixel attends to each slot: (b, slots, h, w), sum 1."""
        height, width = x.shape[-2:]
        tokens = rearrange(self.enter(self.norm(x)), "b c h w -> b (h w) c")
        normal = self.norm1(tokens)
        tokens = tokens + self.self_attention(normal, normal)
        attended, attention_map = self.cross_attention.with_map(self.norm2(tokens), slots)
        tokens = tokens + attended
        tokens = tokens + self.feed_forward(self.norm3(tokens))
        h = rearrange(tokens, "b (h w) c -> b c h w", h=height, w=width)
        return x + self.leave(h), rearrange(
            attention_map, "b (h w) s -> b s h w", h=height, w=width
        )


class SelfAttention2d(nn.Module):
    """Single or multi-head self-attention over the pixels of a small map."""

    def __init__(self, channels: int, num_heads: int, groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm(groups, channels)
        self.attention = Attention(channels, channels, num_heads)

    def forward(self, x: Features) -> Features:
        """Same size out."""
        tokens = rearrange(self.norm(x), "b c h w -> b (h w) c")
        mixed = self.attention(tokens, tokens)
        return cast(Tensor, x + rearrange(mixed, "b (h w) c -> b c h w", h=x.shape[-2]))


class Downsample(nn.Module):
    """Halve the size by a strided convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(in_channels, out_channels, stride=2)

    def forward(self, x: Features) -> Halved:
        """(b, in_channels, h, w) to (b, out_channels, h/2, w/2)."""
        return cast(Tensor, self.conv(x))


class Upsample(nn.Module):
    """Double the size, nearest pixel, then a convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(in_channels, out_channels)

    def forward(self, x: Features) -> Doubled:
        """(b, in_channels, h, w) to (b, out_channels, 2h, 2w)."""
        return cast(Tensor, self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest")))
