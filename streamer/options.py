"""Options of edits, the same for videos and stills: a command line in, controls and files out.

`streamer.attributes` has the names and the ranges.
"""

import argparse
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn, get_args

from streamer.attributes import (
    FACE_NUMBERS,
    LAMP_NUMBERS,
    PLACES,
    PRESETS,
    WORN_NUMBERS,
    Place,
    Swap,
    is_colour,
)
from streamer.controls import RANGES, Light, LiveControls
from streamer.errors import UsageError

_HELP = {
    "yaw": "turn the head right, as you see it",
    "pitch": "turn it up",
    "roll": "turn it clockwise",
    "zoom": "the head's size",
    "shift_x": "move it right",
    "shift_y": "move it up",
    "expression_strength": "multiplies what of the expression differs from the portrait's",
    "shape_strength": "share of the way to the shape of --shape",
    "gaze_x": "turn the eyes right",
    "gaze_y": "turn them up",
    "light_azimuth": "where a lamp stands: 0 at the camera, 90 right of the face, -90 left",
    "light_elevation": "of the lamp: 90 above, -90 below",
    "light_temperature": "of the lamp: 1700 orange, 6500 neutral, 15000 blue",
    "light_strength": "of the lamp: 0 leaves the light as it is, at 1 there is no other",
    "light_ambient": "share of the lamp's light that comes from all around",
    "hair_strength": "share of the way to the hair of --hair",
    "clothes_strength": "share of the way to the clothes of --clothes",
}


class Parser(argparse.ArgumentParser):
    """Reports what it cannot parse as one line, and takes `-30,45` for numbers, not an option."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._negative_number_matcher = re.compile(r"-\d+(\.\d*)?(,.*)?$|-\.\d+$")

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print with its usage.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{message}; run {self.prog} --help")


@dataclass(frozen=True, kw_only=True)
class _Look:
    """A light or a background: a file, or what controls say of it."""

    file: Path | None = None
    controls: Mapping[str, str | float] = field(default_factory=dict)


class _Once(argparse.Action):
    """Stores what may be said once, by this option or by another for the same attribute.

    What is a mapping is for attributes of those names.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store, or refuse a second source.

        Raises:
            argparse.ArgumentError: the attribute has one already.
        """
        for name, value in values.items() if isinstance(values, dict) else [(self.dest, values)]:
            if name in vars(namespace).setdefault("named", set()):
                what = name.replace("_", " ")
                raise argparse.ArgumentError(self, f"there are two sources for the {what}")
            namespace.named.add(name)
            setattr(namespace, name, value)


def add_motion(parser: argparse.ArgumentParser) -> None:
    """What of a driver's motion is carried over."""
    controls, add = LiveControls(), parser.add_argument
    add(
        "--strength",
        type=ranged("strength"),
        default=controls.strength,
        help="multiplies the motion, 0 to 2",
    )
    for name, what in {
        "eyes": "lids and gaze move with the face; else they stay as in the portrait",
        "mouth": "mouth and jaw move with the face; else they stay as in the portrait",
    }.items():
        add(f"--{name}", type=_truth, default=True, metavar="true|false", help=what)
    add(
        "--smoothing",
        type=ranged("smoothing"),
        default=controls.smoothing,
        help="0 follows at once, 1 is steadiest (default: %(default)s)",
    )


def add_edits(parser: argparse.ArgumentParser, *, has_driver: bool) -> None:
    """Where attributes come from, and what is changed by number.

    Args:
        parser: takes the options.
        has_driver: whether a video moves the portrait; then videos can be named too.
    """
    group = parser.add_argument_group(
        "edits",
        "What is not named stays "
        + ("the driver's." if has_driver else "the portrait's.")
        + " A video that is shorter than the driver is held at its last frame." * has_driver,
    )
    _add_places(group, has_driver=has_driver)
    _add_worn(group)
    for name in (*FACE_NUMBERS, *LAMP_NUMBERS, *WORN_NUMBERS):
        limits = RANGES[name]
        unit = "" if limits.unit == "share" else f" {limits.unit}"
        told = f"{_HELP[name]}, {limits.least:g} to {limits.most:g}{unit}".rstrip()
        group.add_argument(
            "--" + name.replace("_", "-"),
            action=_Once,
            type=ranged(name),
            default=getattr(LiveControls(), name),
            metavar="X",
            help=told,
        )
    group.add_argument(
        "--light-direction",
        action=_Once,
        type=_direction,
        default=argparse.SUPPRESS,
        metavar="X,Y",
        help="the lamp's azimuth and elevation in one",
    )
    group.add_argument(
        "--show",
        choices=("slots",),
        help="tint the result by what each slot of the model is, and name it",
    )


