"""Folds of the driver's skin on the portrait, from frame to frame."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from difffae.arrays import ImageU8, Points3
from difffae.controls import Controls
from difffae.face.edit import Edit
from difffae.face.motion import FADE_FRAMES, HOLD_FRAMES
from difffae.pipeline import Pipeline, Source, StreamState
from scripted_pipeline import CONTROLS, driver_frame

SPOT = 211  # below the corner of the mouth
NO_FACE = 9


@pytest.fixture
def folded(script: dict[int, Points3 | None]) -> ImageU8:
    """A frame whose cheek has a dark fold."""
    points = script[0]
    assert points is not None
    frame = driver_frame(0, colour=120)
    x, y = points[SPOT, :2]
    cv2.ellipse(frame, (round(x), round(y)), (5, 2), 60, 0, 360, (85, 85, 85), -1)
    frame[0, 0], frame[0, 1] = 0, (1, 2, 3)
    return frame


def followed(pipeline: Pipeline, source: Source, controls: Controls = CONTROLS) -> StreamState:
    """A stream that has seen its reference."""
    start = pipeline.open_stream(source, controls)
    return pipeline.skip(driver_frame(0, colour=120), source, start, controls)


def darker(
    pipeline: Pipeline, source: Source, folded: ImageU8, controls: Controls = CONTROLS
) -> float:
    """By how many grey levels a fold darkens the cheek that is shown."""
    state = followed(pipeline, source, controls)
    plain, _ = pipeline.condition(driver_frame(0, colour=120), source, state, controls)
    fold, _ = pipeline.condition(folded, source, state, controls)
    change = plain.composite.astype(int) - fold.composite
    return float(change.max())


def test_a_fold_of_the_drivers_cheek_is_shown_on_the_portraits(
    pipeline: Pipeline, source: Source, folded: ImageU8
) -> None:
    assert darker(pipeline, source, folded) > 8
    twice = darker(pipeline, source, folded, Controls(strength=1.5))
    assert twice > 1.2 * darker(pipeline, source, folded)


@pytest.mark.parametrize(
    "controls",
    [
        Controls(moves_expression=False),
        Controls(strength=0.0),
        Controls(edit=Edit(expression_strength=0.0)),
        Controls(moves_mouth=False),
    ],
    ids=["no expression", "no strength", "none by number", "no mouth, where the cheek is"],
)
def test_where_the_face_stays_its_skin_does(
    pipeline: Pipeline, source: Source, folded: ImageU8, controls: Controls
) -> None:
    assert darker(pipeline, source, folded, controls) <= 1


def test_another_ones_expression_has_no_folds_of_the_drivers(
    pipeline: Pipeline, source: Source, folded: ImageU8
) -> None:
    edit = replace(CONTROLS.edit, expression=pipeline.donor(source))
    assert darker(pipeline, source, folded, replace(CONTROLS, edit=edit)) <= 1


def test_a_new_reference_has_its_folds_already(
    pipeline: Pipeline, source: Source, folded: ImageU8
) -> None:
    state = followed(pipeline, source)
    plain, _ = pipeline.condition(driver_frame(0, colour=120), source, state, CONTROLS)
    state = pipeline.set_reference(folded, source, state)
    fold, _ = pipeline.condition(folded, source, state, CONTROLS)
    assert np.abs(plain.composite.astype(int) - fold.composite).max() <= 8


def test_folds_fade_with_a_face_that_is_lost(
    pipeline: Pipeline, source: Source, folded: ImageU8
) -> None:
    state = followed(pipeline, source)
    plain, _ = pipeline.condition(driver_frame(0, colour=120), source, state, CONTROLS)
    _, state = pipeline.condition(folded, source, state, CONTROLS)
    left = []
    for _ in range(HOLD_FRAMES + FADE_FRAMES + 1):
        held, state = pipeline.condition(driver_frame(NO_FACE), source, state, CONTROLS)
        left.append(int((plain.composite.astype(int) - held.composite).max()))
    assert left[HOLD_FRAMES - 1] > 8
    assert 1 < left[HOLD_FRAMES + FADE_FRAMES // 2] < left[HOLD_FRAMES - 1]
    assert left[-1] <= 1
