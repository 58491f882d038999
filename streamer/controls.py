"""What a person may change while streaming: names, ranges and defaults, for server and page."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from streamer.errors import ControlError

Motion = Literal["relative", "absolute"]
STEPS = (1, 2, 4)


@dataclass(frozen=True, kw_only=True)
class Range:
    """A slider: smallest and largest value, and the step of the page's slider."""

    least: float
    most: float
    step: float


RANGES: Mapping[str, Range] = {
    "strength": Range(least=0, most=2, step=0.05),
    "smoothing": Range(least=0, most=1, step=0.05),
    "light_x": Range(least=-1, most=1, step=0.05),
    "light_y": Range(least=-1, most=1, step=0.05),
    "light_strength": Range(least=0, most=1, step=0.05),
}


@dataclass(frozen=True, kw_only=True)
class LiveControls:
    """The state of all sliders and switches of a session.

    Attributes:
        motion: carry over the motion since the reference, or take the driver's pose as it is.
        strength: multiplies the motion.
        pose, expression: whether the driver's head and its face move the portrait.
        eyes, mouth: whether lids and gaze, and mouth and jaw, move where the face does.
        smoothing: 0 follows at once, 1 is steadiest.
        light: whose light the face is shown in.
        light_x, light_y: where a lamp stands as the viewer sees it: -1 left or below, 1 right or
            above.
        light_strength: of the lamp; 0 leaves the light as it is, at 1 there is no other.
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
    light: Literal["source", "driver"] = "source"
    light_x: float = 0.0
    light_y: float = 0.0
    light_strength: float = 0.0
    mirror: bool = False
    steps: int = 1

    def changed(self, values: Mapping[str, object]) -> "LiveControls":
        """The controls with some values changed, all or none.

        Raises:
            ControlError: an unknown name, a wrong type, or a value out of range.
        """
        return replace(self, **{name: _checked(name, value) for name, value in values.items()})


def _checked(name: str, value: object) -> Any:
    known = _SCHEMA.get(name)
    if known is None:
        raise ControlError(f"there is no control {name!r:.60}; there are {', '.join(_SCHEMA)}")
    if "enum" in known:
        is_good = type(value) in (str, int) and value in known["enum"]
        wanted = f"one of {', '.join(map(str, known['enum']))}"
    elif known.get("type") == "boolean":
        is_good, wanted = isinstance(value, bool), "true or false"
    else:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_good = is_number and known["min"] <= value <= known["max"]
        wanted = f"a number from {known['min']} to {known['max']}"
    if not is_good:
        raise ControlError(f"{name} is {value!r:.60}; expected {wanted}")
    return float(value) if "min" in known else value  # type: ignore[arg-type]


def controls_schema() -> dict[str, dict[str, Any]]:
    """Every control with its range or choices and its default, as JSON holds it."""
    choices: dict[str, list[Any]] = {
        "motion": ["relative", "absolute"],
        "light": ["source", "driver"],
        "steps": list(STEPS),
    }
    schema: dict[str, dict[str, Any]] = {}
    for control in fields(LiveControls):
        if control.name in choices:
            entry: dict[str, Any] = {"enum": choices[control.name]}
        elif control.name in RANGES:
            limits = RANGES[control.name]
            entry = {"min": limits.least, "max": limits.most, "step": limits.step}
        else:
            entry = {"type": "boolean"}
        schema[control.name] = {**entry, "default": control.default}
    return schema


_SCHEMA = controls_schema()
