"""Feature distance: two batches of pictures in, how differently SqueezeNet 1.1 sees them out.

As LPIPS (Zhang et al. 2018, eq. 1) without learned weights: activations after conv1 and fire3, 5,
7, 9, each position scaled to unit length over channels; squared differences summed over channels,
averaged over positions, summed over layers. With the Caffe weights this gives the magnitudes of
lite.md section 7 (there: source unmoved 2.84, composite 2.05 to 2.16; on two frames of each val
clip: 2.76 and 2.28). Also usable as a training loss.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from difffae.arrays import Features, Images
from difffae.checkpoint import load_module

CAFFE_MEAN_BGR = (104.0, 117.0, 123.0)
NORM_FLOOR = 1e-8  # keeps all-zero activations finite


class _Fire(nn.Module):
    """SqueezeNet's block: 1x1 down, then 1x1 and 3x3 up side by side (Iandola et al. 2016)."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(in_channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Features) -> Float[Tensor, "b out h w"]:
        x = F.relu(self.squeeze1x1(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


class FeatureDistance(nn.Module):
    """SqueezeNet 1.1 up to fire9, frozen; parameters bear the Caffe model's names."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2)
        self.fire2, self.fire3 = _Fire(64, 16, 64), _Fire(128, 16, 64)
        self.fire4, self.fire5 = _Fire(128, 32, 128), _Fire(256, 32, 128)
        self.fire6, self.fire7 = _Fire(256, 48, 192), _Fire(384, 48, 192)
        self.fire8, self.fire9 = _Fire(384, 64, 256), _Fire(512, 64, 256)
        self.conv10 = nn.Conv2d(
            512, 1000, 1
        )  # not used: kept so that the file fits without exceptions
        self.register_buffer(
            "mean", torch.tensor(CAFFE_MEAN_BGR).view(1, 3, 1, 1), persistent=False
        )
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "FeatureDistance":
        """Stay frozen whatever the surroundings do: there is no training mode."""
        del mode
        return super().train(False)

    def activations(self, images: Images) -> list[Tensor]:
        """The five layers' activations, each (b, c, h, w), before scaling to unit length."""
        bgr = (images.flip(1) + 1) * 127.5 - self.mean
        stages = [
            (self.fire2, self.fire3),
            (self.fire4, self.fire5),
            (self.fire6, self.fire7),
        ]
        x = F.relu(self.conv1(bgr))
        layers = [x]
        for first, second in stages:
            x = second(first(F.max_pool2d(x, 3, 2, ceil_mode=True)))
            layers.append(x)
        return [*layers, self.fire9(self.fire8(x))]

    def features(self, images: Images) -> list[Tensor]:
        """The activations at unit length over channels, as float32 whatever the autocast."""
        layers = (layer.float() for layer in self.activations(images))
        return [x / (x.square().sum(1, keepdim=True) + NORM_FLOOR).sqrt() for x in layers]

    def between(self, features: list[Tensor], others: list[Tensor]) -> Tensor:
        """Distance of each pair of a batch, (b,), from what `features` gave."""
        layers = [
            (a - b).square().sum(1).mean((1, 2)) for a, b in zip(features, others, strict=True)
        ]
        return torch.stack(layers).sum(0)

    def forward(self, images: Images, targets: Images) -> Tensor:
        """Distance of each picture to its target, (b,): 0 for equal ones, at most 10.

        Gradients reach `images` only: targets are seen without.
        """
        with torch.no_grad():
            wanted = self.activations(targets)
        layers = [
            _unit_distance(a, b) for a, b in zip(self.activations(images), wanted, strict=True)
        ]
        return torch.stack(layers).sum(0)


def _unit_distance(a: Features, b: Features) -> Tensor:
    """|a/|a| - b/|b||² averaged over positions, (b,), by dot products: no unit-length copies."""
    aa, bb, ab = ((x * y).sum(1, dtype=torch.float32) for x, y in ((a, a), (b, b), (a, b)))
    length_a, length_b = aa + NORM_FLOOR, bb + NORM_FLOOR
    cosine = ab / (length_a * length_b).sqrt()
    return (aa / length_a + bb / length_b - 2 * cosine).mean((1, 2))


def load_feature_distance(path: Path) -> FeatureDistance:
    """The distance with weights from a safetensors file, on the CPU in float32.

    Raises:
        WeightsError: the file is missing, damaged, or not SqueezeNet 1.1.
    """
    distance = FeatureDistance()
    load_module(distance, path)
    return distance
