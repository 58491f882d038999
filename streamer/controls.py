"""What a person may change while streaming: names, ranges and defaults, for server and page."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from streamer.attributes import (
    BLUR,
    FACE_NUMBERS,
    LAMP_NUMBERS,
    PLACES,
    PRESETS,
    WORN,
    WORN_NUMBERS,
    Place,
    Preset,
    Range,
    Swap,
    is_colour,
    source_name,
)
from streamer.errors import ControlError

Motion = Literal["relative", "absolute"]
Light = Literal["source", "driver"]
STEPS = (1, 2, 4)
MAX_PORTRAIT_ID = 64

RANGES: Mapping[str, Range] = {
    "strength": Range(least=0, most=2, step=0.05),
    "smoothing": Range(least=0, most=1, step=0.05),
    **FACE_NUMBERS,
    **LAMP_NUMBERS,
    "background_blur": BLUR,
    **WORN_NUMBERS,
}
_COLOURS = ("background_colour",)
_PORTRAITS = tuple(source_name(place) for place in PLACES)
SLOW = frozenset({*_PORTRAITS, *_COLOURS, "background_blur", *WORN_NUMBERS, "swap"})
"""What needs work before it can be shown: a portrait read, or the source dressed anew."""


@dataclass(frozen=True, kw_only=True)
class LiveControls:
    """The state of all sliders and switches of a session.

    Attributes:
        motion: carry over the motion since the reference, or take the driver's pose as it is.
        strength: multiplies the motion.
        pose, expression: whether the driver's head and its face move the portrait.
        eyes, mouth: whether lids and gaze, and mouth and jaw, move where the face does.
        smoothing: 0 follows at once, 1 is steadiest.
        pose_from, expression_from, gaze_from, shape_from, camera_from: a portrait whose attribute
            is shown in place of the driver's, None: the driver's; of shape the portrait's own.
        yaw, pitch, roll: turn of the head: to the right, up, clockwise, as the viewer sees it.
        zoom: factor on the head's size.
        shift_x, shift_y: of the head, to the right and up.
        expression_strength: multiplies what of the expression differs from the portrait's.
        shape_strength: share of the way to the shape of `shape_from`.
        gaze_x, gaze_y: turn of the eyes, to the right and up.
        light: whose light the face is shown in.
        light_from: a portrait in whose light it is shown.
        light_preset: a lamp blended into that light.
        light_azimuth, light_elevation: where the lamp stands as the viewer sees it: right of the
            camera, above it. None, as in all five: as in the preset.
        light_temperature: of its colour.
        light_strength: 0 leaves the light as it is, at 1 there is only the lamp.
        light_ambient: share of the lamp's light that comes from all around.
        background_colour, background_blur, background_from: what is behind the person: a colour,
            the portrait's own out of focus, or that of another portrait.
        hair_from, clothes_from: a portrait whose hair or clothes the portrait wears.
        hair_strength, clothes_strength: share of the way to them.
        swap: how hair, clothes and another portrait's background come: as they are there, or by
            their slot tokens alone, as in the paper.
        show_slots: tint the result by what each slot of the model is, and name it.
        mirror: swap left and right of the camera's picture, as people know themselves.
        steps: of the sampler.
    """

    motion: Motion = "relative"
    strength: float = 1.0
    pose: bool = True
    expression: bool = True
    eyes: bool = True
    mouth: bool = True
    smoothing: float = 0.5
    pose_from: str | None = None
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    camera_from: str | None = None
    zoom: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    expression_from: str | None = None
    expression_strength: float = 1.0
    shape_from: str | None = None
    shape_strength: float = 1.0
    gaze_from: str | None = None
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    light: Light = "source"
    light_from: str | None = None
    light_preset: Preset = "none"
    light_azimuth: float | None = None
    light_elevation: float | None = None
    light_temperature: float | None = None
    light_strength: float | None = None
    light_ambient: float | None = None
    background_colour: str | None = None
    background_blur: float = 0.0
    background_from: str | None = None
    hair_from: str | None = None
    hair_strength: float = 1.0
    clothes_from: str | None = None
    clothes_strength: float = 1.0
    swap: Swap = "pixels"
    show_slots: bool = False
    mirror: bool = False
    steps: int = 1

    def __post_init__(self) -> None:
        """Check that no attribute has two sources.

        Raises:
            ControlError: one has.
        """
        behind = ("background_colour", "background_blur", "background_from")
        named = [name for name in behind if getattr(self, name)]
        if self.light == "driver" and self.light_from is not None:
            named = ["light", "light_from"]
        if len(named) > 1:
            what = named[0].partition("_")[0]
            raise ControlError(
                f"{named[0]} and {named[1]} are two sources for the {what}; take one of them back"
            )

    @property
    def sources(self) -> Mapping[Place, str]:
        """The portraits that attributes are taken from."""
        named = {place: getattr(self, source_name(place)) for place in PLACES}
        return {place: portrait for place, portrait in named.items() if portrait is not None}

    @property
    def is_dressed(self) -> bool:
        """Whether anything but the portrait's own is worn or behind it."""
        worn = [getattr(self, source_name(place)) for place in WORN]
        return any((self.background_colour, self.background_blur, *worn))

    def changed(self, values: Mapping[str, object]) -> "LiveControls":
        """The controls with some values changed, all or none.

        Raises:
            ControlError: an unknown name, a wrong type, a value out of range, or two sources for
                one attribute.
        """
        return replace(self, **{name: _checked(name, value) for name, value in values.items()})

    def with_sources(self, sources: Mapping[Place, str]) -> "LiveControls":
        """The controls with these portraits in place of those they name."""
        named: dict[str, Any] = {source_name(place): name for place, name in sources.items()}
        return replace(self, **named)


