"""What FID and KID compare pictures by: Inception's features, or a stand-in under its own name."""

from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from difffae.arrays import ImageU8
from difffae.metrics.inception import FidInception
from difffae.metrics.perceptual import FeatureDistance

PictureFeatures = Float32[NDArray[np.float32], " width"]


# Of the features on the first frames of 20 validation clips: the kernel of KID wants values near 1.
SQUEEZENET_RMS = 2.8


class PictureEmbedding(Protocol):
    """A picture in, features of fixed width out."""

    @property
    def name(self) -> str:
        """What the features are, for the report."""
        ...

    @property
    def columns(self) -> tuple[str, str]:
        """What the Fréchet and the kernel distance on these features are called."""
        ...

    def embed(self, image: ImageU8) -> PictureFeatures:
        """The features of a picture."""
        ...


class InceptionEmbedding:
    """FID's own features."""

    name = "Inception-v3 of pytorch-fid (2015-12-05), 2048 features, 299 x 299 bilinear"
    columns = ("FID", "KID x1000")

    def __init__(self, network: FidInception) -> None:
        """Use FID's network with its own weights."""
        self._network = network

    def embed(self, image: ImageU8) -> PictureFeatures:
        """See `PictureEmbedding.embed`."""
        with torch.inference_mode():
            return np.asarray(self._network(_picture(image))[0].numpy(), np.float32)


class SqueezeNetEmbedding:
    """The stand-in where the user has no Inception weights; its distances are never called FID."""

    name = (
        "SqueezeNet 1.1 fire9 activations, mean over positions, over their RMS on face crops of "
        f"{SQUEEZENET_RMS}, 512 features (not FID)"
    )
    columns = ("FD-SqueezeNet", "KD-SqueezeNet x1000")

    def __init__(self, network: FeatureDistance) -> None:
        """Use SqueezeNet with ImageNet's weights."""
        self._network = network

    def embed(self, image: ImageU8) -> PictureFeatures:
        """See `PictureEmbedding.embed`."""
        with torch.inference_mode():
            last = self._network.activations(_picture(image))[-1]
        return np.asarray(last.mean((2, 3))[0].numpy() / SQUEEZENET_RMS, np.float32)


def _picture(image: ImageU8) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    return pixels.float() / 127.5 - 1
