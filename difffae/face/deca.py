"""DECA's networks: a face's crop in; FLAME, albedo, camera and light codes, and fine geometry out.

Feng et al. 2021, as the paper's space-sensitive customization reads faces with it (section 4.1).
The weights are licensed and come from the user: `deca_model.tar` as it is published, or the same
tensors in a safetensors file under the prefixes `E_flame.`, `E_detail.` and `D_detail.`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.arrays import Images, Lighting, SquareF32
from difffae.checkpoint import WeightsError, load_tensors
from difffae.face.licensed import unusable
from difffae.face.resnet import NUM_FEATURES, ResNet50
from difffae.torch_file import read_torch_file

Crop224 = UInt8[NDArray[np.uint8], "224 224 3"]

NUM_SHAPE, NUM_ALBEDO, NUM_EXPRESSION, NUM_POSE, NUM_CAMERA, NUM_LIGHT = 100, 50, 50, 6, 3, 27
NUM_CODES = NUM_SHAPE + NUM_ALBEDO + NUM_EXPRESSION + NUM_POSE + NUM_CAMERA + NUM_LIGHT
NUM_DETAIL = 128
NUM_JAW = 3
LARGEST_DISPLACEMENT_M = 0.01
_HIDDEN = 1024
_START_SIZE = 8
_LEVELS = ((128, 128), (128, 64), (64, 64), (64, 32), (32, 16))  # channels in and out, 8 to 256 px
_NORM_EPS = 0.8  # DECA gives this where a momentum was meant, and was trained with it
_PARTS = ("E_flame", "E_detail", "D_detail")


@dataclass(frozen=True, kw_only=True)
class Codes:
    """What DECA's coarse encoder says of a crop, in its order (model.md 3.1).

    Attributes:
        shape: FLAME's first 100 identity coefficients.
        albedo: coefficients of the texture model.
        expression: FLAME's first 50 expression coefficients.
        pose: axis-angle of the head, then of the jaw [rad], FLAME's axes.
        camera: scale, and shift in x and y [m]: p = scale * (X + shift), 1 at the crop's border.
        lighting: spherical harmonics, in FLAME's axes.
    """

    shape: Float32[NDArray[np.float32], " 100"]
    albedo: Float32[NDArray[np.float32], " 50"]
    expression: Float32[NDArray[np.float32], " 50"]
    pose: Float32[NDArray[np.float32], " 6"]
    camera: Float32[NDArray[np.float32], " 3"]
    lighting: Lighting

    @classmethod
    def from_vector(cls, vector: Float32[NDArray[np.float32], " 236"]) -> Self:
        """Cut the encoder's output into its codes."""
        sizes = [NUM_SHAPE, NUM_ALBEDO, NUM_EXPRESSION, NUM_POSE, NUM_CAMERA]
        shape, albedo, expression, pose, camera, light = np.split(vector, np.cumsum(sizes))
        return cls(
            shape=shape,
            albedo=albedo,
            expression=expression,
            pose=pose,
            camera=camera,
            lighting=light.reshape(9, 3),
        )


class CodeEncoder(nn.Module):
    """ResNet-50 and two linear layers: DECA's E_flame (236 codes) and E_detail (128)."""

    def __init__(self, num_codes: int) -> None:
        super().__init__()
        self.encoder = ResNet50()
        self.layers = nn.Sequential(
            nn.Linear(NUM_FEATURES, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, num_codes)
        )

    def forward(self, images: Images) -> Float[Tensor, "b codes"]:
        """Codes of RGB crops in [0, 1], 224 pixels; no normalisation by ImageNet's statistics."""
        codes: Tensor = self.layers(self.encoder(images))
        return codes


