"""A driver's motion over time: reference, framing, loss and recovery."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.face.crop import CropBox
from difffae.face.motion import (
    FADE_FRAMES,
    HOLD_FRAMES,
    RETURN_FRAMES,
    MotionControls,
    MotionState,
    Stage,
    distance,
    follow,
    lose,
    take_reference,
)
from difffae.face.parameters import FaceParameters, Vector
from difffae.face.rig import Sighting
from difffae.face.smoothing import SmoothingConfig
from plain_motion import (
    PlainRig,
    assert_alike,
    controls,
    face,
    seen,
    shown_after,
)


def test_the_first_tracked_frame_is_the_reference_and_shows_the_portrait(stage: Stage) -> None:
    state = shown_after([face(130, 70, 30, smile=2)], stage)
    assert_alike(state.shown, stage.face)
    assert state.reference is not None
    assert_alike(state.reference, face(130, 70, 30, smile=2))


def test_motion_since_the_reference_is_carried_over(stage: Stage) -> None:
    state = shown_after([face(), face(x=108, scale=44, smile=1)], stage)
    assert_alike(state.shown, face(90 + 8 / 40 * 50, 110, 55, smile=1))


def test_a_reference_taken_first_is_what_motion_is_measured_from(stage: Stage) -> None:
    state = take_reference(seen(face(smile=1)), stage, PlainRig())
    state = follow(seen(face(smile=3)), state, stage, PlainRig(), controls())
    assert_alike(state.shown, replace(stage.face, expression=np.float32([2, 0.25])))


class BiasedRig(PlainRig):
    """A rig that reads a known person otherwise than a stranger."""

    def read(self, sighting: Sighting, person: FaceParameters | None = None) -> FaceParameters:
        found = super().read(sighting, person)
        share = np.float32(1 if person is None else 0.5)
        return replace(found, expression=found.expression * share)


def test_the_reference_is_explained_as_later_frames_are(stage: Stage) -> None:
    driver = seen(face(smile=2))
    state = follow(driver, MotionState(), stage, BiasedRig(), controls())
    assert_alike(state.shown, stage.face)


def test_the_state_given_is_not_changed(stage: Stage) -> None:
    before = shown_after([face()], stage)
    kept = replace(before)
    follow(seen(face(smile=1)), before, stage, PlainRig(), controls())
    lose(before, stage)
    assert before == kept


def test_pictures_are_laid_centre_on_centre_with_their_shorter_sides_fitted() -> None:
    box = CropBox(left=100, top=50, size=400)
    stage = Stage(face=face(), box=box, height=600, width=800, crop_size=256)
    driver = stage.overlay(face(x=160, y=90, scale=10), 120, 320)
    grow, shrink = 600 / 120, 256 / 400
    np.testing.assert_allclose(
        driver.translation, [(400 - 100) * shrink, (300 + 30 * grow - 50) * shrink], atol=1e-3
    )
    assert driver.scale == pytest.approx(10 * grow * shrink)


def test_absolute_motion_puts_a_head_framed_alike_where_the_drivers_is(stage: Stage) -> None:
    state = shown_after([face(), face(120, 95, 42, smile=1)], stage, controls(motion="absolute"))
    assert_alike(state.shown, face(120, 95, 42, smile=1))


@pytest.mark.parametrize("reference", [face(scale=20), face(scale=95), face(x=170)])
def test_absolute_motion_leaves_a_head_framed_otherwise_in_its_place(
    stage: Stage, reference: FaceParameters
) -> None:
    state = shown_after([reference], stage, controls(motion="absolute"))
    assert state.shown is not None
    np.testing.assert_allclose(state.shown.translation, stage.face.translation, atol=1e-3)
    assert state.shown.scale == pytest.approx(stage.face.scale, rel=1e-4)


def test_strength_zero_shows_the_portrait(stage: Stage) -> None:
    state = shown_after([face(), face(140, 80, 60, smile=2)], stage, controls(strength=0.0))
    assert_alike(state.shown, stage.face)


def eyes(opening: float) -> FaceParameters:
    return replace(face(), expression=np.float32([0, opening]))


@pytest.mark.parametrize(("own", "closed"), [(0.25, 0.0), (0.30, 0.0), (0.22, 0.0)])
def test_a_blink_closes_eyes_of_any_size(stage: Stage, own: float, closed: float) -> None:
    staged = replace(stage, face=replace(stage.face, expression=np.float32([0, own])))
    state = shown_after([eyes(0.25), eyes(0.0)], staged)
    assert state.shown is not None
    assert state.shown.expression[1] == pytest.approx(closed, abs=1e-3)


def test_lids_travel_no_more_than_their_gain_allows(stage: Stage) -> None:
    wide = replace(stage, face=replace(stage.face, expression=np.float32([0, 1.0])))
    state = shown_after([eyes(0.25), eyes(0.0)], wide)
    assert state.shown is not None
    assert state.shown.expression[1] == pytest.approx(1 - 1.6 * 0.25, abs=1e-3)


def test_eyes_opened_wider_are_carried_over_unscaled(stage: Stage) -> None:
    wide = replace(stage, face=replace(stage.face, expression=np.float32([0, 0.3])))
    state = shown_after([eyes(0.25), eyes(0.45)], wide)
    assert state.shown is not None
    assert state.shown.expression[1] == pytest.approx(0.5, abs=1e-3)


def test_a_blink_at_strength_zero_leaves_the_portraits_eyes_alone(stage: Stage) -> None:
    wide = replace(stage, face=replace(stage.face, expression=np.float32([0, 0.35])))
    state = shown_after([eyes(0.25), eyes(0.0)], wide, controls(strength=0.0))
    assert_alike(state.shown, wide.face)


def test_a_lost_face_is_held_still(stage: Stage) -> None:
    state = shown_after([face(), face(smile=1)], stage)
    shown = state.shown
    for number in range(1, HOLD_FRAMES + 1):
        state = lose(state, stage)
        assert state.num_lost == number
        assert state.shown is shown


def test_a_face_lost_for_long_fades_evenly_to_the_portrait(stage: Stage) -> None:
    state = shown_after([face(), face(smile=1)], stage)
    smiles = []
    for _ in range(HOLD_FRAMES + FADE_FRAMES + 5):
        state = lose(state, stage)
        assert state.shown is not None
        smiles.append(float(state.shown.expression[0]))
    fading = np.array(smiles[HOLD_FRAMES - 1 : HOLD_FRAMES + FADE_FRAMES])
    np.testing.assert_allclose(fading, np.linspace(1, 0, FADE_FRAMES + 1), atol=1e-4)
    assert_alike(state.shown, stage.face)


def test_losing_a_face_never_seen_shows_the_portrait(stage: Stage) -> None:
    state = MotionState()
    for _ in range(HOLD_FRAMES + 3):
        state = lose(state, stage)
    assert_alike(state.shown, stage.face)
    assert state.reference is None


def test_a_face_found_again_moves_on_from_the_same_reference(stage: Stage) -> None:
    before = shown_after([face(), face(smile=1)], stage)
    state = before
    for _ in range(HOLD_FRAMES + 10):
        state = lose(state, stage)
    for _ in range(RETURN_FRAMES):
        state = follow(seen(face(smile=1.5)), state, stage, PlainRig(), controls())
        assert state.num_lost == 0
    assert state.reference is before.reference
    assert_alike(state.shown, replace(stage.face, expression=np.float32([1.5, 0.25])))


def smiles_after_a_loss(num_lost: int, stage: Stage) -> list[float]:
    """Each frame's smile once a face that was last seen still is found again, smiling."""
    state, smiles = shown_after([face(), face()], stage), []
    for _ in range(num_lost):
        state = lose(state, stage)
    for _ in range(RETURN_FRAMES + 2):
        state = follow(seen(face(smile=2)), state, stage, PlainRig(), controls())
        assert state.shown is not None
        smiles.append(float(state.shown.expression[0]))
    return smiles


