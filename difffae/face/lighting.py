"""Second-order spherical-harmonic light: normals to shading, and a portrait to its light."""

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import Lighting, Normals

# Lambertian reflection of each harmonic (DECA's constants: model.md 3.4, after Ramamoorthi &
# Hanrahan 2001).
CONSTANTS = np.array(
    [0.282095, 1.023327, 1.023327, 1.023327, 0.858086, 0.858086, 0.858086, 0.429043, 0.247708],
    np.float32,
)
_PENALTY = np.diag(np.array([0, 1, 1, 1, 2, 2, 2, 2, 2], np.float32))
_COLOUR_RIDGE = 0.1  # pull of what the colours' directions differ by
_ROUNDS = 5
_OUTLYING = 0.12  # a point so far from what the light explains weighs half [of the median colour]
SHADING_RANGE = (0.35, 1.9)  # around a mean of 1: what a portrait's skin plausibly shows


def basis(normals: Normals) -> Float32[NDArray[np.float32], "p 9"]:
    """The nine harmonics at unit normals, in DECA's order: 1, x, y, z, xy, xz, yz, x²-y², 3z²-1."""
    x, y, z = normals.T
    columns = [np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1]
    return np.asarray(np.stack(columns, -1).astype(np.float32) * CONSTANTS)


def shade(normals: Normals, lighting: Lighting) -> Float32[NDArray[np.float32], "p 3"]:
    """Shading that multiplies albedo, for each normal and colour channel (model.md 3.4)."""
    shading = basis(normals) @ lighting
    return np.asarray(np.clip(shading, *SHADING_RANGE), np.float32)


def uniform_lighting() -> Lighting:
    """Light from everywhere alike, of shading 1."""
    lighting = np.zeros((9, 3), np.float32)
    lighting[0] = 1 / CONSTANTS[0]
    return lighting


def estimate_lighting(
    normals: Normals, colours: Float32[NDArray[np.float32], "p 3"], *, ridge: float = 0.002
) -> Lighting:
    """The light under which skin of one albedo would look like these colours.

    Least squares, reweighted in rounds so that brows, lips and beard weigh little. Light's colour
    is believed less than its brightness: cheeks are redder than foreheads in any light. The mean
    shading over the points is 1: the albedo keeps the skin's colour and brightness.

    Args:
        normals: unit normals at skin points, camera frame (z away from the camera).
        colours: the portrait's colours there, 0 to 255.
        ridge: pull of the directional terms towards none.
    """
    terms = basis(normals).astype(np.float64)
    relative = colours / np.maximum(np.median(colours, axis=0), 1.0)
    grey = relative.mean(1, keepdims=True)
    parts = ((ridge, grey), (_COLOUR_RIDGE, relative - grey))
    weights = np.ones(len(terms), np.float32)
    lighting = uniform_lighting()
    for _ in range(_ROUNDS):
        weighted = terms.T * weights
        gram = weighted @ terms
        solved = [
            np.linalg.solve(gram + pull * len(terms) * _PENALTY, weighted @ part)
            for pull, part in parts
        ]
        lighting = np.asarray(solved[0] + solved[1], np.float32)
        error = np.abs(relative - terms @ lighting).mean(-1)
        weights = (1 / (1 + (error / _OUTLYING) ** 2)).astype(np.float32)
    mean = (terms @ lighting).mean(0)
    return np.asarray(lighting / np.maximum(mean, 1e-3), np.float32)
