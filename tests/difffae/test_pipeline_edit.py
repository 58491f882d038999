"""The pipeline's edits: attributes of other portraits, numbers, stills, and the way back."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.controls import Controls
from difffae.face.edit import SPANS, Donor, Edit
from difffae.face.lighting import uniform_lighting
from difffae.pipeline import Pipeline, Prepared, Source, StreamState
from scripted_pipeline import CONTROLS, assert_same, driver_frame, reenacted

FRAMES = [driver_frame(number) for number in (0, 2, 3)]


@pytest.fixture
def turned(pipeline: Pipeline, source: Source) -> tuple[Donor, StreamState]:
    """The portrait as a driver has turned it, and the stream's state."""
    _, state = reenacted(pipeline, source, FRAMES, Controls(smoothing=0))
    return pipeline.donor(source, state), state


def test_a_portrait_is_its_own_donor_without_any_change(pipeline: Pipeline, source: Source) -> None:
    own = pipeline.donor(source)
    assert (own.height, own.width) == source.image.shape[:2]
    edit = Edit(pose=own, expression=own, gaze=own, shape=own, light=own)
    plain, given = (pipeline.still(source, Controls(edit=each)) for each in (Edit(), edit))
    assert np.abs(plain.image.astype(int) - given.image).max() <= 1


def test_a_still_is_what_a_driver_at_rest_gives(pipeline: Pipeline, source: Source) -> None:
    still = pipeline.still(source, CONTROLS)
    at_rest, _ = reenacted(pipeline, source, [driver_frame(9)])
    np.testing.assert_array_equal(still.image, at_rest[0].image)
    np.testing.assert_array_equal(still.mask, at_rest[0].mask)


def test_a_moved_face_as_donor_of_a_still_gives_the_drivers_picture(
    pipeline: Pipeline, source: Source, turned: tuple[Donor, StreamState]
) -> None:
    moved, state = turned
    edit = Edit(pose=moved, expression=moved, gaze=moved, camera=moved)
    still = pipeline.still(source, Controls(edit=edit))
    assert state.motion.shown is not None
    condition = pipeline.render(source, state.motion.shown, moved.lighting)
    prior = pipeline._generator.encode_latent(condition.composite)
    prepared = Prepared(condition=condition, prior=prior, is_tracked=True, is_in_company=False)
    expected = pipeline.paint(prepared, source, CONTROLS)
    assert np.abs(still.image.astype(int) - expected.image).max() <= 2
    rest = pipeline.still(source, CONTROLS)
    assert np.abs(still.image.astype(int) - rest.image).max() > 40


def test_a_pose_of_its_own_holds_while_the_drivers_expression_moves(
    pipeline: Pipeline, source: Source, turned: tuple[Donor, StreamState]
) -> None:
    held = Controls(moves_pose=False, edit=Edit(pose=turned[0]), smoothing=0)
    _, state = reenacted(pipeline, source, FRAMES[:1], held)
    first, state = pipeline.condition(driver_frame(0), source, state, held)
    aside, _ = pipeline.condition(driver_frame(1), source, state, held)
    np.testing.assert_allclose(first.face_mask, aside.face_mask, atol=0.3)
    speaking, _ = pipeline.condition(driver_frame(3), source, state, held)
    assert np.abs(first.composite.astype(int) - speaking.composite).max() > 40


def test_the_light_of_a_donor_goes_before_the_drivers(pipeline: Pipeline, source: Source) -> None:
    own = pipeline.donor(source)
    dark = replace(own, lighting=np.float32(0.6) * uniform_lighting())
    lit, _ = reenacted(pipeline, source, FRAMES[:1], Controls(edit=Edit(light=dark)))
    both, _ = reenacted(
        pipeline, source, FRAMES[:1], Controls(edit=Edit(light=dark), light="driver")
    )
    plain, _ = reenacted(pipeline, source, FRAMES[:1])
    np.testing.assert_array_equal(lit[0].image, both[0].image)
    assert lit[0].image.mean() < plain[0].image.mean()


@pytest.mark.parametrize("name", list(SPANS))
def test_a_number_taken_back_gives_the_very_frames_there_were(
    pipeline: Pipeline, source: Source, name: str
) -> None:
    """The state that edits leave is that of no edit: nothing of them is remembered."""
    span = SPANS[name]
    edited = Controls(edit=Edit(**{name: span.least}))
    _, state = reenacted(pipeline, source, FRAMES[:1])
    aside = state
    _, state = pipeline.reenact(FRAMES[1], source, state, CONTROLS)
    _, aside = pipeline.reenact(FRAMES[1], source, aside, edited)
    assert_same(state, aside)
    again, _ = pipeline.reenact(FRAMES[2], source, aside, CONTROLS)
    never, _ = pipeline.reenact(FRAMES[2], source, state, CONTROLS)
    np.testing.assert_array_equal(again.image, never.image)
    np.testing.assert_array_equal(again.mask, never.mask)


@pytest.mark.parametrize("name", ["yaw", "pitch", "roll", "gaze_x", "gaze_y", "zoom", "shift_x"])
def test_a_number_changes_the_picture(pipeline: Pipeline, source: Source, name: str) -> None:
    plain = pipeline.still(source, CONTROLS)
    edited = pipeline.still(source, Controls(edit=Edit(**{name: SPANS[name].most})))
    assert (plain.image != edited.image).any()