def test_a_face_found_again_is_followed_in_even_steps_not_in_a_jump(stage: Stage) -> None:
    smiles = smiles_after_a_loss(HOLD_FRAMES + FADE_FRAMES, stage)
    even = np.linspace(0, 2, RETURN_FRAMES + 1)[1:]
    np.testing.assert_allclose(smiles, [*even, 2, 2], atol=1e-4)


def test_a_face_lost_for_one_frame_is_followed_again_at_once(stage: Stage) -> None:
    np.testing.assert_allclose(smiles_after_a_loss(1, stage)[:3], [1, 2, 2], atol=1e-4)


def test_a_face_lost_again_while_it_returns_is_held_where_it_was(stage: Stage) -> None:
    state = shown_after([face(), face()], stage)
    for _ in range(HOLD_FRAMES):
        state = lose(state, stage)
    for _ in range(3):
        state = follow(seen(face(smile=2)), state, stage, PlainRig(), controls())
    held = lose(state, stage)
    assert held.shown is state.shown
    again = follow(seen(face(smile=2)), held, stage, PlainRig(), controls())
    assert again.shown is not None
    assert again.shown.expression[0] == pytest.approx(0.6 + 1.4 / 2)


def test_trembling_of_the_tracked_points_is_smoothed(stage: Stage) -> None:
    random = np.random.default_rng(0)
    drivers = [face(x=100 + dx) for dx in random.normal(0, 0.3, 60)]

    def spread(wanted: MotionControls) -> float:
        state, places = MotionState(), []
        for driver in drivers:
            state = follow(seen(driver), state, stage, PlainRig(), wanted)
            assert state.shown is not None
            places.append(state.shown.translation[0])
        return float(np.std(places))

    steady = SmoothingConfig(min_cutoff_hz=1.0, beta=0.5)
    assert spread(controls(smoothing=steady)) < 0.6 * spread(controls())


