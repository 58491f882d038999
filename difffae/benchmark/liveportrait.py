"""LivePortrait's networks in their published sizes, with random weights: tensors in, tensors out.

Guo et al. 2024, arXiv 2407.03168. The layout is that of its public configuration (KwaiVGI/
LivePortrait, src/config/models.yaml), written anew for timing alone. Where there was a choice, the
cheaper form was taken: spectral normalisation is folded into the weights, SPADE's scale and shift
are one convolution, the heads of the motion extractor one layer, and the arithmetic on keypoints
between the networks is left out.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from difffae.arrays import Alphas, Features, Widened

IMAGE_SIZE_PX = 256
NUM_KEYPOINTS = 21
PUBLISHED_PARAMETERS: Mapping[str, int] = {
    "appearance extractor": 840_000,
    "motion extractor": 28_120_000,
    "warping module": 45_530_000,
    "generator": 55_370_000,
    "stitching and retargeting": 230_000,
}
"""What assets/docs/speed.md of the repository says, to 10,000."""

_DEPTH = 16
_VOLUME_CHANNELS = 32
_MAP_CHANNELS = 256
_MAP_SIZE = 64
_NUM_POSE_BINS = 66
_SPREAD = 0.01  # variance of a keypoint's heatmap, in units of half a picture

Volumes = Float[Tensor, "b c d h w"]
WidenedVolumes = Float[Tensor, "b out d h w"]
Keypoints = Float[Tensor, "b k 3"]
Vectors = Float[Tensor, "b width"]
Flows = Float[Tensor, "b d h w 3"]


def appearance_extractor() -> nn.Sequential:
    """F, once a source: pictures (b, 3, 256, 256) to volumes (b, 32, 16, 64, 64)."""
    widths = (64, 128, _MAP_CHANNELS)
    halvings = [[*_convolution(a, b, nn.ReLU()), nn.AvgPool2d(2)] for a, b in pairwise(widths)]
    return nn.Sequential(
        *_convolution(3, widths[0], nn.ReLU()),
        *(layer for halving in halvings for layer in halving),
        nn.Conv2d(_MAP_CHANNELS, _VOLUME_CHANNELS * _DEPTH, 1),
        nn.Unflatten(1, (_VOLUME_CHANNELS, _DEPTH)),
        *(_ResidualVolume(_VOLUME_CHANNELS) for _ in range(6)),
    )


def motion_extractor() -> nn.Sequential:
    """M, once a frame: pictures to numbers (b, 328) that describe the motion, by ConvNeXt V2-T.

    They are 21 keypoints and their offsets, bins of three angles, translation and scale.
    """
    widths, depths = (96, 192, 384, 768), (3, 3, 9, 3)
    layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, stride=4), _ChannelNorm(widths[0])]
    for level, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if level:
            before = widths[level - 1]
            layers += [_ChannelNorm(before), nn.Conv2d(before, width, 2, stride=2)]
        layers += [_ConvNeXtBlock(width) for _ in range(depth)]
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(widths[-1], eps=1e-6)]
    num_outputs = 2 * 3 * NUM_KEYPOINTS + 3 * _NUM_POSE_BINS + 3 + 1
    return nn.Sequential(*layers, *pooled, nn.Linear(widths[-1], num_outputs))


def stitching() -> nn.Sequential:
    """S, once a frame: both sets of keypoints (b, 126) to their corrections (b, 65)."""
    return _perceptron(6 * NUM_KEYPOINTS, 128, 128, 64, 3 * NUM_KEYPOINTS + 2)


def retargeting() -> nn.ModuleList:
    """R of lips and eyes, which a frame needs only where it is asked for; for counting."""
    num_out = 3 * NUM_KEYPOINTS
    lips = _perceptron(num_out + 2, 128, 128, 64, num_out)
    return nn.ModuleList([lips, _perceptron(num_out + 3, 256, 256, 128, 128, 64, num_out)])


class WarpingModule(nn.Module):
    """W, once a frame: the source's volume moved as keypoints moved, and flattened to a map."""

    def __init__(self) -> None:
        super().__init__()
        self.motion = _DenseMotion()
        activation = nn.LeakyReLU(0.01)
        self.flatten = nn.Sequential(
            *_convolution(_VOLUME_CHANNELS * _DEPTH, _MAP_CHANNELS, activation),
            nn.Conv2d(_MAP_CHANNELS, _MAP_CHANNELS, 1),
        )

    def forward(self, volume: Volumes, driving: Keypoints, source: Keypoints) -> Widened:
        """Volumes (b, 32, 16, 64, 64) to maps (b, 256, 64, 64); keypoints in [-1, 1]."""
        flow, visible = self.motion(volume, driving, source)
        moved = _sample(volume, flow).flatten(1, 2)
        return cast(Tensor, self.flatten(moved) * visible)


