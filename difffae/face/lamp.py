"""A lamp before the face: direction, colour temperature, strength, ambient share, and presets.

Directions are the viewer's of the picture: azimuth 0 at the camera, positive to the right, 90
beside the face and 180 behind it; elevation positive above. The lamp is blended into a light that
was estimated from a photograph, so that both can be used together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from difffae.arrays import Lighting
from difffae.face.lighting import CONSTANTS

NEUTRAL_K = 6500.0  # daylight, for which sRGB's white stands: no change of colour
NAMED_STRENGTH = 0.8  # of a lamp of which something is named, but not its strength
MAX_CONTRAST = 2.0
# Means of the harmonics over the visible half of a ball, each place by the area it is seen under.
_SEEN_MEANS = np.array([1, 0, 0, -2 / 3, 0, 0, 0, 0, 0.5], np.float32)
# Of a lamp's direct light on the visible half: below it the exposure is not raised, so that the lit
# side of a face does not burn out where the lamp is beside it; behind it, the face stays dark.
_LEAST_EXPOSED = 0.5
_XYZ_TO_RGB = np.array(
    [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
)  # IEC 61966-2-1
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_LEAST_GAIN = 0.02  # of a channel: deep orange lies outside of sRGB
_GAMMA = 2.2  # shading multiplies encoded colours
_NOT_ADAPTED = 0.6  # share of a lamp's colour that a camera's white balance leaves


@dataclass(frozen=True, kw_only=True)
class Lamp:
    """A lamp, as the viewer of the picture sees it.

    Attributes:
        azimuth_deg: -180 to 180: 0 at the camera, 90 right of the face, -90 left, 180 behind.
        elevation_deg: -90 from below to 90 from above.
        temperature_k: colour temperature [K]: 1700 a candle's orange, 6500 neutral, 15000 blue.
        strength: 0 leaves the light as it is, at 1 only the lamp is left.
        ambient: share of the lamp's light that comes from all around: 0 hard, 1 flat.
    """

    azimuth_deg: float = 0.0
    elevation_deg: float = 0.0
    temperature_k: float = NEUTRAL_K
    strength: float = 0.0
    ambient: float = 0.4

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: a value is out of range.
        """
        for field in fields(self):
            value, (least, most) = getattr(self, field.name), LAMP_RANGES[field.name]
            if not least <= value <= most:
                name = "light_" + field.name.removesuffix("_deg").removesuffix("_k")
                raise ValueError(f"{name} is {value}; expected {least:g} to {most:g}")

    @property
    def towards(self) -> Float64[NDArray[np.float64], " 3"]:
        """Unit vector from the face to the lamp; x right, y down, z away from the camera."""
        azimuth, elevation = np.deg2rad([self.azimuth_deg, self.elevation_deg])
        level = np.cos(elevation)
        across, ahead = level * np.sin(azimuth), level * np.cos(azimuth)
        return np.array([across, -np.sin(elevation), -ahead])


LAMP_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "azimuth_deg": (-180, 180),
        "elevation_deg": (-90, 90),
        "temperature_k": (1700, 15000),
        "strength": (0, 1),
        "ambient": (0, 1),
    }
)
# The patterns of portrait photography by the direction of their key light and how much the shadows
# are filled; the last five are named for what shines.
PRESETS: Mapping[str, Lamp] = MappingProxyType(
    {
        "studio": Lamp(azimuth_deg=-30, elevation_deg=30, strength=0.8, ambient=0.55),
        "loop": Lamp(azimuth_deg=-40, elevation_deg=30, strength=0.9, ambient=0.3),
        "rembrandt": Lamp(azimuth_deg=-50, elevation_deg=45, strength=0.95, ambient=0.2),
        "butterfly": Lamp(elevation_deg=50, strength=0.95, ambient=0.25),
        "split": Lamp(azimuth_deg=-90, strength=0.95, ambient=0.2),
        "rim": Lamp(azimuth_deg=-135, elevation_deg=30, strength=0.95, ambient=0.35),
        "underlight": Lamp(elevation_deg=-60, strength=0.95, ambient=0.2),
        "candle": Lamp(
            azimuth_deg=20, elevation_deg=-35, temperature_k=1900, strength=0.9, ambient=0.25
        ),
        "tungsten": Lamp(
            azimuth_deg=-30, elevation_deg=40, temperature_k=3200, strength=0.8, ambient=0.45
        ),
        "sunset": Lamp(
            azimuth_deg=70, elevation_deg=10, temperature_k=2800, strength=0.9, ambient=0.3
        ),
        "moonlight": Lamp(
            azimuth_deg=50, elevation_deg=50, temperature_k=12000, strength=0.9, ambient=0.2
        ),
    }
)