def _checked(name: str, value: object) -> Any:
    known = _SCHEMA.get(name)
    if known is None:
        raise ControlError(f"there is no control {name!r:.60}; /api/config names those there are")
    is_good, wanted = _judged(known, value)
    can_be_null = known["default"] is None
    if not is_good and not (can_be_null and value is None):
        wanted += " or null" if can_be_null else ""
        raise ControlError(f"{name} is {value!r:.60}; expected {wanted}")
    return float(value) if "min" in known and value is not None else value  # type: ignore[arg-type]


def _judged(known: Mapping[str, Any], value: object) -> tuple[bool, str]:
    """Whether a value is one of a control's, and what it should be."""
    if "enum" in known:
        is_good = type(value) in (str, int) and value in known["enum"]
        return is_good, f"one of {', '.join(map(str, known['enum']))}"
    kind = known.get("type")
    if kind == "boolean":
        return isinstance(value, bool), "true or false"
    if kind == "colour":
        return is_colour(value), "a colour such as #1e90ff"
    if kind == "portrait":
        is_good = isinstance(value, str) and 0 < len(value) <= MAX_PORTRAIT_ID
        return is_good, "a portrait's id"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_good = is_number and known["min"] <= value <= known["max"]
    return is_good, f"a number from {known['min']} to {known['max']}"


def controls_schema() -> dict[str, dict[str, Any]]:
    """Every control with its range or choices and its default, as JSON holds it."""
    choices: dict[str, tuple[Any, ...]] = {
        "motion": get_args(Motion),
        "light": get_args(Light),
        "light_preset": PRESETS,
        "swap": get_args(Swap),
        "steps": STEPS,
    }
    schema: dict[str, dict[str, Any]] = {}
    for control in fields(LiveControls):
        if control.name in choices:
            entry: dict[str, Any] = {"enum": list(choices[control.name])}
        elif control.name in RANGES:
            limits = RANGES[control.name]
            entry = {"min": limits.least, "max": limits.most, "step": limits.step}
            entry |= {"unit": limits.unit} if limits.unit else {}
        elif control.name in _COLOURS:
            entry = {"type": "colour"}
        elif control.name in _PORTRAITS:
            entry = {"type": "portrait"}
        else:
            entry = {"type": "boolean"}
        schema[control.name] = {**entry, "default": control.default}
    return schema


_SCHEMA = controls_schema()
