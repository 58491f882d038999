"""The grammar of edits: what people are told is what the model takes."""

from dataclasses import fields
from typing import get_args

import pytest

from difffae.face import lamp as model_lamps
from difffae.face.edit import SPANS, Edit
from difffae.scenery import MAX_BLUR_PX, Scenery, Way
from streamer.attributes import (
    BLUR,
    FACE_NUMBERS,
    LAMP_NUMBERS,
    MOVING,
    PLACES,
    PRESETS,
    WORN,
    WORN_NUMBERS,
    Swap,
    is_colour,
    red_green_blue,
)

pytestmark = pytest.mark.computes


def test_numbers_of_the_face_have_the_models_ranges_and_units() -> None:
    spans = {name: (span.least, span.most, span.unit) for name, span in SPANS.items()}
    told = {name: (one.least, one.most, one.unit) for name, one in FACE_NUMBERS.items()}
    assert told == spans


def test_numbers_of_the_lamp_have_the_models_ranges() -> None:
    ranges = {
        "light_" + name.removesuffix("_deg").removesuffix("_k"): limits
        for name, limits in model_lamps.LAMP_RANGES.items()
    }
    assert {name: (one.least, one.most) for name, one in LAMP_NUMBERS.items()} == ranges


def test_the_presets_are_the_models_and_none_at_all() -> None:
    assert ("none", *model_lamps.PRESETS) == PRESETS


def test_what_has_a_place_is_what_the_model_takes_from_donors() -> None:
    donated = {field.name for field in fields(Edit)} - set(SPANS)
    worn = {field.name for field in fields(Scenery)} - {"way"}
    assert {*PLACES} == donated | worn
    assert {*WORN} == worn
    assert {*MOVING} < donated


def test_what_is_worn_comes_in_the_models_ways_and_shares() -> None:
    assert get_args(Swap) == get_args(Way)
    assert {name: (one.least, one.most) for name, one in WORN_NUMBERS.items()} == {
        f"{place}_strength": (0, 1) for place in WORN if place != "background"
    }


def test_a_blur_goes_as_far_as_the_models() -> None:
    assert (BLUR.least, BLUR.most) == (0, MAX_BLUR_PX)


def test_a_colour_is_six_digits() -> None:
    assert red_green_blue("#1e90FF") == (30, 144, 255)


@pytest.mark.parametrize("wrong", ["1e90ff", "#1e90f", "#1e90fg", "#1e90ff ", "", None, 7])
def test_what_is_no_colour_is_known(wrong: object) -> None:
    assert not is_colour(wrong)
