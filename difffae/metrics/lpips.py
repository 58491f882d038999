r"""LPIPS 0.1: two batches of pictures in, their learned perceptual distance out.

Zhang et al. 2018, eq. 1, as the package `lpips` 0.1.4 computes it, on VGG16 (training, model.md
1.10) or AlexNet (the metric's usual trunk), told apart by the weights. They come in one safetensors
file of the user's own, with torchvision's names for the trunk and lpips' for the learned layers:
`features.N.weight`, `features.N.bias` (or lpips' `net.sliceK.N.*`), `lin0.model.1.weight` to
`lin4.model.1.weight`; other names are passed over. Where lpips and torchvision are installed, this
writes it:

    python -c "import lpips, safetensors.torch as s; \
    s.save_file({k: v for k, v in lpips.LPIPS(net='vgg').state_dict().items() \
    if k[:4] in ('net.', 'lin0', 'lin1', 'lin2', 'lin3', 'lin4')}, 'lpips_vgg.safetensors')"
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from difffae.arrays import Images
from difffae.checkpoint import WeightsError, load_tensors

Trunk = Literal["vgg16", "alexnet"]

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_FLOOR = 1e-10  # keeps all-zero activations finite
_NUM_LAYERS = 5
_HOW_TO_GET = (
    "it holds VGG16 or AlexNet as torchvision has it and the learned layers of the package lpips "
    "(pip install lpips torchvision); the docstring of difffae.metrics.lpips has the command that "
    "writes it; then set {setting} to its path"
)
_TRUNK_NAME = re.compile(r"(?:features|net\.slice\d)\.(\d+)\.(weight|bias)")
_LINEAR_NAME = re.compile(r"lin(\d)\.model\.1\.weight")


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """A trunk's layers by torchvision's numbers, and after which its features are read."""

    layers: tuple[nn.Module, ...]
    read: tuple[int, ...]
    widths: tuple[int, ...]


class Lpips(nn.Module):
    """The distance, frozen; parameters bear torchvision's names and lpips'.

    Args:
        trunk: the network whose features are compared.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        shape = _vgg16() if trunk == "vgg16" else _alexnet()
        self.trunk: Trunk = trunk
        self._read = shape.read
        self.features = nn.Sequential(*shape.layers)
        self.linear = nn.ParameterList(torch.ones(1, width, 1, 1) for width in shape.widths)
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    @property
    def name(self) -> str:
        """What a table of figures calls it."""
        return f"LPIPS 0.1 ({self.trunk})"

    def train(self, mode: bool = True) -> "Lpips":
        """Stay frozen whatever the surroundings do: there is no training mode."""
        del mode
        return super().train(False)

    def activations(self, images: Images) -> list[Tensor]:
        """The five layers' activations after their ReLU, each (b, c, h, w)."""
        x, layers = (images - self.shift) / self.scale, []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self._read:
                layers.append(x)
        return layers

    def forward(self, images: Images, targets: Images) -> Float[Tensor, " b"]:
        """Distance of each picture to its target: 0 for equal ones.

        Gradients reach `images` only: targets are seen without.
        """
        with torch.no_grad():
            wanted = self.activations(targets)
        given = self.activations(images)
        layers = [
            (weight * (_unit(a) - _unit(b)).square()).sum(1).mean((1, 2))
            for weight, a, b in zip(self.linear, given, wanted, strict=True)
        ]
        return torch.stack(layers).sum(0)


def load_lpips(path: Path | None, *, setting: str = "training.loss.lpips_weights") -> Lpips:
    """The distance with the weights of the user's file, on the CPU in float32.

    Args:
        path: the file.
        setting: configuration key or option that names it, for the error.

    Raises:
        WeightsError: there is no file, it cannot be read, or it holds other networks.
    """
    how_to_get = _HOW_TO_GET.format(setting=setting)
    if path is None or not path.is_file():
        got = "no file" if path is None else f"no file at {path}"
        raise WeightsError(f"got {got} of LPIPS weights, expected one .safetensors: {how_to_get}")
    trunk_tensors, linear = _sorted_tensors(load_tensors(path))
    first = trunk_tensors.get("0.weight")
    if first is None or len(linear) != _NUM_LAYERS:
        raise WeightsError(
            f"{path} is not LPIPS: got {len(trunk_tensors)} tensors of a trunk and {len(linear)} "
            f"learned layers of {_NUM_LAYERS}; {how_to_get}"
        )
    distance = Lpips("alexnet" if first.shape[-1] == 11 else "vgg16")
    wanted = distance.features.state_dict()
    given = {name: trunk_tensors[name] for name in wanted if name in trunk_tensors}
    given_shapes = {name: tensor.shape for name, tensor in given.items()}
    linear_shapes = [linear[number].shape for number in range(_NUM_LAYERS)]
    if given_shapes != {name: tensor.shape for name, tensor in wanted.items()} or (
        linear_shapes != [weight.shape for weight in distance.linear]
    ):
        raise WeightsError(
            f"{path} is not LPIPS on {distance.trunk}: tensors are missing or of other shapes; "
            f"{how_to_get}"
        )
    distance.features.load_state_dict(given)
    for number, weight in enumerate(distance.linear):
        weight.copy_(linear[number])
    return distance


def _sorted_tensors(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[int, Tensor]]:
    trunk: dict[str, Tensor] = {}
    linear: dict[int, Tensor] = {}
    for name, tensor in tensors.items():
        if found := _TRUNK_NAME.fullmatch(name):
            trunk[f"{found[1]}.{found[2]}"] = tensor
        elif found := _LINEAR_NAME.fullmatch(name):
            linear[int(found[1])] = tensor
    return trunk, linear


def _unit(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Unit length over channels, in float32 whatever the autocast."""
    wide = features.float()
    return wide / (wide.square().sum(1, keepdim=True) + _FLOOR**2).sqrt()


def _vgg16() -> _Shape:
    layers: list[nn.Module] = []
    width = 3
    for level, (channels, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        if level:
            layers.append(nn.MaxPool2d(2))
        for _ in range(depth):
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU()]
            width = channels
    widths = (64, 128, 256, 512, 512)
    return _Shape(layers=tuple(layers), read=(3, 8, 15, 22, 29), widths=widths)


def _alexnet() -> _Shape:
    layers = (
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )
    return _Shape(layers=layers, read=(1, 4, 7, 9, 11), widths=(64, 192, 384, 256, 256))
