"""The pipeline over time: reference, relative and absolute motion, the driver's light."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.arrays import Points3
from difffae.controls import Controls
from difffae.face.company import MEMORY_FRAMES
from difffae.face.lamp import Lamp
from difffae.face.lighting import uniform_lighting
from difffae.face.parameters import axis_angle, matrix
from difffae.face.tracker import FaceNotFoundError
from difffae.pipeline import Pipeline, Source
from scripted_pipeline import (
    ACCOMPANIED,
    CONTROLS,
    DRIVER_SIDE,
    driver_frame,
    reenacted,
)


def test_the_first_frame_of_relative_motion_is_the_portrait_at_rest(
    pipeline: Pipeline, source: Source
) -> None:
    start = pipeline.open_stream(source, CONTROLS)
    first, _ = pipeline.condition(driver_frame(2), source, start, CONTROLS)
    rest, _ = pipeline.condition(driver_frame(9), source, start, CONTROLS)
    assert (first.composite == rest.composite).mean() > 0.999
    assert np.abs(first.composite.astype(int) - rest.composite).max() <= 1


def test_relative_motion_is_carried_in_head_units_to_the_portraits_crop(
    pipeline: Pipeline, source: Source
) -> None:
    state = pipeline.open_stream(source, CONTROLS)
    for number in [0] + [1] * 20:
        state = pipeline.skip(driver_frame(number), source, state, CONTROLS)
    shown = state.motion.shown
    assert shown is not None
    shift = shown.translation - source.face.fitted.parameters.translation
    pixels = 2 * 256 / source.crop_box.size  # driver's to the crop's
    np.testing.assert_allclose(shift, [6 * pixels, -4 * pixels], atol=0.2)
    assert shown.scale == pytest.approx(source.face.fitted.parameters.scale, rel=0.01)


def test_absolute_motion_framed_alike_puts_the_head_where_the_drivers_is(
    pipeline: Pipeline, source: Source
) -> None:
    absolute = Controls(motion="absolute")
    state = pipeline.open_stream(source, absolute)
    state = pipeline.skip(driver_frame(1), source, state, absolute)
    shown = state.motion.shown
    assert shown is not None
    shift = shown.translation - source.face.fitted.parameters.translation
    pixels = 2 * 256 / source.crop_box.size
    np.testing.assert_allclose(shift, [6 * pixels, -4 * pixels], atol=2.5)


def test_strength_zero_never_moves_the_portrait(pipeline: Pipeline, source: Source) -> None:
    frames = [driver_frame(n) for n in (0, 2, 3)]
    outputs, _ = reenacted(pipeline, source, frames, Controls(strength=0.0))
    np.testing.assert_array_equal(outputs[1].image, outputs[0].image)
    np.testing.assert_array_equal(outputs[2].image, outputs[0].image)


def test_a_reference_frame_is_where_motion_starts(pipeline: Pipeline, source: Source) -> None:
    state = pipeline.open_stream(source, CONTROLS)
    state = pipeline.set_reference(driver_frame(2), source, state)
    state = pipeline.skip(driver_frame(2), source, state, CONTROLS)
    assert state.motion.shown is not None
    rest = source.face.fitted.parameters
    np.testing.assert_allclose(state.motion.shown.rotation, rest.rotation, atol=1e-3)
    np.testing.assert_allclose(state.motion.shown.translation, rest.translation, atol=1e-2)
    for _ in range(20):
        state = pipeline.skip(driver_frame(0), source, state, CONTROLS)
    assert state.motion.shown is not None
    back = matrix(state.motion.shown.rotation) @ matrix(rest.rotation).T
    assert np.linalg.norm(axis_angle(back)) == pytest.approx(0.35, abs=0.06)


def test_a_new_reference_in_mid_stream_is_kept_apart_from_the_old_one(
    pipeline: Pipeline, source: Source
) -> None:
    state = pipeline.open_stream(source, CONTROLS)
    state = pipeline.skip(driver_frame(0), source, state, CONTROLS)
    before = state.motion.reference
    state = pipeline.set_reference(driver_frame(1), source, state)
    assert before is not None
    assert state.motion.reference is not None
    shift = state.motion.reference.translation - before.translation
    pixels = 2 * 256 / source.crop_box.size
    np.testing.assert_allclose(shift, [6 * pixels, -4 * pixels], atol=0.5)


def test_a_reference_without_a_face_is_refused(pipeline: Pipeline, source: Source) -> None:
    state = pipeline.open_stream(source, CONTROLS)
    with pytest.raises(FaceNotFoundError, match="reference frame"):
        pipeline.set_reference(driver_frame(9), source, state)


def test_the_chosen_reference_is_the_frame_most_like_the_portrait(
    pipeline: Pipeline, source: Source
) -> None:
    frames = [driver_frame(n) for n in (9, 2, 3, 0, 2, 9)]
    assert pipeline.choose_reference(iter(frames), source, CONTROLS) is frames[3]


def test_no_reference_can_be_chosen_where_no_frame_shows_a_face(
    pipeline: Pipeline, source: Source
) -> None:
    with pytest.raises(FaceNotFoundError, match="driver must show one"):
        pipeline.choose_reference([driver_frame(9)] * 2, source, CONTROLS)


def test_the_portraits_own_light_stays_unless_the_drivers_is_asked_for(
    pipeline: Pipeline, source: Source
) -> None:
    start = pipeline.open_stream(source, CONTROLS)
    dark = driver_frame(0, colour=60)
    dark[:, : DRIVER_SIDE // 2] = 200
    dark[0, 0], dark[0, 1] = 0, (1, 2, 3)
    lit = replace(CONTROLS, light="driver")
    own, kept = pipeline.condition(dark, source, start, CONTROLS)
    theirs, state = pipeline.condition(dark, source, start, lit)
    assert kept.lighting is None
    assert state.lighting is not None
    middle = round(float(source.face.fitted.parameters.translation[0]))
    is_face = own.face_mask > 0.999
    change = theirs.composite.astype(float).mean(-1) - own.composite.astype(float).mean(-1)
    left, right = is_face.copy(), is_face.copy()
    left[:, middle:], right[:, :middle] = False, False
    assert change[left].mean() > change[right].mean() + 10


def test_the_drivers_light_is_held_while_no_face_is_seen(
    pipeline: Pipeline, source: Source
) -> None:
    lit = replace(CONTROLS, light="driver")
    _, state = pipeline.condition(driver_frame(0), source, pipeline.open_stream(source, lit), lit)
    held, after = pipeline.condition(driver_frame(9), source, state, lit)
    np.testing.assert_array_equal(after.lighting, state.lighting)
    assert held.composite.any()


def test_rendering_shows_the_parameters_and_the_light_it_is_given(
    pipeline: Pipeline, source: Source
) -> None:
    own = source.face.fitted.parameters
    shifted = replace(own, translation=own.translation + np.float32([20, 0]))
    light = source.face.appearance.lighting
    before, after = (pipeline.render(source, face, light) for face in (own, shifted))
    rows, columns = np.nonzero(before.face_mask > 0.5)
    moved_rows, moved_columns = np.nonzero(after.face_mask > 0.5)
    assert moved_columns.mean() - columns.mean() == pytest.approx(20, abs=0.5)
    assert moved_rows.mean() == pytest.approx(rows.mean(), abs=0.5)
    bright = uniform_lighting() * np.float32(1.3)
    assert pipeline.render(source, own, bright).composite.mean() > before.composite.mean() + 2


def test_a_face_whose_pixels_stay_is_not_found_anew(pipeline: Pipeline, source: Source) -> None:
    start = pipeline.open_stream(source, CONTROLS)
    first = pipeline.skip(driver_frame(0, colour=90), source, start, CONTROLS)
    same = pipeline.skip(driver_frame(2, colour=70), source, first, CONTROLS)
    assert same.motion.points is first.motion.points
    other = pipeline.skip(driver_frame(2, colour=80), source, first, CONTROLS)
    assert other.motion.points is not first.motion.points


def test_another_persons_face_is_not_followed_while_the_own_one_is_missing(
    pipeline: Pipeline, source: Source, script: dict[int, Points3 | None]
) -> None:
    known = script[0]
    assert known is not None
    start = pipeline.open_stream(source, CONTROLS)
    state = pipeline.skip(driver_frame(0), source, start, CONTROLS)
    size = float(np.ptp(known[:, :2], axis=0).max())
    away = replace(state.motion, points=known + np.float32([2 * size, 0, 0]))
    elsewhere = replace(state, motion=away, glimpse=None)
    lost = pipeline.skip(driver_frame(0), source, elsewhere, CONTROLS)
    assert lost.motion.num_lost == 1
    for _ in range(MEMORY_FRAMES):
        lost = pipeline.skip(driver_frame(9), source, lost, CONTROLS)
    assert lost.motion.points is None
    assert pipeline.skip(driver_frame(0), source, lost, CONTROLS).motion.num_lost == 0


def test_a_second_face_is_told_from_a_look_on(pipeline: Pipeline, source: Source) -> None:
    start = pipeline.open_stream(source, CONTROLS)
    frame = driver_frame(0, colour=ACCOMPANIED)
    alone, state = pipeline.reenact(frame, source, start, CONTROLS)
    assert not alone.is_in_company
    state = pipeline.look_around(frame, state)
    together, state = pipeline.reenact(frame, source, state, CONTROLS)
    assert together.is_in_company
    assert together.is_tracked
    for _ in range(2):
        state = pipeline.look_around(driver_frame(0), state)
    parted, _ = pipeline.reenact(driver_frame(0), source, state, CONTROLS)
    assert not parted.is_in_company


def test_motion_measured_anew_keeps_to_the_person(pipeline: Pipeline, source: Source) -> None:
    state = pipeline.open_stream(source, CONTROLS)
    for number in (0, 1, 1):
        state = pipeline.skip(driver_frame(number), source, state, CONTROLS)
    anew = pipeline.restart(state)
    assert anew.motion.points is state.motion.points
    shown = pipeline.skip(driver_frame(1), source, anew, CONTROLS).motion.shown
    assert shown is not None
    rest = source.face.fitted.parameters.motion_vector()
    np.testing.assert_allclose(shown.motion_vector(), rest, atol=1e-3)


def test_a_lamp_lights_its_side_of_the_face_and_moves_nothing(
    pipeline: Pipeline, source: Source
) -> None:
    start = pipeline.open_stream(source, CONTROLS)
    lit = replace(CONTROLS, lamp=Lamp(azimuth_deg=-45, strength=1.0))
    own, _ = pipeline.condition(driver_frame(0), source, start, CONTROLS)
    lamp, state = pipeline.condition(driver_frame(0), source, start, lit)
    off, _ = pipeline.condition(
        driver_frame(0), source, start, replace(lit, lamp=Lamp(azimuth_deg=-45))
    )
    np.testing.assert_array_equal(off.composite, own.composite)
    np.testing.assert_array_equal(lamp.face_mask, own.face_mask)
    assert state.motion.shown is not None
    middle = round(float(state.motion.shown.translation[0]))
    change = lamp.composite.astype(float).mean(-1) - own.composite.astype(float).mean(-1)
    is_face = own.face_mask > 0.999
    left, right = is_face.copy(), is_face.copy()
    left[:, middle:], right[:, :middle] = False, False
    assert change[left].mean() > change[right].mean() + 15
    assert abs(change[is_face].mean()) < 0.12 * own.composite[is_face].mean()


def test_with_the_mouth_off_a_speaking_driver_moves_no_mouth(
    pipeline: Pipeline, source: Source
) -> None:
    silent = replace(CONTROLS, moves_mouth=False)
    widest = []
    for controls in (CONTROLS, silent):
        state = pipeline.open_stream(source, controls)
        for number in (0, 3, 3, 3, 3, 3):
            state = pipeline.skip(driver_frame(number), source, state, controls)
        assert state.motion.shown is not None
        front = replace(state.motion.shown, rotation=np.zeros(3, np.float32))
        points = pipeline.rig.head_model.pose(front, source.face.fitted.residual)  # type: ignore[attr-defined]
        widest.append(float(points[14, 1] - points[13, 1]) / front.scale)
    assert widest[0] > widest[1] + 0.05
