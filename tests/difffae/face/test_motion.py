"""A driver's motion over time: reference, framing, loss and recovery."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.arrays import Lighting, MaskF32, Points3
from difffae.face.crop import CropBox
from difffae.face.morphable import EyeOpenings
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
from difffae.face.regions import Regions
from difffae.face.renderer import Condition
from difffae.face.rig import Sighting
from difffae.face.smoothing import SmoothingConfig
from difffae.face.source_face import SourceFace

FRAME = np.zeros((200, 200, 3), np.uint8)
UNFILTERED = SmoothingConfig(min_cutoff_hz=1e6, beta=0.0)


def face(x: float = 100, y: float = 100, scale: float = 40, smile: float = 0) -> FaceParameters:
    return FaceParameters(
        shape=np.array([0.5], np.float32),
        expression=np.array([smile, 0.25], np.float32),
        gaze=np.zeros(4, np.float32),
        rotation=np.array([0.1, 0, 0], np.float32),
        scale=scale,
        translation=np.array([x, y], np.float32),
    )


def points_of(parameters: FaceParameters) -> Points3:
    """Points that `PlainRig` reads the parameters back from."""
    rows = [
        (*parameters.translation, parameters.scale),
        tuple(parameters.rotation),
        (*parameters.expression, parameters.shape[0]),
        (*parameters.gaze[:2], 0),
        (*parameters.gaze[2:], 0),
    ]
    return np.array(rows, np.float32)


def seen(parameters: FaceParameters) -> Sighting:
    return Sighting(image=FRAME, points=points_of(parameters))


class PlainRig:
    """A rig whose points are its parameters; its second expression opens both eyes."""

    @property
    def expression_spread(self) -> Vector:
        return np.ones(2, np.float32)

    def read(self, sighting: Sighting, person: FaceParameters | None = None) -> FaceParameters:
        points = sighting.points
        parameters = FaceParameters(
            shape=points[2, 2:],
            expression=points[2, :2],
            gaze=points[3:, :2].ravel(),
            rotation=points[1],
            scale=float(points[0, 2]),
            translation=points[0, :2],
        )
        return parameters if person is None else replace(parameters, shape=person.shape)

    def lighting(self, sighting: Sighting) -> Lighting:
        raise NotImplementedError

    def take_apart(self, sighting: Sighting, person_mask: MaskF32) -> SourceFace:
        raise NotImplementedError

    def condition(self, source: SourceFace, shown: FaceParameters, lighting: Lighting) -> Condition:
        raise NotImplementedError

    def eye_openings(self, parameters: FaceParameters) -> EyeOpenings:
        return parameters.expression[[1, 1]]

    def open_eyes(self, parameters: FaceParameters, change: EyeOpenings) -> FaceParameters:
        opened = parameters.expression + np.array([0, change.mean()], np.float32)
        return replace(parameters, expression=opened)

    def mouth_opening(self, parameters: FaceParameters) -> float:
        return 0.0

    def open_mouth(self, parameters: FaceParameters, change: float) -> FaceParameters:
        assert change == 0
        return parameters

    def keep_regions(
        self, moved: FaceParameters, still: FaceParameters, regions: Regions
    ) -> FaceParameters:
        kept = np.where([regions.mouth, regions.eyes], moved.expression, still.expression)
        return replace(moved, expression=kept)


@pytest.fixture
def stage() -> Stage:
    """A portrait of 200×200 pixels that is its own crop, at the crop's own size."""
    box = CropBox(left=0, top=0, size=200)
    return Stage(face=face(90, 110, 50), box=box, height=200, width=200, crop_size=200)


def controls(**changes: object) -> MotionControls:
    given = {"motion": "relative", "strength": 1.0, "smoothing": UNFILTERED} | changes
    return MotionControls(**given)  # type: ignore[arg-type]


def shown_after(
    drivers: list[FaceParameters], stage: Stage, wanted: MotionControls | None = None
) -> MotionState:
    state = MotionState()
    for driver in drivers:
        wanted = controls() if wanted is None else wanted
        state = follow(seen(driver), state, stage, PlainRig(), wanted)
    return state


def assert_alike(shown: FaceParameters | None, expected: FaceParameters) -> None:
    assert shown is not None
    np.testing.assert_allclose(shown.motion_vector(), expected.motion_vector(), atol=1e-3)


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


class SpeakingRig(PlainRig):
    """A rig whose mouth is open as far as its first expression and its shape open it."""

    def mouth_opening(self, parameters: FaceParameters) -> float:
        return float(parameters.expression[0] + parameters.shape[0])

    def open_mouth(self, parameters: FaceParameters, change: float) -> FaceParameters:
        expression = parameters.expression + np.array([change, 0], np.float32)
        return replace(parameters, expression=expression)


def openings(
    own: float, drivers: list[float], stage: Stage, wanted: MotionControls | None = None
) -> list[float]:
    """How far the portrait's mouth is open, frame by frame, its own and the driver's given."""
    rig, state, shown = SpeakingRig(), MotionState(), []
    stage = replace(stage, face=face(90, 110, 50, smile=own - 0.5))
    for opening in drivers:
        driver = seen(face(smile=opening - 0.5))
        state = follow(driver, state, stage, rig, controls() if wanted is None else wanted)
        assert state.shown is not None
        shown.append(rig.mouth_opening(state.shown))
    return shown


@pytest.mark.parametrize(
    ("own", "drivers", "wanted"),
    [
        pytest.param(0.2, [0.0, 0.3, 0.0], [0.2, 0.5, 0.2], id="a smile opens further"),
        pytest.param(0.0, [0.3, 0.1, 0.0], [0.3, 0.1, 0.0], id="lips never cross"),
        pytest.param(
            0.4, [0.2, 0.1, 0.0, 0.3], [0.4, 0.2, 0.0, 0.5], id="lips meet as the driver's"
        ),
        pytest.param(0.3, [0.05, 0.0], [0.3, 0.175], id="but follow no tracker's noise"),
    ],
)
def test_a_mouth_opens_with_the_drivers(
    own: float, drivers: list[float], wanted: list[float], stage: Stage
) -> None:
    np.testing.assert_allclose(openings(own, drivers, stage), wanted, atol=1e-3)


def test_absolute_motion_opens_mouths_of_any_shape_alike(stage: Stage) -> None:
    stage = replace(stage, face=replace(stage.face, shape=np.array([0.9], np.float32)))
    rig, wanted = SpeakingRig(), controls(motion="absolute")
    state = follow(seen(face(smile=-0.2)), MotionState(), stage, rig, wanted)
    assert state.shown is not None
    assert rig.mouth_opening(state.shown) == pytest.approx(0.3, abs=1e-3)


def test_half_the_strength_opens_half_as_far(stage: Stage) -> None:
    half = controls(strength=0.5)
    np.testing.assert_allclose(openings(0.0, [0.3, 0.1], stage, half), [0.15, 0.05], atol=1e-3)


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
