"""The paper's first stage, latent diffusion's VQ or KL autoencoder: images to latents and back.

Layout as in Rombach et al. 2022 (model.md 1.9): VQ-f8 has 67,717,295 parameters, KL-f8 83,653,863.
The latent is the one before quantisation; the decoder quantises first (model.md 1.8).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from difffae.arrays import Alphas, Doubled, Features, Images, Latents, Widened
from difffae.model.layers import conv3x3

_CONFIG_IMAGE_PX = 256  # latent diffusion's configs name attention by feature size at this side
_NORM_EPS = 1e-6
_LOG_VARIANCE_RANGE = (-30.0, 20.0)
_VECTORS_AT_ONCE = 8192  # 512 MiB of distances to 16,384 codes


@dataclass(frozen=True, kw_only=True)
class FirstStageConfig:
    """Sizes of the first stage; the defaults are VQ-f8's.

    Attributes:
        kind: "vq" quantises latents to a codebook, "kl" samples them from a Gaussian.
        channels: width of the finest level.
        multipliers: width of each level over `channels`; each further level halves the size.
            VQ-f8: 1, 2, 2, 4; KL-f8: 1, 2, 4, 4.
        num_blocks: residual blocks of a level of the encoder; the decoder's have one more.
        attention_sizes: sides of the feature maps that attend, for a picture of 256 px, as latent
            diffusion lists them (VQ-f8: 32; KL-f8: none). The middle always attends.
        latent_channels: channels of the latent.
        num_codes: vectors in the codebook; 256 to 4096 for a small set of faces, of which few
            use many (model.md 1.10).
        groups: of the group normalisation.
    """

    kind: Literal["vq", "kl"] = "vq"
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 4)
    num_blocks: int = 2
    attention_sizes: tuple[int, ...] = (32,)
    latent_channels: int = 4
    num_codes: int = 16384
    groups: int = 32

    def __post_init__(self) -> None:
        """Refuse what cannot be built.

        Raises:
            ValueError: an unknown kind, or widths that the groups do not divide.
        """
        if self.kind not in ("vq", "kl"):
            raise ValueError(f"first_stage.kind is {self.kind!r}; expected 'vq' or 'kl'")
        if not self.multipliers or self.channels % self.groups:
            raise ValueError(
                f"Got {self.multipliers=}, {self.channels=} and {self.groups=}; expected one level "
                "or more, and channels that the groups divide"
            )

    @property
    def factor(self) -> int:
        """Side of the image over side of the latent."""
        return int(2 ** (len(self.multipliers) - 1))

    @property
    def widths(self) -> list[int]:
        """Width of each level, finest first."""
        return [self.channels * multiplier for multiplier in self.multipliers]

    def is_attending(self, level: int) -> bool:
        """Whether a level attends; 0 is the finest."""
        return _CONFIG_IMAGE_PX // 2**level in self.attention_sizes


def _norm(channels: int, groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups, channels, eps=_NORM_EPS)


class ResidualBlock(nn.Module):
    """Norm, swish, convolution, twice, beside a skip."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = _norm(in_channels, groups)
        self.conv1 = conv3x3(in_channels, out_channels)
        self.norm2 = _norm(out_channels, groups)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Features) -> Widened:
        """Same size out."""
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return cast(Tensor, h + (x if self.skip is None else self.skip(x)))


class PixelAttention(nn.Module):
    """Single-head self-attention over pixels, its projections 1x1 convolutions with bias."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = _norm(channels, groups)
        self.query, self.key, self.value, self.out = (
            nn.Conv2d(channels, channels, 1) for _ in range(4)
        )

    def forward(self, x: Features) -> Features:
        """Same size out."""
        normal = self.norm(x)
        projected = self.query(normal), self.key(normal), self.value(normal)
        q, k, v = (rearrange(part, "b c h w -> b (h w) c") for part in projected)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return cast(Tensor, x + self.out(rearrange(mixed, "b (h w) c -> b c h w", h=x.shape[2])))


class Halve(nn.Module):
    """Halve the size: a strided convolution, padded right and below alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Features) -> Float[Tensor, "b c h//2 w//2"]:
        """(b, c, h, w) to (b, c, h/2, w/2)."""
        return cast(Tensor, self.conv(F.pad(x, (0, 1, 0, 1))))


