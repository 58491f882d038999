"""The typed controls: what the page is told, and what is taken from it."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from difffae.face.edit import Edit
from difffae.face.lamp import NAMED_STRENGTH, PRESETS, Lamp
from streamer.attributes import PLACES, WORN, WORN_NUMBERS, source_name
from streamer.controls import SLOW, LiveControls, controls_schema
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
    yaw = {"min": -40, "max": 40, "step": 1, "unit": "degrees", "default": 0.0}
    assert schema["yaw"] == yaw
    assert schema["light_ambient"] == {"min": 0, "max": 1, "step": 0.05, "default": None}
    assert schema["background_colour"] == {"type": "colour", "default": None}
    assert schema["pose_from"] == {"type": "portrait", "default": None}
    assert schema["mirror"] == {"type": "boolean", "default": False}
    assert schema["motion"] == {"enum": ["relative", "absolute"], "default": "relative"}


# What each control is set to, which field of the model's controls hears of it, and what of that.
HEARD: dict[str, tuple[object, str, object]] = {
    "motion": ("absolute", "motion", "absolute"),
    "strength": (0.7, "strength", 0.7),
    "pose": (False, "moves_pose", False),
    "expression": (False, "moves_expression", False),
    "eyes": (False, "moves_eyes", False),
    "mouth": (False, "moves_mouth", False),
    "smoothing": (0.2, "smoothing", 0.2),
    "yaw": (10, "edit", Edit(yaw=10)),
    "pitch": (-5, "edit", Edit(pitch=-5)),
    "roll": (7, "edit", Edit(roll=7)),
    "zoom": (1.2, "edit", Edit(zoom=1.2)),
    "shift_x": (0.1, "edit", Edit(shift_x=0.1)),
    "shift_y": (-0.2, "edit", Edit(shift_y=-0.2)),
    "expression_strength": (1.5, "edit", Edit(expression_strength=1.5)),
    "shape_strength": (0.5, "edit", Edit(shape_strength=0.5)),
    "gaze_x": (10, "edit", Edit(gaze_x=10)),
    "gaze_y": (-10, "edit", Edit(gaze_y=-10)),
    "light": ("driver", "light", "driver"),
    "light_preset": ("candle", "lamp", PRESETS["candle"]),
    "light_azimuth": (30, "lamp", Lamp(azimuth_deg=30, strength=NAMED_STRENGTH)),
    "light_elevation": (-30, "lamp", Lamp(elevation_deg=-30, strength=NAMED_STRENGTH)),
    "light_temperature": (3000, "lamp", Lamp(temperature_k=3000, strength=NAMED_STRENGTH)),
    "light_strength": (0.9, "lamp", Lamp(strength=0.9)),
    "light_ambient": (0.9, "lamp", Lamp(ambient=0.9, strength=NAMED_STRENGTH)),
    "show_slots": (True, "shows_slots", True),
    "steps": (4, "num_steps", 4),
}


def test_each_control_changes_one_of_the_models_and_none_is_left_over() -> None:
    default = model_controls(LiveControls(), 0)
    outside = {"mirror", "background_colour", "background_blur", "swap", *WORN_NUMBERS}
    named_by_portrait = {source_name(place) for place in PLACES}
    assert set(HEARD) == set(controls_schema()) - outside - named_by_portrait
    for name, (value, field, heard) in HEARD.items():
        given = model_controls(LiveControls().changed({name: value}), 0)
        assert given == replace(default, **{field: heard}), name
    not_live = {"seed", "moves_gaze", "moves_camera", "warm_start"}
    assert {field for _, field, _ in HEARD.values()} == {
        one.name for one in fields(default)
    } - not_live


def test_faces_that_attributes_are_taken_from_are_heard_of() -> None:
    face: Any = object()
    for place in set(PLACES) - set(WORN):
        assert getattr(model_controls(LiveControls(), 0, {place: face}).edit, place) is face


def test_what_was_set_and_taken_back_is_what_there_was() -> None:
    schema, controls = controls_schema(), LiveControls()
    others = {"background_colour": "#102030", "pose_from": "P001", "mirror": True}
    for name, value in {**{name: value for name, (value, *_) in HEARD.items()}, **others}.items():
        set_once = controls.changed({name: value})
        assert set_once != controls
        assert set_once.changed({name: schema[name]["default"]}) == controls


def test_sources_are_named_in_the_clients_words_and_replaced_by_the_models() -> None:
    controls = LiveControls().changed({"pose_from": "P001", "background_from": "P002"})
    assert controls.sources == {"pose": "P001", "background": "P002"}
    told = controls.with_sources({"pose": "a", "background": "b"})
    assert (told.pose_from, told.background_from) == ("a", "b")
    slow = {"background_colour", "background_blur", "hair_strength", "clothes_strength", "swap"}
    assert {source_name(place) for place in PLACES} | slow == SLOW


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("background_from", "P1"),
        ("background_blur", 3),
        ("background_colour", "#102030"),
        ("hair_from", "P1"),
        ("clothes_from", "P1"),
    ],
)
def test_a_portrait_is_dressed_by_each_of_what_is_worn_and_by_nothing_else(
    name: str, value: object
) -> None:
    assert LiveControls().changed({name: value}).is_dressed
    others = {"yaw": 5, "pose_from": "P1", "hair_strength": 0.5, "swap": "tokens"}
    assert not LiveControls().changed(others).is_dressed


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
        ({"yaw": -40.1}, "yaw is -40.1; expected a number from -40 to 40"),
        ({"zoom": 1.5}, "zoom is 1.5; expected a number from 0.7 to 1.4"),
        ({"yaw": None}, "yaw is None; expected a number from -40 to 40"),
        ({"light_strength": -0.1}, "expected a number from 0 to 1 or null"),
        ({"light_preset": "disco"}, "expected one of none, studio, loop"),
        ({"light_preset": None}, "expected one of none"),
        ({"background_colour": "red"}, "expected a colour such as #1e90ff or null"),
        ({"background_colour": 7}, "expected a colour"),
        ({"pose_from": "P" * 65}, "expected a portrait's id or null"),
        ({"pose_from": ""}, "expected a portrait's id or null"),
        ({"pose_from": ["P001"]}, "expected a portrait's id or null"),
        (
            {"background_colour": "#102030", "background_blur": 4},
            "background_colour and background_blur are two sources for the background",
        ),
        ({"background_from": "P1", "background_blur": 4}, "two sources for the background"),
        (
            {"light": "driver", "light_from": "P1"},
            "light and light_from are two sources for the light",
        ),
        ({"shoes_from": "P1"}, "there is no control 'shoes_from'"),
        ({"hair_strength": 1.1}, "hair_strength is 1.1; expected a number from 0 to 1"),
        ({"swap": "magic"}, "swap is 'magic'; expected one of pixels, tokens"),
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
