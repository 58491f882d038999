"""Single pictures of frame shards: crops for a batch, shares of the draws, a few for the sheet."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difffae.arrays import Images
from difffae.data.shards import ShardReader
from difffae.training.pictures import random_crop, to_images

_STILL_SHARE = 0.5


class FramePictures:
    """The pictures of a folder of frame shards.

    Args:
        folder: where the shards are.
        crop: side of the random squares that `batch` gives [px]; larger than the pictures: whole.

    Raises:
        ValueError: the folder holds no frame shards.
    """

    def __init__(self, folder: Path, crop: int) -> None:
        self._reader = ShardReader(folder, "frames")
        self._crop = crop

    def __len__(self) -> int:
        return len(self._reader)

    def weights(self) -> NDArray[np.float64]:
        """Shares of the draws: stills as much as clips together; within clips, people alike."""
        people = np.array(self._reader.labels("person"))
        _, inverse, counts = np.unique(people, return_inverse=True, return_counts=True)
        sizes = counts[inverse]
        shares = 1.0 / sizes
        is_still = sizes == 1
        if is_still.any() and not is_still.all():
            shares[is_still] *= _STILL_SHARE / shares[is_still].sum()
            shares[~is_still] *= (1 - _STILL_SHARE) / shares[~is_still].sum()
        return np.asarray(shares)

    def batch(self, indices: NDArray[np.int64], generator: np.random.Generator) -> Images:
        """Random crops, half of them mirrored."""
        crops = []
        for index in indices:
            picture = self._reader.picture("image", int(index))
            side = min(self._crop, *picture.shape[:2])
            crops += random_crop([picture], side, generator)
        return to_images([crop[:, ::-1] if generator.random() < 0.5 else crop for crop in crops])

    def spread(self, count: int) -> Images:
        """Whole pictures, evenly spaced over all shards."""
        shown = np.linspace(0, len(self) - 1, count).astype(np.int64)
        return to_images([self._reader.picture("image", int(index)) for index in shown])
