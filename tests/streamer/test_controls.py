"""The typed controls: what the page is told, and what is taken from it."""

import json
from dataclasses import fields

import pytest

from streamer.controls import LiveControls, controls_schema
from streamer.errors import ControlError


def test_the_schema_names_every_control_with_its_default_and_is_json() -> None:
    schema = json.loads(json.dumps(controls_schema()))
    assert list(schema) == [control.name for control in fields(LiveControls)]
    assert {name: entry["default"] for name, entry in schema.items()} == {
        control.name: control.default for control in fields(LiveControls)
    }
    assert schema["strength"] == {"min": 0, "max": 2, "step": 0.05, "default": 1.0}
    assert schema["pose"] == {"type": "boolean", "default": True}
    assert schema["motion"] == {"enum": ["relative", "absolute"], "default": "relative"}


def test_some_values_are_changed_and_the_others_kept() -> None:
    changed = LiveControls(pose=False).changed({"strength": 2, "motion": "absolute", "steps": 4})
    assert changed == LiveControls(pose=False, strength=2.0, motion="absolute", steps=4)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"strength": 2.01}, "strength is 2.01; expected a number from 0 to 2"),
        ({"strength": True}, "expected a number"),
        ({"strength": float("nan")}, "expected a number"),
        ({"strength": "1"}, "expected a number"),
        ({"strength": None}, "expected a number"),
        ({"pose": 1}, "pose is 1; expected true or false"),
        ({"motion": "sideways"}, "expected one of relative, absolute"),
        ({"motion": ["relative"]}, "expected one of"),
        ({"steps": 3}, "expected one of 1, 2, 4"),
        ({"steps": True}, "expected one of"),
        ({"volume": 1}, "there is no control 'volume'"),
        ({"x" * 10_000: 1}, "there is no control"),
        ({"strength": 1, "pose": "no"}, "pose is 'no'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_short_sentence(
    values: dict[str, object], said: str
) -> None:
    controls = LiveControls()
    with pytest.raises(ControlError, match=r"^[^\n]{1,300}$") as raised:
        controls.changed(values)
    assert said in str(raised.value)