class Double(nn.Module):
    """Double the size: nearest pixel, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels, channels)

    def forward(self, x: Features) -> Doubled:
        """(b, c, h, w) to (b, c, 2h, 2w)."""
        return cast(Tensor, self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest")))


class Level(nn.Module):
    """Residual blocks of one size, each followed by attention where it attends, then a resize."""

    def __init__(
        self, channels: Sequence[int], groups: int, resize: nn.Module, *, is_attending: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(before, after, groups) for before, after in pairwise(channels)
        )
        self.attentions = nn.ModuleList(
            PixelAttention(after, groups) for after in channels[1:] if is_attending
        )
        self.resize = resize

    def forward(self, x: Features) -> Float[Tensor, "b out new_h new_w"]:
        """The features of the next level's size."""
        for number, block in enumerate(self.blocks):
            x = block(x)
            if self.attentions:
                x = self.attentions[number](x)
        return cast(Tensor, self.resize(x))


def _middle(channels: int, groups: int) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(channels, channels, groups),
        PixelAttention(channels, groups),
        ResidualBlock(channels, channels, groups),
    )


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """What the encoder says of an image's uncalibrated latent.

    Attributes:
        mean: the latent before quantisation, or the Gaussian's mean: (b, c, h/f, w/f).
        log_variance: of the Gaussian; None where the kind is "vq".
    """

    mean: Latents
    log_variance: Latents | None

    def sample(self) -> Latents:
        """A draw of the Gaussian; the latent itself where there is none."""
        if self.log_variance is None:
            return self.mean
        return self.mean + torch.exp(0.5 * self.log_variance) * torch.randn_like(self.mean)

    def divergence(self) -> Float[Tensor, " b"]:
        """Kullback-Leibler divergence of the Gaussian from N(0, 1), summed over the latent [nat].

        Raises:
            ValueError: there is no Gaussian.
        """
        if self.log_variance is None:
            raise ValueError("got a latent of kind 'vq', expected a Gaussian; use kind 'kl'")
        log_variance = self.log_variance.float()
        terms = self.mean.float().square() + log_variance.exp() - 1 - log_variance
        return 0.5 * terms.sum((1, 2, 3))


class FirstStageEncoder(nn.Module):
    """Image to latent."""

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: FirstStageConfig) -> None:
        super().__init__()
        widths, groups = config.widths, config.groups
        moments = config.latent_channels * (2 if config.kind == "kl" else 1)
        self.is_gaussian = config.kind == "kl"
        self.enter = conv3x3(3, config.channels)
        self.levels = nn.Sequential()
        for level, (before, after) in enumerate(pairwise([config.channels, *widths])):
            resize = Halve(after) if level < len(widths) - 1 else nn.Identity()
            sizes = [before] + [after] * config.num_blocks
            is_attending = config.is_attending(level)
            self.levels.append(Level(sizes, groups, resize, is_attending=is_attending))
        self.middle = _middle(widths[-1], groups)
        self.norm = _norm(widths[-1], groups)
        self.leave = conv3x3(widths[-1], moments)
        self.quant = nn.Conv2d(moments, moments, 1)
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels, 1, 1))
        self.register_buffer("latent_std", torch.ones(config.latent_channels, 1, 1))

    def forward(self, image: Images) -> Latents:
        """The latent, scaled to zero mean and unit spread by what `calibrate` measured.

        It is the one before quantisation; of a Gaussian a sample in training mode, else the mean.
        """
        posterior = self.posterior(image)
        raw = posterior.sample() if self.training else posterior.mean
        return (raw - self.latent_mean) / self.latent_std

    def posterior(self, image: Images) -> Posterior:
        """The latent of the image, uncalibrated, with its variance where it has one."""
        h = self.middle(self.levels(self.enter(image)))
        moments = self.quant(self.leave(F.silu(self.norm(h))))
        if not self.is_gaussian:
            return Posterior(mean=moments, log_variance=None)
        mean, log_variance = moments.chunk(2, dim=1)
        return Posterior(mean=mean, log_variance=log_variance.clamp(*_LOG_VARIANCE_RANGE))

    @torch.no_grad()
    def calibrate(self, images: Images) -> None:
        """Measure mean and spread of each latent channel on these images (model.md 0.4).

        The decoder has to be told by `FirstStageDecoder.adopt_scale`.
        """
        raw = self.posterior(images).mean.float()
        self.latent_mean.copy_(raw.mean((0, 2, 3))[:, None, None])
        self.latent_std.copy_(raw.std((0, 2, 3))[:, None, None])


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """Latents and their nearest codes.

    Attributes:
        latent: the codes' vectors; its gradient passes straight through to the raw latent.
        vectors: the same with gradient to the codebook alone.
        indices: which codes, (b, h/f, w/f).
    """

    latent: Latents
    vectors: Latents
    indices: Int64[Tensor, "b latent_h latent_w"]