class Generator(nn.Module):
    """G, once a frame: maps to pictures of twice the input's side, by SPADE (Park et al. 2019)."""

    def __init__(self) -> None:
        super().__init__()
        wide = 2 * _MAP_CHANNELS
        self.enter = nn.Conv2d(_MAP_CHANNELS, wide, 3, padding=1)
        self.blocks = nn.ModuleList(_SpadeBlock(wide, wide) for _ in range(6))
        self.enlarging = nn.ModuleList([_SpadeBlock(wide, _MAP_CHANNELS), _SpadeBlock(256, 64)])
        self.leave = nn.Sequential(
            nn.LeakyReLU(0.2), nn.Conv2d(64, 12, 3, padding=1), nn.PixelShuffle(2), nn.Sigmoid()
        )

    def forward(self, features: Features) -> Float[Tensor, "b 3 8*h 8*w"]:
        """(b, 256, 64, 64) to (b, 3, 512, 512)."""
        h = self.enter(features)
        for block in self.blocks:
            h = block(h, features)
        for block in self.enlarging:
            h = block(F.interpolate(h, scale_factor=2.0, mode="nearest"), features)
        return cast(Tensor, self.leave(h))


def example_inputs(device: str = "cpu") -> dict[str, tuple[Tensor, ...]]:
    """Random arguments of every network that runs, at batch 1."""
    with torch.device(device):
        picture = torch.rand(1, 3, IMAGE_SIZE_PX, IMAGE_SIZE_PX)
        volume = torch.randn(1, _VOLUME_CHANNELS, _DEPTH, _MAP_SIZE, _MAP_SIZE)
        driving, source = (2 * torch.rand(1, NUM_KEYPOINTS, 3) - 1 for _ in range(2))
        return {
            "appearance extractor": (picture,),
            "motion extractor": (picture,),
            "stitching": (torch.rand(1, 6 * NUM_KEYPOINTS),),
            "warping module": (volume, driving, source),
            "generator": (torch.randn(1, _MAP_CHANNELS, _MAP_SIZE, _MAP_SIZE),),
        }


def build_networks() -> dict[str, nn.Module]:
    """Every network that runs, by the names of `example_inputs`."""
    return {
        "appearance extractor": appearance_extractor(),
        "motion extractor": motion_extractor(),
        "stitching": stitching(),
        "warping module": WarpingModule(),
        "generator": Generator(),
    }


def _convolution(in_channels: int, out_channels: int, activation: nn.Module) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    return [convolution, nn.BatchNorm2d(out_channels), activation]


def _convolution3d(in_channels: int, out_channels: int) -> nn.Sequential:
    convolution = nn.Conv3d(in_channels, out_channels, 3, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm3d(out_channels), nn.ReLU())


def _perceptron(*widths: int) -> nn.Sequential:
    *hidden, (before, last) = pairwise(widths)
    layers = [[nn.Linear(a, b), nn.ReLU()] for a, b in hidden]
    return nn.Sequential(*(part for layer in layers for part in layer), nn.Linear(before, last))