class DisplacementDecoder(nn.Module):
    """DECA's D_detail: jaw, expression and detail code to a displacement map of 256 pixels."""

    def __init__(self) -> None:
        super().__init__()
        channels = _LEVELS[0][0]
        num_codes = NUM_JAW + NUM_EXPRESSION + NUM_DETAIL
        self.l1 = nn.Sequential(nn.Linear(num_codes, channels * _START_SIZE**2))
        blocks: list[nn.Module] = [nn.BatchNorm2d(channels)]
        for before, after in _LEVELS:
            blocks += [
                nn.Upsample(scale_factor=2, mode="bilinear"),
                nn.Conv2d(before, after, 3, padding=1),
                nn.BatchNorm2d(after, eps=_NORM_EPS),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        blocks += [nn.Conv2d(_LEVELS[-1][1], 1, 3, padding=1), nn.Tanh()]
        self.conv_blocks = nn.Sequential(*blocks)

    def forward(self, codes: Float[Tensor, "b 181"]) -> Float[Tensor, "b 1 256 256"]:
        """Displacement along the normal at each texel [m]."""
        start = self.l1(codes).unflatten(1, (-1, _START_SIZE, _START_SIZE))
        displacement: Tensor = self.conv_blocks(start) * LARGEST_DISPLACEMENT_M
        return displacement


class Deca:
    """DECA's three networks, frozen; arrays in, arrays out.

    Args:
        coarse, detail, displacement: the networks.
        device: where they run.
    """

    def __init__(
        self,
        coarse: CodeEncoder,
        detail: CodeEncoder,
        displacement: DisplacementDecoder,
        device: str = "cpu",
    ) -> None:
        self._coarse, self._detail, self._displacement = (
            network.eval().requires_grad_(False).to(device)
            for network in (coarse, detail, displacement)
        )
        self._device = device

    @torch.inference_mode()
    def encode(self, crop: Crop224) -> Codes:
        """The coarse codes of a crop made by `deca_crop.cut`."""
        return Codes.from_vector(_to_array(self._coarse(self._to_tensor(crop))[0]))

    @torch.inference_mode()
    def encode_detail(self, crop: Crop224) -> Float32[NDArray[np.float32], " 128"]:
        """The detail code of a crop."""
        return _to_array(self._detail(self._to_tensor(crop))[0])

    @torch.inference_mode()
    def displacement(
        self,
        jaw: Float32[NDArray[np.float32], " 3"],
        expression: Float32[NDArray[np.float32], " 50"],
        detail: Float32[NDArray[np.float32], " 128"],
    ) -> SquareF32:
        """How far the skin is from FLAME's surface, along its normal, at each texel [m].

        Args:
            jaw: axis-angle of the jaw to show [rad].
            expression: expression to show.
            detail: the person's detail code: wrinkles are the person's, how they fold the
                expression's.
        """
        codes = torch.from_numpy(np.concatenate([jaw, expression, detail]))[None]
        return _to_array(self._displacement(codes.to(self._device))[0, 0])

    def _to_tensor(self, crop: Crop224) -> Float[Tensor, "1 3 224 224"]:
        pixels = torch.from_numpy(crop).to(self._device)
        return pixels.permute(2, 0, 1)[None].float() / 255


def load_deca(path: Path, device: str = "cpu") -> Deca:
    """Read DECA's weights; names and shapes must be the published ones.

    Args:
        path: `deca_model.tar`, or a safetensors file of the same tensors.
        device: where the networks are to run.

    Raises:
        LicensedFileError: the file is missing, damaged, or not DECA's.
    """
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    with torch.device("meta"):
        coarse, detail = CodeEncoder(NUM_CODES), CodeEncoder(NUM_DETAIL)
        displacement = DisplacementDecoder()
    for name, network in zip(_PARTS, (coarse, detail, displacement), strict=True):
        _fill(network, name, tensors.get(name), path)
    return Deca(coarse, detail, displacement, device)


def _to_array(values: Float[Tensor, "..."]) -> Float32[NDArray[np.float32], "..."]:
    return np.asarray(values.cpu().numpy(), np.float32)


def _read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Read a checkpoint as torch saves it; only tensors and plain containers are admitted."""
    if not path.is_file():
        raise unusable("deca", path, "there is no such file")
    try:
        content = read_torch_file(path)
    except WeightsError as error:
        raise unusable("deca", path, "it is damaged or no torch checkpoint") from error
    if not isinstance(content, dict):
        raise unusable("deca", path, f"it holds a {type(content).__name__}")
    return content


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    """Read the same from safetensors, one mapping for each network."""
    try:
        tensors = load_tensors(path)
    except WeightsError as error:
        raise unusable("deca", path, str(error)) from error
    networks: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        network, _, inner = name.partition(".")
        networks.setdefault(network, {})[inner] = tensor
    return networks


def _fill(network: nn.Module, name: str, tensors: object, path: Path) -> None:
    """Give a network on the meta device its weights; what else the file holds is left alone."""
    if not isinstance(tensors, Mapping):
        raise unusable("deca", path, f"it has no network {name}")
    state: dict[str, Tensor] = {}
    for key, wanted in network.state_dict().items():
        given = tensors.get(key)
        if given is None and key.endswith("num_batches_tracked"):
            given = torch.zeros(wanted.shape, dtype=wanted.dtype)  # older torch kept none
        if not isinstance(given, Tensor):
            raise unusable("deca", path, f"it has no tensor {name}.{key}")
        if given.shape != wanted.shape:
            got, expected = tuple(given.shape), tuple(wanted.shape)
            raise unusable("deca", path, f"its {name}.{key} is {got}, expected {expected}")
        state[key] = given.to(wanted.dtype)
    network.load_state_dict(state, assign=True)
