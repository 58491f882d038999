"""The Inception-v3 of FID: pictures in, 2048 features out.

The network of TensorFlow's `inception-2015-12-05`, whose weights pytorch-fid converted
(pt_inception-2015-12-05-6726825d.pth: a user's file, 1008 classes). Parameters bear torchvision's
names (Szegedy et al. 2015, table 1). It differs from torchvision's network, as pytorch-fid does:
the average pools of blocks 5, 6 and 7b do not count the padding, and 7c pools by the maximum.
Input: bilinear to 299 × 299 without aligned corners, values in [-1, 1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from difffae.arrays import Features, Images
from difffae.checkpoint import WeightsError, load_tensors
from difffae.torch_file import TORCH_SUFFIXES, read_torch_file

INPUT_SIZE_PX = 299
NUM_FEATURES = 2048
NUM_CLASSES = 1008
NORM_EPSILON = 1e-3
COUNTER = "num_batches_tracked"  # of batch norms: not in every file, and not used
WEIGHTS_FILE = "pt_inception-2015-12-05-6726825d"

Pool = Literal["average", "max", "halve"]


@dataclass(frozen=True)
class _Step:
    """One convolution of a branch: its name, width and kernel; stride 2 halves without padding."""

    name: str
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


Branch = tuple[_Step | tuple[_Step, _Step], ...]  # a pair at the end: both, side by side


class _NormedConv(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, step: _Step, padding: tuple[int, int] | None = None):
        super().__init__()
        if padding is None:
            is_padded = step.stride == 1
            padding = (step.kernel[0] // 2, step.kernel[1] // 2) if is_padded else (0, 0)
        self.conv = nn.Conv2d(
            in_channels, step.width, step.kernel, step.stride, padding, bias=False
        )
        self.bn = nn.BatchNorm2d(step.width, eps=NORM_EPSILON)

    def forward(self, x: Features) -> Float[Tensor, "b out rows columns"]:
        return F.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Branches side by side and a pool, put together along channels."""

    def __init__(
        self, in_channels: int, branches: Sequence[Branch], pool: Pool, pool_width: int = 0
    ) -> None:
        super().__init__()
        self._branches = tuple(branches)
        self._pool = pool
        for branch in branches:
            width = in_channels
            for entry in branch:
                steps = entry if isinstance(entry, tuple) else (entry,)
                for step in steps:
                    self.add_module(step.name, _NormedConv(width, step))
                width = steps[-1].width
        if pool_width:
            self.branch_pool = _NormedConv(in_channels, _Step("branch_pool", pool_width))

    def _run(self, branch: Branch, x: Features) -> list[Tensor]:
        for entry in branch:
            if isinstance(entry, tuple):
                return [self.get_submodule(step.name)(x) for step in entry]
            x = self.get_submodule(entry.name)(x)
        return [x]

    def _pooled(self, x: Features) -> Tensor:
        if self._pool == "halve":
            return F.max_pool2d(x, 3, 2)
        if self._pool == "max":
            pooled = F.max_pool2d(x, 3, 1, 1)
        else:
            pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        out: Tensor = self.branch_pool(pooled)
        return out

    def forward(self, x: Features) -> Float[Tensor, "b out rows columns"]:
        outputs = [out for branch in self._branches for out in self._run(branch, x)]
        return torch.cat([*outputs, self._pooled(x)], 1)


def _block_5(in_channels: int, pool_width: int) -> _Mixed:
    """35 × 35."""
    double = [_Step(f"branch3x3dbl_{n}", 96, (3, 3)) for n in (2, 3)]
    branches: list[Branch] = [
        (_Step("branch1x1", 64),),
        (_Step("branch5x5_1", 48), _Step("branch5x5_2", 64, (5, 5))),
        (_Step("branch3x3dbl_1", 64), *double),
    ]
    return _Mixed(in_channels, branches, "average", pool_width)


def _block_6a() -> _Mixed:
    """35 × 35 to 17 × 17."""
    branches: list[Branch] = [
        (_Step("branch3x3", 384, (3, 3), 2),),
        (
            _Step("branch3x3dbl_1", 64),
            _Step("branch3x3dbl_2", 96, (3, 3)),
            _Step("branch3x3dbl_3", 96, (3, 3), 2),
        ),
    ]
    return _Mixed(288, branches, "halve")


def _block_6(width: int) -> _Mixed:
    """17 × 17, kernels of 7."""
    along, across = (1, 7), (7, 1)
    branches: list[Branch] = [
        (_Step("branch1x1", 192),),
        (
            _Step("branch7x7_1", width),
            _Step("branch7x7_2", width, along),
            _Step("branch7x7_3", 192, across),
        ),
        (
            _Step("branch7x7dbl_1", width),
            _Step("branch7x7dbl_2", width, across),
            _Step("branch7x7dbl_3", width, along),
            _Step("branch7x7dbl_4", width, across),
            _Step("branch7x7dbl_5", 192, along),
        ),
    ]
    return _Mixed(768, branches, "average", 192)