class _ResidualVolume(nn.Module):
    """Norm, ReLU, convolution in three dimensions, twice, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(*self._half(channels), *self._half(channels))

    @staticmethod
    def _half(channels: int) -> list[nn.Module]:
        convolution = nn.Conv3d(channels, channels, 3, padding=1)
        return [nn.BatchNorm3d(channels), nn.ReLU(), convolution]

    def forward(self, x: Volumes) -> Volumes:
        return cast(Tensor, x + self.branch(x))


class _ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, input: Features) -> Features:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _ResponseNorm(nn.Module):
    """Global response normalisation (Woo et al. 2023, ConvNeXt V2, algorithm 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain, self.bias = (nn.Parameter(torch.zeros(channels)) for _ in range(2))

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        energy = x.norm(dim=(1, 2), keepdim=True)
        response = energy / (energy.mean(-1, keepdim=True) + 1e-6)
        return cast(Tensor, self.gain * (x * response) + self.bias + x)


class _ConvNeXtBlock(nn.Module):
    """A 7×7 convolution of each channel, then a perceptron of each pixel, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.pixelwise = nn.Sequential(
            nn.LayerNorm(channels, eps=1e-6),
            nn.Linear(channels, 4 * channels),
            nn.GELU(),
            _ResponseNorm(4 * channels),
            nn.Linear(4 * channels, channels),
        )

    def forward(self, x: Features) -> Features:
        mixed = self.pixelwise(self.spatial(x).permute(0, 2, 3, 1))
        return cast(Tensor, x + mixed.permute(0, 3, 1, 2))


class _Hourglass(nn.Module):
    """Five halvings of height and width and back; each size is joined to its counterpart's."""

    WIDTHS = (32, 64, 128, 256, 512, 1024)

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        steps = list(pairwise(self.WIDTHS))
        self.down = nn.ModuleList(
            _convolution3d(before if level else in_channels, after)
            for level, (before, after) in enumerate(steps)
        )
        self.up = nn.ModuleList(
            _convolution3d(after if after == self.WIDTHS[-1] else 2 * after, before)
            for before, after in reversed(steps)
        )
        self.out_channels = self.WIDTHS[0] + in_channels
        self.leave = _convolution3d(self.out_channels, self.out_channels)

    def forward(self, x: Volumes) -> WidenedVolumes:
        """Same size out, with the input's channels beside 32 of its own."""
        skips = [x]
        for layer in self.down:
            skips.append(F.avg_pool3d(layer(skips[-1]), (1, 2, 2)))
        h = skips.pop()
        for layer in self.up:
            h = layer(F.interpolate(h, scale_factor=(1.0, 2.0, 2.0), mode="nearest"))
            h = torch.cat([h, skips.pop()], 1)
        return cast(Tensor, self.leave(h))


class _DenseMotion(nn.Module):
    """Where each voxel of the driven volume comes from, and which pixels the source shows."""

    COMPRESSED = 4

    def __init__(self) -> None:
        super().__init__()
        num_motions = NUM_KEYPOINTS + 1  # each keypoint's own, and none at all
        self.compress = nn.Sequential(
            nn.Conv3d(_VOLUME_CHANNELS, self.COMPRESSED, 1),
            nn.BatchNorm3d(self.COMPRESSED),
            nn.ReLU(),
        )
        self.hourglass = _Hourglass(num_motions * (self.COMPRESSED + 1))
        channels = self.hourglass.out_channels
        self.choose = nn.Conv3d(channels, num_motions, 7, padding=3)
        self.see = nn.Conv2d(channels * _DEPTH, 1, 7, padding=3)

    def forward(
        self, volume: Volumes, driving: Keypoints, source: Keypoints
    ) -> tuple[Flows, Alphas]:
        """The places to sample the volume at, in [-1, 1], and how visible each pixel is."""
        grid = _grid(volume)
        shifts = F.pad(source - driving, (0, 0, 1, 0))  # the first motion is none
        motions = grid + shifts[:, :, None, None, None]  # (b, motions, d, h, w, 3)
        hints = self._hints(volume, grid, motions, driving, source)
        features = self.hourglass(hints)
        shares = self.choose(features).softmax(1)
        flow = (motions * shares[..., None]).sum(1)
        return flow, torch.sigmoid(self.see(features.flatten(1, 2)))

    def _hints(
        self,
        volume: Volumes,
        grid: Float[Tensor, "d h w 3"],
        motions: Float[Tensor, "b n d h w 3"],
        driving: Keypoints,
        source: Keypoints,
    ) -> WidenedVolumes:
        """For each motion: how near its keypoint is, and the volume moved by it."""
        compressed = self.compress(volume)
        num_motions = motions.shape[1]
        moved = _sample(compressed.repeat_interleave(num_motions, 0), motions.flatten(0, 1))
        moved = rearrange(moved, "(b n) c d h w -> b n c d h w", n=num_motions)
        heat = F.pad(_heat(grid, driving) - _heat(grid, source), (0, 0) * 3 + (1, 0))
        return torch.cat([heat[:, :, None].to(moved.dtype), moved], 2).flatten(1, 2)


class _SpadeNorm(nn.Module):
    """Instance normalisation, scaled and shifted at each pixel by a map."""

    HIDDEN = 128

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.read = nn.Conv2d(_MAP_CHANNELS, self.HIDDEN, 3, padding=1)
        self.modulate = nn.Conv2d(self.HIDDEN, 2 * channels, 3, padding=1)

    def forward(self, x: Features, features: Float[Tensor, "b map map_h map_w"]) -> Features:
        resized = F.interpolate(features, size=x.shape[-2:], mode="nearest")
        scale, shift = self.modulate(F.relu(self.read(resized))).chunk(2, dim=1)
        return cast(Tensor, F.instance_norm(x) * (1 + scale) + shift)


class _SpadeBlock(nn.Module):
    """Two modulated convolutions beside the identity, or beside a third where widths differ."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        middle = min(in_channels, out_channels)
        self.norm1, self.norm2 = _SpadeNorm(in_channels), _SpadeNorm(middle)
        self.conv1 = nn.Conv2d(in_channels, middle, 3, padding=1)
        self.conv2 = nn.Conv2d(middle, out_channels, 3, padding=1)
        is_same = in_channels == out_channels
        self.skip_norm = None if is_same else _SpadeNorm(in_channels)
        self.skip = None if is_same else nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Features, features: Float[Tensor, "b map map_h map_w"]) -> Widened:
        h = self.conv1(F.leaky_relu(self.norm1(x, features), 0.2))
        h = self.conv2(F.leaky_relu(self.norm2(h, features), 0.2))
        if self.skip is None or self.skip_norm is None:
            return cast(Tensor, x + h)
        return cast(Tensor, self.skip(self.skip_norm(x, features)) + h)


def _grid(volume: Volumes) -> Float[Tensor, "d h w 3"]:
    """Each voxel's own place, x first, in [-1, 1]."""
    axes = [torch.linspace(-1, 1, size, device=volume.device) for size in volume.shape[2:]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)


def _heat(grid: Float[Tensor, "d h w 3"], keypoints: Keypoints) -> Float[Tensor, "b k d h w"]:
    """A Gaussian about each keypoint, 1 at its centre."""
    squared = (grid - keypoints[:, :, None, None, None]).square().sum(-1)
    return torch.exp(-0.5 / _SPREAD * squared)


def _sample(volume: Volumes, flow: Flows) -> Volumes:
    return F.grid_sample(volume, flow.to(volume.dtype), align_corners=False)