class Codebook(nn.Module):
    """Vector quantisation with straight-through gradient (van den Oord et al. 2017, section 3)."""

    idle: Tensor

    def __init__(self, num_codes: int, channels: int) -> None:
        super().__init__()
        bound = 1 / num_codes
        self.weight = nn.Parameter(torch.empty(num_codes, channels).uniform_(-bound, bound))
        self.register_buffer("idle", torch.zeros(num_codes, dtype=torch.int64))

    def forward(self, raw: Latents) -> Quantized:
        """Each latent vector's nearest code by squared distance, in float32 under autocast too."""
        vectors = rearrange(raw.detach().float(), "b c h w -> (b h w) c")
        indices = self._nearest(vectors).view(raw.shape[0], *raw.shape[2:])
        codes = rearrange(F.embedding(indices, self.weight), "b h w c -> b c h w")
        latent = raw + (codes - raw).detach()
        return Quantized(latent=latent, vectors=codes, indices=indices)

    @torch.no_grad()
    def restart_idle(self, raw: Latents, quantized: Quantized, limit: int) -> None:
        """Move codes that nothing was nearest to for `limit` calls onto latents drawn from these.

        The random restarts of Dhariwal et al. 2020 (Jukebox, section 3.1): codes begin much closer
        to one another than latents do, and without restarts few of them are ever used.
        """
        counts = torch.bincount(quantized.indices.flatten(), minlength=len(self.idle))
        self.idle.add_(1).mul_(counts == 0)
        vectors = rearrange(raw.detach().float(), "b c h w -> (b h w) c")
        drawn = vectors[torch.randint(len(vectors), self.idle.shape, device=vectors.device)]
        is_dead = self.idle >= limit
        self.weight.copy_(torch.where(is_dead[:, None], drawn, self.weight))
        self.idle.mul_(~is_dead)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.broadcast(self.weight.data, src=0)  # others drew other latents

    @torch.no_grad()
    def _nearest(self, vectors: Float[Tensor, "n c"]) -> Int64[Tensor, " n"]:
        weight = self.weight.float()  # cdist stays float32 under autocast, a matrix product not
        starts = range(0, len(vectors), _VECTORS_AT_ONCE)
        parts = [vectors[start : start + _VECTORS_AT_ONCE] for start in starts]
        return torch.cat([torch.cdist(part, weight).argmin(1) for part in parts])


class FirstStageDecoder(nn.Module):
    """Latent to image; what the encoder's calibration did is undone, then the codebook applies."""

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: FirstStageConfig) -> None:
        super().__init__()
        widths, groups, latent = config.widths[::-1], config.groups, config.latent_channels
        self.codebook = Codebook(config.num_codes, latent) if config.kind == "vq" else None
        self.post_quant = nn.Conv2d(latent, latent, 1)
        self.enter = conv3x3(latent, widths[0])
        self.middle = _middle(widths[0], groups)
        self.levels = nn.Sequential()
        for number, (before, after) in enumerate(pairwise([widths[0], *widths])):
            level = len(widths) - 1 - number
            resize = Double(after) if level else nn.Identity()
            sizes = [before] + [after] * (config.num_blocks + 1)
            is_attending = config.is_attending(level)
            self.levels.append(Level(sizes, groups, resize, is_attending=is_attending))
        self.norm = _norm(widths[-1], groups)
        self.leave = conv3x3(widths[-1], 3)
        self.register_buffer("latent_mean", torch.zeros(latent, 1, 1))
        self.register_buffer("latent_std", torch.ones(latent, 1, 1))

    def forward(self, latent: Latents, condition: Features | None = None) -> tuple[Images, Alphas]:
        """The image, and an alpha of ones: every pixel is generated.

        Args:
            latent: as the encoder gives it, calibrated and not quantised.
            condition: not seen; the bundled model's decoder has it.
        """
        del condition
        raw = latent * self.latent_std + self.latent_mean
        image = self.decode(raw if self.codebook is None else self.codebook(raw).latent)
        return image, torch.ones_like(image[:, :1])

    def decode(self, quantized: Latents) -> Images:
        """The image of an uncalibrated latent, already quantised where there is a codebook."""
        h = self.levels(self.middle(self.enter(self.post_quant(quantized))))
        return cast(Tensor, self.leave(F.silu(self.norm(h))))

    @torch.no_grad()
    def adopt_scale(self, encoder: FirstStageEncoder) -> None:
        """Take over what the encoder's `calibrate` measured."""
        self.latent_mean.copy_(encoder.latent_mean)
        self.latent_std.copy_(encoder.latent_std)