def lamp_of(preset: str | None = None, **named: float | None) -> Lamp:
    """A preset's lamp with some of its numbers replaced; numbers alone make a lamp too.

    Args:
        preset: a name of PRESETS; None starts from `Lamp`'s defaults, at NAMED_STRENGTH if any
            other number is given.
        named: attributes of `Lamp`; None leaves the preset's.

    Raises:
        ValueError: an unknown preset, or a number out of range.
    """
    given = {name: value for name, value in named.items() if value is not None}
    if preset is None:
        return replace(Lamp(strength=NAMED_STRENGTH if given else 0.0), **given)
    if preset not in PRESETS:
        raise ValueError(f"light preset is {preset!r}; expected one of {', '.join(PRESETS)}")
    return replace(PRESETS[preset], **given)


def add_lamp(lighting: Lighting, lamp: Lamp) -> Lighting:
    """The light with a lamp's blended in.

    The lamp is a clamped cosine about its direction, cut after the second order (Ramamoorthi &
    Hanrahan 2001, equation 9: 1/4, 1/2, 5/32). A face is exposed to the mean brightness that it had
    where the lamp is before it, and for its lit side where the lamp is beside or behind it. The
    colour is that of the light before times the lamp's.

    Args:
        lighting: in the picture's axes (y down, z away from the camera).
        lamp: with strength 0 the answer is `lighting` itself.
    """
    if lamp.strength == 0:
        return lighting
    x, y, z = lamp.towards
    bands = [6 * x * y, 6 * x * z, 6 * y * z, 1.5 * (x * x - y * y), 0.5 * (3 * z * z - 1)]
    terms = np.array([1 / 4, x / 2, y / 2, z / 2, *(5 / 32 * band for band in bands)])
    terms *= (1 - lamp.ambient) / max(float(terms @ _SEEN_MEANS), _LEAST_EXPOSED)
    terms[0] += lamp.ambient
    colour = _brightness(lighting) * temperature_gains(lamp.temperature_k)
    added = (terms / CONSTANTS)[:, None] * colour
    return np.asarray(lighting + lamp.strength * (added - lighting), np.float32)


def with_contrast(lighting: Lighting, contrast: float) -> Lighting:
    """The light with its shadows deepened or filled, of the same mean brightness on a face.

    Args:
        lighting: any.
        contrast: multiplies what differs between directions: 0 flat, 1 `lighting` itself, 2 twice.

    Raises:
        ValueError: it is out of range.
    """
    if not 0 <= contrast <= MAX_CONTRAST:
        raise ValueError(f"light_contrast is {contrast}; expected 0 to {MAX_CONTRAST:g}")
    if contrast == 1:
        return lighting
    flat = np.zeros_like(lighting)
    flat[0] = _brightness(lighting) / CONSTANTS[0]
    return np.asarray(flat + contrast * (lighting - flat), np.float32)


def temperature_gains(temperature_k: float) -> Float64[NDArray[np.float64], " 3"]:
    """How a black body's light multiplies encoded RGB; 1 at NEUTRAL_K, luminance kept.

    Kim et al. 2002 (US patent 7024034): the Planckian locus by cubics, from 1667 to 25000 K.
    """
    relative = _black_body(temperature_k) / _black_body(NEUTRAL_K)
    linear = np.maximum(relative / (_LUMINANCE @ relative), _LEAST_GAIN)
    return np.asarray(linear ** (_NOT_ADAPTED / _GAMMA))


def _brightness(lighting: Lighting) -> Float64[NDArray[np.float64], " 3"]:
    """Mean shading over the visible half of a ball."""
    return np.asarray((CONSTANTS * _SEEN_MEANS) @ lighting, np.float64)


def _black_body(temperature_k: float) -> Float64[NDArray[np.float64], " 3"]:
    """Linear sRGB of a black body of luminance 1."""
    inverse = 1000 / temperature_k
    if temperature_k <= 4000:
        x = np.polyval([-0.2661239, -0.2343589, 0.8776956, 0.179910], inverse)
    else:
        x = np.polyval([-3.0258469, 2.1070379, 0.2226347, 0.240390], inverse)
    if temperature_k <= 2222:
        y = np.polyval([-1.1063814, -1.34811020, 2.18555832, -0.20219683], x)
    elif temperature_k <= 4000:
        y = np.polyval([-0.9549476, -1.37418593, 2.09137015, -0.16748867], x)
    else:
        y = np.polyval([3.0817580, -5.87338670, 3.75112997, -0.37001483], x)
    linear = _XYZ_TO_RGB @ np.array([x / y, 1, (1 - x - y) / y])
    return np.asarray(np.maximum(linear, _LEAST_GAIN))