def _add_places(group: Any, *, has_driver: bool) -> None:
    moving = {"pose": "turn of the head", "expression": "expression"}
    for name, what in moving.items():
        group.add_argument(
            f"--{name}",
            action=_Once,
            type=_switch_or_file if has_driver else Path,
            default=True,
            metavar="true|false|FILE" if has_driver else "FILE",
            help=f"whether the driver's {what} is carried over, or a picture or video whose is"
            if has_driver
            else f"a picture whose {what} is shown",
        )
    for name, what in {
        "gaze": "direction of the eyes",
        "camera": "size and place of the face",
        "shape": "shape of the face",
    }.items():
        kind = "picture or video" if has_driver and name != "shape" else "picture"
        help_text = f"a {kind} whose {what} is taken"
        group.add_argument(f"--{name}", action=_Once, type=Path, metavar="FILE", help=help_text)
    group.add_argument(
        "--light",
        action=_Once,
        type=_light if has_driver else _still_light,
        default=_Look(),
        metavar="source|driver|PRESET|FILE" if has_driver else "PRESET|FILE",
        help=f"whose light the face is in, a lamp ({', '.join(PRESETS[1:])}), or a picture in "
        "whose light it is (default: the portrait's own)",
    )


def _add_worn(group: Any) -> None:
    group.add_argument(
        "--background",
        action=_Once,
        type=_background,
        default=_Look(),
        metavar="#rrggbb|blur:X|FILE",
        help="what is behind the person: a colour, the portrait's own out of focus by 0 to 100 "
        "pixels, or a picture, without the person in it",
    )
    for name, what in {
        "hair": "hair, with what is worn on the head,",
        "clothes": "clothes",
    }.items():
        help_text = f"a picture of one person whose {what} the portrait wears"
        group.add_argument(f"--{name}", action=_Once, type=Path, metavar="FILE", help=help_text)
    group.add_argument(
        "--swap",
        choices=get_args(Swap),
        default=LiveControls().swap,
        help="how hair, clothes and another portrait's background come: as they are in its "
        "picture, or by slot tokens alone, as in the paper (default: %(default)s)",
    )


def controls_of(given: argparse.Namespace) -> LiveControls:
    """The options that are controls of the live server too."""
    values: dict[str, Any] = {
        control.name: getattr(given, control.name)
        for control in fields(LiveControls)
        if control.name in vars(given)
        and not isinstance(getattr(given, control.name), Path | _Look)
    }
    values["show_slots"] = given.show == "slots"
    return LiveControls(**values, **given.light.controls, **given.background.controls)


def places_of(given: argparse.Namespace) -> dict[Place, Path]:
    """The files that attributes are taken from."""
    found = {}
    for place in PLACES:
        value = getattr(given, place)
        path = value.file if isinstance(value, _Look) else value
        if isinstance(path, Path):
            found[place] = path
    return found


def _switch_or_file(text: str) -> bool | Path:
    if text in ("true", "false"):
        return text == "true"
    return _file(text, "true, false, a picture or a video")


def _file(text: str, wanted: str) -> Path:
    """A path; what looks like a misspelt word is refused as such."""
    path = Path(text)
    if not path.suffix and not path.exists():
        raise argparse.ArgumentTypeError(f"expected {wanted}, got {text}")
    return path


def _light(text: str) -> _Look:
    if text in get_args(Light):
        return _Look(controls={"light": text})
    return _still_light(text, "source, driver, ")


def _still_light(text: str, others: str = "") -> _Look:
    if text in PRESETS:
        return _Look(controls={"light_preset": text})
    return _Look(file=_file(text, f"{others}a picture or one of {', '.join(PRESETS)}"))


def _background(text: str) -> _Look:
    if text.startswith("#"):
        if not is_colour(text):
            raise argparse.ArgumentTypeError(f"expected a colour such as #1e90ff, got {text}")
        return _Look(controls={"background_colour": text})
    if text.startswith("blur:"):
        return _Look(controls={"background_blur": ranged("background_blur")(text[5:])})
    return _Look(file=_file(text, "#rrggbb, blur:X or a picture"))


def _direction(text: str) -> Mapping[str, float]:
    numbers = text.split(",")
    if len(numbers) != 2:
        raise argparse.ArgumentTypeError(f"expected two numbers such as 30,45, got {text}")
    names = ("light_azimuth", "light_elevation")
    return {name: ranged(name)(one) for name, one in zip(names, numbers, strict=True)}


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, got {text}")
    return text == "true"


def ranged(control: str) -> Callable[[str], float]:
    """Reads a number within a control's range."""
    limits = RANGES[control]

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not limits.least <= value <= limits.most:
            raise argparse.ArgumentTypeError(
                f"expected {limits.least:g} to {limits.most:g}"
                f"{f' {limits.unit}' if limits.unit else ''}, got {text}"
            )
        return value

    return parse
