"""Synthetic stand-ins of DECA's weights: the published names and shapes, none of the content."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.face.deca import CodeEncoder, Deca, DisplacementDecoder

Shapes = dict[str, tuple[int, ...]]

# Planted codes of a plausible face: order and sizes as published (model.md 3.1).
ORDER = (("shape", 100), ("tex", 50), ("exp", 50), ("pose", 6), ("cam", 3), ("light", 27))


def norm_shapes(name: str, channels: int) -> Shapes:
    """A batch normalisation's tensors."""
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{key}": (channels,) for key in vectors} | {f"{name}.num_batches_tracked": ()}


def resnet50_shapes() -> Shapes:
    """Names and shapes of torchvision's resnet50 without fc, written from its documentation."""
    shapes: Shapes = {"conv1.weight": (64, 3, 7, 7)} | norm_shapes("bn1", 64)
    for layer, count, inside, width, outside in (
        ("layer1", 3, 64, 64, 256),
        ("layer2", 4, 256, 128, 512),
        ("layer3", 6, 512, 256, 1024),
        ("layer4", 3, 1024, 512, 2048),
    ):
        for index in range(count):
            block = f"{layer}.{index}"
            first = inside if index == 0 else outside
            shapes[f"{block}.conv1.weight"] = (width, first, 1, 1)
            shapes[f"{block}.conv2.weight"] = (width, width, 3, 3)
            shapes[f"{block}.conv3.weight"] = (outside, width, 1, 1)
            for norm, channels in (("bn1", width), ("bn2", width), ("bn3", outside)):
                shapes |= norm_shapes(f"{block}.{norm}", channels)
        shapes[f"{layer}.0.downsample.0.weight"] = (outside, inside, 1, 1)
        shapes |= norm_shapes(f"{layer}.0.downsample.1", outside)
    return shapes


def encoder_shapes(num_codes: int) -> Shapes:
    """Names and shapes of E_flame (236) or E_detail (128)."""
    shapes = {f"encoder.{name}": shape for name, shape in resnet50_shapes().items()}
    return shapes | {
        "layers.0.weight": (1024, 2048),
        "layers.0.bias": (1024,),
        "layers.2.weight": (num_codes, 1024),
        "layers.2.bias": (num_codes,),
    }


def decoder_shapes() -> Shapes:
    """Names and shapes of D_detail."""
    shapes: Shapes = {"l1.0.weight": (8192, 181), "l1.0.bias": (8192,)}
    shapes |= norm_shapes("conv_blocks.0", 128)
    for index, before, after in (
        (2, 128, 128),
        (6, 128, 64),
        (10, 64, 64),
        (14, 64, 32),
        (18, 32, 16),
    ):
        shapes[f"conv_blocks.{index}.weight"] = (after, before, 3, 3)
        shapes[f"conv_blocks.{index}.bias"] = (after,)
        shapes |= norm_shapes(f"conv_blocks.{index + 1}", after)
    return shapes | {"conv_blocks.21.weight": (1, 16, 3, 3), "conv_blocks.21.bias": (1,)}


def published_checkpoint() -> dict[str, dict[str, Tensor]]:
    """A checkpoint of the published layout; its tensors are one number each, and so its file small.

    The biases of the last layers are 0, 1, 2, … so that codes tell their places.
    """
    networks = {
        "E_flame": encoder_shapes(236),
        "E_detail": encoder_shapes(128),
        "D_detail": decoder_shapes(),
    }
    checkpoint = {
        name: {
            key: torch.zeros(1).expand(shape) if shape else torch.tensor(0)
            for key, shape in shapes.items()
        }
        for name, shapes in networks.items()
    }
    checkpoint["E_flame"]["layers.2.bias"] = torch.arange(236.0)
    checkpoint["E_detail"]["layers.2.bias"] = torch.arange(128.0)
    return checkpoint


class NoFeatures(nn.Module):
    """In place of the trunk where only the planted biases count: what it sees, it keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        """Zeros; the pictures are kept in `seen`."""
        self.seen.append(images)
        return torch.zeros(len(images), 2048)


def code_vector(codes: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Codes by their published names to the encoder's output; what is not named is 0."""
    parts = [np.ravel(codes.get(name, np.zeros(size))) for name, size in ORDER]
    vector = np.concatenate(parts).astype(np.float32)
    assert vector.shape == (236,)
    return vector


def planted_deca(codes: Mapping[str, NDArray[np.float32]], detail: float = 0.0) -> Deca:
    """DECA that says the same of every picture.

    Args:
        codes: by their published names.
        detail: every number of the detail code.
    """
    torch.manual_seed(0)
    with torch.device("meta"):
        coarse, fine = CodeEncoder(236), CodeEncoder(128)
    for network, bias in ((coarse, code_vector(codes)), (fine, np.full(128, detail, np.float32))):
        network.encoder = NoFeatures()
        network.layers = nn.Sequential(nn.Linear(2048, 1024), nn.ReLU(), nn.Linear(1024, len(bias)))
        nn.init.zeros_(network.layers[2].weight)
        with torch.no_grad():
            network.layers[2].bias.copy_(torch.from_numpy(bias))
    return Deca(coarse, fine, DisplacementDecoder())
