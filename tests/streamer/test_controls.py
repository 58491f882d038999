"""The typed controls: what the page is told, and what is taken from it."""

import json
from dataclasses import fields

import pytest

from streamer.controls import LiveControls, controls_schema
from streamer.engine import model_controls
from streamer.errors import ControlError


def test_the_schema_names_every_control_with_its_default_and_is_json() -> None:
    schema = json.loads(json.dumps(controls_schema()))
    assert list(schema) == [control.name for control in fields(LiveControls)]
    assert {name: entry["default"] for name, entry in schema.items()} == {
        control.name: control.default for control in fields(LiveControls)
    }
    assert schema["strength"] == {"min": 0, "max": 2, "step": 0.05, "default": 1.0}
    assert schema["pose"] == {"type": "boolean", "default": True}
    assert schema["light_x"] == {"min": -1, "max": 1, "step": 0.05, "default": 0.0}
    assert schema["mirror"] == {"type": "boolean", "default": False}
    assert schema["motion"] == {"enum": ["relative", "absolute"], "default": "relative"}


NOT_THE_DEFAULTS = {
    "motion": "absolute",
    "strength": 0.7,
    "pose": False,
    "expression": False,
    "eyes": False,
    "mouth": False,
    "smoothing": 0.2,
    "light": "driver",
    "light_x": -0.3,
    "light_y": 0.6,
    "light_strength": 0.9,
    "mirror": True,
    "steps": 4,
}


def test_each_control_but_the_mirror_changes_one_of_the_models_and_none_is_left_over() -> None:
    default, heard = model_controls(LiveControls(), 0), set()
    assert list(NOT_THE_DEFAULTS) == list(controls_schema())
    for name, value in NOT_THE_DEFAULTS.items():
        given = model_controls(LiveControls().changed({name: value}), 0)
        changed = {
            field.name
            for field in fields(given)
            if getattr(given, field.name) != getattr(default, field.name)
        }
        assert len(changed) == (name != "mirror")
        assert {getattr(given, field) for field in changed} <= {value}
        heard |= changed
    not_yet_live = {"seed", "edit", "moves_gaze", "moves_camera"}
    assert heard == {field.name for field in fields(default)} - not_yet_live


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
        ({"light_x": -1.01}, "light_x is -1.01; expected a number from -1 to 1"),
        ({"light_y": 1.5}, "light_y is 1.5; expected a number from -1 to 1"),
        ({"light_strength": -0.1}, "expected a number from 0 to 1"),
        ({"eyes": "on"}, "eyes is 'on'; expected true or false"),
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


def test_frames_start_warm_only_where_that_is_asked_for() -> None:
    assert model_controls(LiveControls(), 0).warm_start is None
    assert model_controls(LiveControls(), 0, is_warm=True).warm_start is not None