def _block_7a() -> _Mixed:
    """17 × 17 to 8 × 8."""
    branches: list[Branch] = [
        (_Step("branch3x3_1", 192), _Step("branch3x3_2", 320, (3, 3), 2)),
        (
            _Step("branch7x7x3_1", 192),
            _Step("branch7x7x3_2", 192, (1, 7)),
            _Step("branch7x7x3_3", 192, (7, 1)),
            _Step("branch7x7x3_4", 192, (3, 3), 2),
        ),
    ]
    return _Mixed(768, branches, "halve")


def _block_7(in_channels: int, pool: Pool) -> _Mixed:
    """8 × 8, forked kernels of 3."""

    def fork(prefix: str) -> tuple[_Step, _Step]:
        return _Step(f"{prefix}a", 384, (1, 3)), _Step(f"{prefix}b", 384, (3, 1))

    branches: list[Branch] = [
        (_Step("branch1x1", 320),),
        (_Step("branch3x3_1", 384), fork("branch3x3_2")),
        (
            _Step("branch3x3dbl_1", 448),
            _Step("branch3x3dbl_2", 384, (3, 3)),
            fork("branch3x3dbl_3"),
        ),
    ]
    return _Mixed(in_channels, branches, pool, 192)


class FidInception(nn.Module):
    """Inception-v3 as FID wants it, frozen."""

    def __init__(self) -> None:
        super().__init__()
        unpadded = (0, 0)
        self.Conv2d_1a_3x3 = _NormedConv(3, _Step("1a", 32, (3, 3), 2))
        self.Conv2d_2a_3x3 = _NormedConv(32, _Step("2a", 32, (3, 3)), unpadded)
        self.Conv2d_2b_3x3 = _NormedConv(32, _Step("2b", 64, (3, 3)))
        self.Conv2d_3b_1x1 = _NormedConv(64, _Step("3b", 80))
        self.Conv2d_4a_3x3 = _NormedConv(80, _Step("4a", 192, (3, 3)), unpadded)
        self.Mixed_5b, self.Mixed_5c = _block_5(192, 32), _block_5(256, 64)
        self.Mixed_5d, self.Mixed_6a = _block_5(288, 64), _block_6a()
        self.Mixed_6b, self.Mixed_6c = _block_6(128), _block_6(160)
        self.Mixed_6d, self.Mixed_6e = _block_6(160), _block_6(192)
        self.Mixed_7a = _block_7a()
        self.Mixed_7b, self.Mixed_7c = _block_7(1280, "average"), _block_7(2048, "max")
        self.fc = nn.Linear(NUM_FEATURES, NUM_CLASSES)  # not used: the file has it
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "FidInception":
        """Stay frozen: there is no training mode."""
        del mode
        return super().train(False)

    def forward(self, images: Images) -> Float[Tensor, "b 2048"]:
        """Features after the last pool.

        Args:
            images: RGB in [-1, 1], of any size.
        """
        size = (INPUT_SIZE_PX, INPUT_SIZE_PX)
        x = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        for name, block in self.named_children():
            if name == "fc":
                break
            x = block(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = F.max_pool2d(x, 3, 2)
        return x.mean((2, 3))


def _checked(tensors: Mapping[str, Tensor], network: nn.Module, path: Path) -> dict[str, Tensor]:
    """The file's tensors without counters, if they are this network's."""
    given = {k: v for k, v in tensors.items() if not k.endswith(COUNTER)}
    state = network.state_dict()
    wanted = {name: tensor.shape for name, tensor in state.items() if not name.endswith(COUNTER)}
    wrong = sorted(
        name
        for name in {*given, *wanted}
        if name not in given or given[name].shape != wanted.get(name)
    )
    if wrong:
        raise WeightsError(
            f"{path} is not FID's Inception-v3: {len(wrong)} tensors differ, the first is "
            f"{wrong[0]}; expected those of {WEIGHTS_FILE}.pth (torchvision's weights do not serve)"
        )
    return given


def load_fid_inception(path: Path) -> FidInception:
    """FID's network with the user's weights.

    Args:
        path: pytorch-fid's file, or its tensors saved as safetensors.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    network = FidInception()
    network.load_state_dict(_checked(_read(path), network, path), strict=False)
    return network


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of torch's own, of which nothing else is admitted."""
    if path.suffix not in TORCH_SUFFIXES:
        return load_tensors(path)
    content = read_torch_file(path)
    tensors = content if isinstance(content, Mapping) else {}
    return {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
