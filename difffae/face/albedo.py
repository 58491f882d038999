"""Skin without light: texture codes in, a picture of FLAME's texture out (model.md 3.5).

Codes belong to the space they were found in: DECA's networks were trained in BFM's. In the FLAME
texture's space the same numbers make other colours, consistently so, which is still a condition
that a generator can learn.
"""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.face.licensed import read_arrays, unusable

TEXTURE_SIZE = 256  # side of the texture DECA renders with [px]
NUM_CODES = 50  # that DECA predicts
MEAN_SKIN = (0.72, 0.55, 0.47)  # linear in [0, 1], red first; stands in where there is no file

Space = Literal["BFM", "FLAME", "mean"]
Codes = Float32[NDArray[np.float32], " codes"]
Texture = Float32[NDArray[np.float32], "256 256 3"]

_logger = logging.getLogger(__name__)


class AlbedoModel:
    """A linear model of skin textures.

    Args:
        mean: mean texture, RGB, 0 to 1.
        components: what one unit of each code adds.
        space: which publication it is.
    """

    def __init__(
        self,
        mean: Texture,
        components: Float32[NDArray[np.float32], "256*256*3 components"],
        space: Space,
    ) -> None:
        self._mean = mean
        self._components = components
        self.space: Space = space

    def texture(self, codes: Codes) -> Texture:
        """The texture of a person, RGB in [0, 1]; row 0 is v = 1 of the template.

        Args:
            codes: as many as the model has components, or fewer.

        Raises:
            ValueError: there are more codes than components.
        """
        if self.space == "mean":
            return self._mean
        used = self._components[:, : len(codes)]
        if used.shape[1] != len(codes):
            raise ValueError(
                f"got {len(codes)} texture codes, expected at most {used.shape[1]}; DECA has "
                f"{NUM_CODES}"
            )
        return np.clip(self._mean + (used @ codes).reshape(self._mean.shape), 0, 1)


def load_albedo(path: Path) -> AlbedoModel:
    """Read BFM's albedo (FLAME_albedo_from_BFM.npz) or FLAME's texture (FLAME_texture.npz).

    Both hold blue first. The first 50 components are kept, at a quarter of the pixels: every second
    one of each row and column, as DECA reads them (nearest).

    Args:
        path: which of the two it is, is told from the names of its arrays.

    Raises:
        LicensedFileError: the file is missing, damaged or another.
    """
    layout, arrays = read_arrays("albedo", path)
    mean_key, components_key = ("MU", "PC") if layout == "BFM" else ("mean", "tex_dir")
    scale = 1.0 if layout == "BFM" else 1 / 255
    mean, components = arrays[mean_key].reshape(-1), arrays[components_key]
    components = components.reshape(-1, components.shape[-1])
    side = round((mean.size / 3) ** 0.5)
    if mean.size != 3 * side * side or len(components) != mean.size:
        raise unusable(
            "albedo", path, f"got {mean.size} values and {len(components)} rows, expected 512·512·3"
        )
    if layout == "FLAME":
        _logger.info(
            "%s is FLAME's texture space; DECA's codes were trained in BFM's, so colours are not "
            "the person's, though they are the same for the same codes",
            path,
        )
    nearest = np.arange(TEXTURE_SIZE) * side // TEXTURE_SIZE
    rows = np.arange(mean.size).reshape(side, side, 3)[nearest][:, nearest, ::-1].reshape(-1)
    small = np.asarray(mean[rows] * scale, np.float32).reshape(TEXTURE_SIZE, TEXTURE_SIZE, 3)
    basis = np.asarray(components[:, :NUM_CODES][rows] * scale, np.float32)
    return AlbedoModel(small, np.ascontiguousarray(basis), "BFM" if layout == "BFM" else "FLAME")


def mean_albedo() -> AlbedoModel:
    """One skin colour for everybody, for want of a texture model; codes change nothing."""
    _logger.info(
        "model.face.licensed.albedo is not set: every face is rendered with one mean skin colour, "
        "and the skin's own tone reaches the pictures by the identity alone"
    )
    mean = np.broadcast_to(np.array(MEAN_SKIN, np.float32), (TEXTURE_SIZE, TEXTURE_SIZE, 3))
    none = np.zeros((mean.size, 0), np.float32)
    return AlbedoModel(np.ascontiguousarray(mean), none, "mean")
