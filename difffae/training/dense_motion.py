"""Dense motion: learn where the portrait is read from around a moving face, by pictures alone."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.arrays import Images
from difffae.checkpoint import load_module
from difffae.data.shards import ShardReader
from difffae.face.dense_motion import DenseMotionNetwork, places
from difffae.training.config import Config
from difffae.training.pictures import PictureLoss, sheet

_PICTURES = ("source", "target", "plate", "composite", "masks")
_MIRRORED = np.array([1, -1, -1, -1, 1, 1, -1, 1, 1], np.float32)  # of a rotation matrix's entries
_POOLED = 4  # side of the squares whose means are compared too
_GRID_SAMPLES = 8


class DenseMotionStage:
    """Trains `dense_motion` on the shards of `python -m difffae.data.motions`."""

    name = "dense_motion"

    def __init__(self, config: Config, run_directory: Path) -> None:
        del run_directory
        sizes = config.model.face.dense_motion
        assert sizes is not None
        self._size = config.model.image_size
        self._reader = ShardReader(config.training.motions, "motions")
        self.dense_motion = DenseMotionNetwork(sizes, self._size)
        if config.training.dense_motion_weights is not None:
            load_module(self.dense_motion, config.training.dense_motion_weights)
        self.modules = nn.ModuleDict({"dense_motion": self.dense_motion})
        self.picture_loss = PictureLoss(config.training.loss)
        rows = np.linspace(0, len(self._reader) - 1, _GRID_SAMPLES).astype(np.int64)
        self._grid = self._samples(rows)

    def num_samples(self) -> int:
        """Samples of all shards."""
        return len(self._reader)

    def sample_weights(self) -> None:
        """All alike: samples were drawn by person."""

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        """Pictures in [0, 1] and what the network is shown; half of the batches are mirrored."""
        batch = self._samples(indices)
        return mirrored(batch, self._size) if generator.random() < 0.5 else batch

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """L1 between moved and true pictures, also of their means over squares and their slopes.

        With feature weights, their feature distance too.
        """
        del step
        after = moved(batch, self._said(batch), self._size)
        image, target = 2 * after - 1, 2 * batch["target"] - 1
        loss, shown = self.picture_loss(image, target)
        coarse = F.avg_pool2d(image - target, _POOLED).abs().mean()
        slopes = (_slopes(image) - _slopes(target)).abs().mean()
        return loss + coarse + slopes, {**shown, "slopes": slopes.detach()}

    def sample_grid(self) -> NDArray[np.uint8]:
        """Source, target, the uncorrected picture, the corrected one, and how far it was moved."""
        device = next(self.modules.parameters()).device
        batch = {name: tensor.to(device) for name, tensor in self._grid.items()}
        with torch.no_grad():
            said = self._said(batch)
            after = moved(batch, said, self._size)
        far = said[:, :2].norm(dim=1, keepdim=True) / batch["poses"][:, 1, 9][:, None, None, None]
        columns = [batch["source"], batch["target"], batch["composite"], after]
        columns.append(F.interpolate(far, size=after.shape[-2:], mode="bilinear"))
        return sheet(*(2 * column - 1 for column in columns))

    def _samples(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        reader = self._reader
        batch = {
            name: _planes(np.stack([reader.picture(name, int(row)) for row in rows])) / 255
            for name in _PICTURES
        }
        for name in ("seen", "offsets", "face_map"):
            batch[name] = _planes(np.stack([reader.row(name, int(row)) for row in rows]))
        batch["seen"] /= 255
        poses = np.stack([reader.row("poses", int(row)) for row in rows])
        return {**batch, "poses": torch.from_numpy(poses)}

    def _said(self, batch: dict[str, Tensor]) -> Tensor:
        said: Tensor = self.dense_motion(batch["seen"], batch["offsets"], batch["poses"])
        return said


def moved(
    batch: dict[str, Tensor], said: Float[Tensor, "b 6 64 64"], size: int
) -> Float[Tensor, "b 3 128 128"]:
    """The composite of a corrected warp, as `difffae.face.layers.compose` makes it.

    The light and the paint of the face layer stay where they are.

    Args:
        batch: of `DenseMotionStage`.
        said: of the network.
        size: side of the crops [px].
    """
    source, masks = batch["source"], batch["masks"]
    head, face, person, kept = torch.split(said, [2, 2, 1, 1], 1)
    side = source.shape[-1]
    positions = _to_side(places(size, source.device) + batch["offsets"] + head, side)
    read = _read(torch.cat([source, masks[:, :1]], 1), positions, size)
    matte = (read[:, 3:] + _to_side(person, side)).clamp(0, 1)
    around = matte * read[:, :3] + (1 - matte) * batch["plate"]
    before, weight = batch["face_map"], masks[:, 1:2]
    after = before + _to_side(face, side)
    change = _read(source, after, size) - _read(source, before, size)
    shown = batch["composite"] + weight * change
    weight = weight * _to_side(kept, side)
    return weight * shown + (1 - weight) * around


def mirrored(batch: dict[str, Tensor], size: int) -> dict[str, Tensor]:
    """The same samples left to right.

    Args:
        batch: of `DenseMotionStage`.
        size: side of the crops [px].
    """
    flipped = {name: tensor.flip(-1) for name, tensor in batch.items() if name != "poses"}
    sign = torch.tensor([-1.0, 1.0])[:, None, None]
    edge = torch.tensor([size - 1.0, 0.0])[:, None, None]
    flipped["offsets"] = flipped["offsets"] * sign
    flipped["face_map"] = flipped["face_map"] * sign + edge
    poses = batch["poses"].clone()
    poses[..., :9] *= torch.from_numpy(_MIRRORED)
    poses[..., 10] = size - poses[..., 10]
    return {**flipped, "poses": poses}


def _read(planes: Tensor, positions: Float[Tensor, "b 2 h w"], size: int) -> Tensor:
    """Planes at places that count as `cv2.remap` does in pictures of that size."""
    at = ((positions + 0.5) * (2 / size) - 1).permute(0, 2, 3, 1)
    return F.grid_sample(planes, at, padding_mode="border", align_corners=False)


def _planes(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(values.transpose(0, 3, 1, 2).astype(np.float32))


def _to_side(values: Tensor, side: int) -> Tensor:
    return F.interpolate(values, size=(side, side), mode="bilinear")


def _slopes(image: Images) -> Float[Tensor, "b 6 h-1 w-1"]:
    inner = image[..., :-1, :-1]
    return torch.cat([image[..., 1:, :-1] - inner, image[..., :-1, 1:] - inner], 1)