def test_the_nearest_frame_is_the_one_most_like_the_portrait() -> None:
    portrait = face(smile=1)
    assert distance(portrait, portrait) == 0
    elsewhere = face(x=10, y=300, scale=99, smile=1)
    assert distance(elsewhere, portrait) == 0
    turned = replace(portrait, rotation=np.float32([0.1, 0.6, 0]))
    assert distance(turned, portrait) > distance(face(smile=1.5), portrait) > 0


class JawRig(PlainRig):
    """A rig whose second coefficient is an angle that moves a tenth as far."""

    @property
    def expression_spread(self) -> Vector:
        return np.float32([1, 0.1])


def test_coefficients_are_smoothed_in_their_own_units(stage: Stage) -> None:
    """A tenth of the change at a tenth of the spread lags as the whole does."""
    wanted, state = MotionControls(motion="relative", strength=1), MotionState()
    for moved in (0.0, 1.0):
        driver = face()
        change = np.array([moved, 0.1 * moved], np.float32)
        driver = replace(driver, expression=driver.expression + change)
        state = follow(seen(driver), state, stage, JawRig(), wanted)
    assert state.shown is not None
    shown = state.shown.expression - stage.face.expression
    assert 0 < shown[0] < 0.99
    assert shown[1] == pytest.approx(0.1 * shown[0], rel=1e-3)


@pytest.mark.parametrize(
    ("wanted", "moves_head", "smiles"),
    [
        ({}, True, True),
        ({"moves_pose": False}, False, True),
        ({"moves_expression": False}, True, False),
    ],
)
def test_head_and_face_may_be_left_out_of_the_motion(
    stage: Stage, wanted: dict[str, bool], moves_head: bool, smiles: bool
) -> None:
    state = shown_after([face(), face(x=108, scale=44, smile=1)], stage, controls(**wanted))
    assert state.shown is not None
    moved = state.shown
    assert (moved.scale > stage.face.scale + 1) == moves_head
    assert (moved.translation[0] > stage.face.translation[0] + 1) == moves_head
    assert (moved.expression[0] > stage.face.expression[0] + 0.5) == smiles
