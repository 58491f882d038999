"""The grammar of edits for commands, data channel and page: what each attribute can be, by name.

A number comes on top of what an attribute's place gives, a place says whose attribute it is. What
is not named stays the driver's, or the portrait's where nothing drives it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

Place = Literal[
    "pose", "expression", "gaze", "shape", "camera", "light", "background", "hair", "clothes",
]  # fmt: skip
PLACES: tuple[Place, ...] = get_args(Place)
MOVING: tuple[Place, ...] = ("pose", "expression", "gaze", "camera")
"""Those that a video can be the place of, too."""

WORN: tuple[Place, ...] = ("background", "hair", "clothes")
"""Those that are exchanged once for a portrait, before anything moves it."""

Swap = Literal["pixels", "tokens"]
"""How what is worn is taken from another portrait: as it is there, or by slot tokens alone."""

Preset = Literal[
    "none", "studio", "loop", "rembrandt", "butterfly", "split", "rim", "underlight", "candle",
    "tungsten", "sunset", "moonlight",
]  # fmt: skip
"""Lamps that have a name; their numbers are the model's."""

PRESETS: tuple[Preset, ...] = get_args(Preset)
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, kw_only=True)
class Range:
    """A slider: smallest and largest value, the step of the page's slider, the unit in words."""

    least: float
    most: float
    step: float
    unit: str = ""


FACE_NUMBERS: Mapping[str, Range] = MappingProxyType(
    {
        "yaw": Range(least=-40, most=40, step=1, unit="degrees"),
        "pitch": Range(least=-30, most=30, step=1, unit="degrees"),
        "roll": Range(least=-45, most=45, step=1, unit="degrees"),
        "zoom": Range(least=0.7, most=1.4, step=0.02, unit="times"),
        "shift_x": Range(least=-0.5, most=0.5, step=0.02, unit="face widths"),
        "shift_y": Range(least=-0.5, most=0.5, step=0.02, unit="face widths"),
        "expression_strength": Range(least=0, most=2, step=0.05, unit="times"),
        "shape_strength": Range(least=0, most=1, step=0.05, unit="share"),
        "gaze_x": Range(least=-30, most=30, step=1, unit="degrees"),
        "gaze_y": Range(least=-20, most=20, step=1, unit="degrees"),
    }
)
LAMP_NUMBERS: Mapping[str, Range] = MappingProxyType(
    {
        "light_azimuth": Range(least=-180, most=180, step=5, unit="degrees"),
        "light_elevation": Range(least=-90, most=90, step=5, unit="degrees"),
        "light_temperature": Range(least=1700, most=15000, step=100, unit="kelvin"),
        "light_strength": Range(least=0, most=1, step=0.05),
        "light_ambient": Range(least=0, most=1, step=0.05),
    }
)
"""Each may be None: as the preset has it, and without a preset as the model's plain lamp."""

WORN_NUMBERS: Mapping[str, Range] = MappingProxyType(
    {
        "hair_strength": Range(least=0, most=1, step=0.05, unit="share"),
        "clothes_strength": Range(least=0, most=1, step=0.05, unit="share"),
    }
)
BLUR = Range(least=0, most=100, step=1, unit="pixels")
"""Standard deviation in a picture of 720 pixels a side."""


def source_name(place: Place) -> str:
    """The live control that names the portrait an attribute is taken from."""
    return f"{place}_from"


def is_colour(text: object) -> bool:
    """Whether it is written as in `#1e90ff`."""
    return isinstance(text, str) and _COLOUR.fullmatch(text) is not None


def red_green_blue(colour: str) -> tuple[int, int, int]:
    """The channels of a colour, 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
