"""What stages share: pictures to tensors and back, batches of shards, losses, sample sheets."""

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.arrays import Images
from difffae.data.shards import ShardReader
from difffae.metrics.perceptual import FeatureDistance, load_feature_distance
from difffae.training.config import LossConfig

_PAIR = ("source", "target", "composite", "masks")
_EYE_REACH, _MOUTH_REACH = 0.25, 0.35  # spread of what counts around them, in distances of the eyes
_FEATURE_WEIGHT = 3.0  # eyes and mouth count so much more than the rest of the face


def to_images(pictures: list[NDArray[np.uint8]]) -> Images:
    """Pictures (h, w, c) of bytes to one batch in [-1, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pictures(images: Images) -> NDArray[np.uint8]:
    """A batch in [-1, 1] to pictures (b, h, w, 3) of bytes."""
    scaled = ((images.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255)
    return scaled.permute(0, 2, 3, 1).to(torch.uint8).numpy()


def sheet(*columns: Float[Tensor, "b _ h w"]) -> NDArray[np.uint8]:
    """A sample sheet: one row a sample, one column a batch of pictures or of one-channel maps."""
    shown = [column.expand(-1, 3, -1, -1) if column.shape[1] == 1 else column for column in columns]
    return np.concatenate([np.concatenate(list(to_pictures(column)), 0) for column in shown], 1)


def pair_batch(
    reader: ShardReader,
    indices: NDArray[np.int64],
    *,
    crop: int | None = None,
    random: np.random.Generator | None = None,
) -> dict[str, Tensor]:
    """Source, target and composite in [-1, 1] and masks in [0, 1] of training pairs.

    With `crop`, random squares of that side, without the source: the decoder never sees it.
    """
    names = _PAIR if crop is None else _PAIR[1:]
    rows = [[reader.picture(name, int(index)) for name in names] for index in indices]
    if crop is not None and random is not None:
        rows = [random_crop(row, crop, random) for row in rows]
    batch = {name: to_images([row[k] for row in rows]) for k, name in enumerate(names)}
    batch["masks"] = (batch["masks"] + 1) / 2
    return batch


def decoder_condition(composite: Images, masks: Tensor) -> Float[Tensor, "b 6 h w"]:
    """What the conditional decoder sees: the composite and the masks, all in [-1, 1]."""
    return torch.cat([composite, 2 * masks - 1], 1)


def random_crop(
    pictures: list[NDArray[np.uint8]], size: int, random: np.random.Generator
) -> list[NDArray[np.uint8]]:
    """The same random square of each picture."""
    height, width = pictures[0].shape[:2]
    top, left = (int(random.integers(0, side - size + 1)) for side in (height, width))
    return [picture[top : top + size, left : left + size] for picture in pictures]


def features_area(
    five: Float[NDArray[np.float32], "5 2"], size: int
) -> Float[NDArray[np.float32], "1 size size"]:
    """Where the eyes and the mouth are: 1 at their middles, fading out, open or closed.

    Args:
        five: eyes, nose tip and mouth corners [px].
        size: side of the picture [px].
    """
    between_eyes = float(np.linalg.norm(five[1] - five[0]))
    middles = np.stack([five[0], five[1], five[3:].mean(0)])
    reach = between_eyes * np.array([_EYE_REACH, _EYE_REACH, _MOUTH_REACH], np.float32)
    pixels = np.arange(size, dtype=np.float32) + 0.5
    x, y = (np.square((pixels - middles[:, k, None]) / reach[:, None]) for k in range(2))
    blobs = np.exp(-y / 2)[:, :, None] * np.exp(-x / 2)[:, None, :]
    return np.asarray(blobs.max(0, keepdims=True), np.float32)


def importance(masks: Tensor, features: Tensor) -> Float[Tensor, "b 1 h w"]:
    """How much more a pixel counts: the face's, and those of eyes and mouth most of all.

    Args:
        masks: of the condition, in [0, 1].
        features: see `features_area`.
    """
    return masks[:, :1] + _FEATURE_WEIGHT * features


class PictureLoss(nn.Module):
    """L1 and feature distance between pictures; without feature weights, L1 alone."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.weight = config.feature
        self.face = config.face
        self.share = config.feature_share
        self.features: FeatureDistance | None = None
        if config.feature_weights is not None:
            self.features = load_feature_distance(config.feature_weights)

    def forward(
        self, images: Images, targets: Images, face: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and its parts to log. `face` (b, 1, h, w) says how much more pixels count."""
        difference = (images.float() - targets).abs()
        weighted = difference if face is None else difference * (1 + self.face * face)
        loss, parts = weighted.mean(), {"l1": difference.mean().detach()}
        if self.features is not None:
            some = max(1, round(len(images) * self.share))
            distance = self.features(images[:some], targets[:some]).mean()
            loss = loss + self.weight * distance
            parts["feature"] = distance.detach()
        mse = (images.detach().float() - targets).square().mean((1, 2, 3)).clamp_min(1e-6)
        parts["psnr"] = (10 * torch.log10(4 / mse)).mean()
        return loss, parts
