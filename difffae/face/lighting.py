"""Second-order spherical-harmonic light: normals to shading, and a portrait to its light."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import Lighting, Normals

# Lambertian reflection of each harmonic (DECA's constants: model.md 3.4, after Ramamoorthi &
# Hanrahan 2001).
_CONSTANTS = np.array(
    [0.282095, 1.023327, 1.023327, 1.023327, 0.858086, 0.858086, 0.858086, 0.429043, 0.247708],
    np.float32,
)
SHADING_RANGE = (0.35, 1.9)  # around a mean of 1: what a portrait's skin plausibly shows
# Means of the harmonics over the visible half of a ball, each place by the area it is seen under.
_SEEN_MEANS = np.array([1, 0, 0, -2 / 3, 0, 0, 0, 0, 0.5], np.float32)
_DIFFUSE_SHARE = 0.4  # of an added light: it comes from all around, so that no side goes black


@dataclass(frozen=True, kw_only=True)
class AddedLight:
    """A lamp before the face, as the viewer of the picture sees it.

    Attributes:
        x: -1 from the left, 1 from the right.
        y: -1 from below, 1 from above; at x = y = 0 it is where the viewer is.
        strength: 0 leaves the light as it is, at 1 only the lamp is left.
    """

    x: float = 0.0
    y: float = 0.0
    strength: float = 0.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: a value is out of range.
        """
        for name, value in (("light_x", self.x), ("light_y", self.y)):
            if not -1 <= value <= 1:
                raise ValueError(f"{name} is {value}; expected -1 to 1")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"light_strength is {self.strength}; expected 0 to 1")


def basis(normals: Normals) -> Float32[NDArray[np.float32], "p 9"]:
    """The nine harmonics at unit normals, in DECA's order: 1, x, y, z, xy, xz, yz, x²-y², 3z²-1."""
    x, y, z = normals.T
    columns = [np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1]
    return np.asarray(np.stack(columns, -1).astype(np.float32) * _CONSTANTS)


def shade(normals: Normals, lighting: Lighting) -> Float32[NDArray[np.float32], "p 3"]:
    """Shading that multiplies albedo, for each normal and colour channel (model.md 3.4)."""
    shading = basis(normals) @ lighting
    return np.asarray(np.clip(shading, *SHADING_RANGE), np.float32)


def uniform_lighting() -> Lighting:
    """Light from everywhere alike, of shading 1."""
    lighting = np.zeros((9, 3), np.float32)
    lighting[0] = 1 / _CONSTANTS[0]
    return lighting


def add_light(lighting: Lighting, lamp: AddedLight) -> Lighting:
    """The light with a lamp's blended in, of the same colour and mean brightness on a face.

    The lamp is a clamped cosine about its direction, cut after the second order (Ramamoorthi &
    Hanrahan 2001, equation 9: 1/4, 1/2, 5/32), at most 55 degrees off the viewer's direction.

    Args:
        lighting: in the picture's axes (y down, z away from the camera).
        lamp: where the light comes from; with strength 0 the answer is `lighting` itself.
    """
    if lamp.strength == 0:
        return lighting
    towards = np.array([lamp.x, -lamp.y, -1.0])
    x, y, z = towards / np.linalg.norm(towards)
    bands = [6 * x * y, 6 * x * z, 6 * y * z, 1.5 * (x * x - y * y), 0.5 * (3 * z * z - 1)]
    terms = np.array([1 / 4, x / 2, y / 2, z / 2, *(5 / 32 * band for band in bands)])
    terms *= (1 - _DIFFUSE_SHARE) / (terms @ _SEEN_MEANS)
    terms[0] += _DIFFUSE_SHARE
    brightness = (_CONSTANTS * _SEEN_MEANS) @ lighting
    added = (terms / _CONSTANTS)[:, None] * brightness
    return np.asarray(lighting + lamp.strength * (added - lighting), np.float32)


def estimate_lighting(
    normals: Normals, colours: Float32[NDArray[np.float32], "p 3"], *, ridge: float = 0.02
) -> Lighting:
    """The light under which skin of one albedo would look like these colours.

    Least squares with three rounds of reweighting, so that brows, lips and beard weigh little. The
    mean shading over the points is 1: the albedo keeps the skin's colour and brightness.

    Args:
        normals: unit normals at skin points, camera frame (z away from the camera).
        colours: the portrait's colours there, 0 to 255.
        ridge: pull of the directional terms towards none.
    """
    terms = basis(normals)
    relative = colours / np.maximum(np.median(colours, axis=0), 1.0)
    weights = np.ones(len(terms), np.float32)
    penalty = ridge * len(terms) * np.diag(np.array([0, 1, 1, 1, 2, 2, 2, 2, 2], np.float32))
    lighting = uniform_lighting()
    for _ in range(3):
        gram = terms.T @ (terms * weights[:, None]) + penalty
        lighting = np.linalg.solve(gram, terms.T @ (relative * weights[:, None])).astype(np.float32)
        error = np.abs(relative - terms @ lighting).mean(-1)
        weights = (1 / (1 + (error / 0.12) ** 2)).astype(np.float32)
    mean = (terms @ lighting).mean(0)
    return np.asarray(lighting / np.maximum(mean, 1e-3), np.float32)
