"""Retargeting: what relative and absolute motion carry from a driver to a source."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.face.parameters import FaceParameters, Motion, axis_angle, matrix, retarget


def face(seed: int, *, scale: float = 60.0) -> FaceParameters:
    random = np.random.default_rng(seed)

    def vector(size: int, spread: float) -> np.ndarray:
        return (spread * random.normal(size=size)).astype(np.float32)

    return FaceParameters(
        shape=vector(5, 1),
        expression=vector(7, 1),
        gaze=vector(4, 0.05),
        rotation=vector(3, 0.3),
        scale=scale,
        translation=(np.array([128, 120]) + vector(2, 10)).astype(np.float32),
    )


def moved(
    driver: FaceParameters,
    *,
    source: FaceParameters,
    reference: FaceParameters,
    motion: Motion = "relative",
    strength: float = 1.0,
    is_framed_alike: bool = False,
) -> FaceParameters:
    return retarget(
        source,
        driver,
        reference,
        motion=motion,
        strength=strength,
        is_framed_alike=is_framed_alike,
    )


def test_a_motion_vector_brings_the_motion_back_and_leaves_the_shape() -> None:
    given, other = face(0), face(1, scale=90.0)
    result = other.with_motion(given.motion_vector())
    np.testing.assert_array_equal(result.shape, other.shape)
    np.testing.assert_array_equal(result.expression, given.expression)
    np.testing.assert_array_equal(result.gaze, given.gaze)
    np.testing.assert_array_equal(result.rotation, given.rotation)
    np.testing.assert_array_equal(result.translation, given.translation)
    assert result.scale == pytest.approx(60.0, rel=1e-6)


def test_a_quarter_turn_around_z_takes_right_to_down() -> None:
    turn = matrix(np.array([0, 0, np.pi / 2], np.float32))
    np.testing.assert_allclose(turn @ [1, 0, 0], [0, 1, 0], atol=1e-6)


def test_axis_angle_is_the_inverse_of_matrix() -> None:
    rotation = np.array([0.3, -1.1, 0.6], np.float32)
    np.testing.assert_allclose(axis_angle(matrix(rotation)), rotation, atol=1e-6)


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_a_driver_at_its_reference_leaves_the_portrait_as_it_is(strength: float) -> None:
    source, reference = face(0), face(1, scale=95.0)
    result = moved(reference, source=source, reference=reference, strength=strength)
    np.testing.assert_allclose(result.motion_vector(), source.motion_vector(), atol=2e-6, rtol=1e-6)


def test_relative_motion_adds_the_change_of_expression_and_gaze() -> None:
    source, reference = face(0), face(1)
    expression = reference.expression + np.float32(0.5)
    driver = replace(reference, expression=expression, gaze=reference.gaze + np.float32(0.02))
    result = moved(driver, source=source, reference=reference)
    np.testing.assert_allclose(result.expression, source.expression + 0.5, atol=1e-5)
    np.testing.assert_allclose(result.gaze, source.gaze + 0.02, atol=1e-5)
    np.testing.assert_allclose(result.rotation, source.rotation, atol=1e-5)


def test_relative_shift_is_carried_in_units_of_head_size() -> None:
    source, reference = face(0, scale=80.0), face(1, scale=50.0)
    driver = replace(reference, translation=reference.translation + np.float32([10, -5]))
    result = moved(driver, source=source, reference=reference)
    np.testing.assert_allclose(
        result.translation, source.translation + np.float32([16, -8]), atol=1e-3
    )
    assert result.scale == pytest.approx(80.0, rel=1e-5)


def test_relative_growth_multiplies_the_head() -> None:
    source, reference = face(0, scale=80.0), face(1, scale=50.0)
    result = moved(replace(reference, scale=60.0), source=source, reference=reference)
    assert result.scale == pytest.approx(96.0, rel=1e-5)
    np.testing.assert_allclose(result.translation, source.translation, atol=1e-3)


def test_relative_turn_happens_in_the_picture_after_the_portraits_own() -> None:
    source, reference = face(0), face(1)
    turn = matrix(np.array([0.1, -0.4, 0.2], np.float32))
    driver = replace(reference, rotation=axis_angle(turn @ matrix(reference.rotation)))
    result = moved(driver, source=source, reference=reference)
    expected = turn @ matrix(source.rotation)
    np.testing.assert_allclose(matrix(result.rotation), expected, atol=1e-5)


def test_absolute_motion_takes_expression_gaze_and_turn_as_they_are() -> None:
    source, reference, driver = face(0), face(1), face(2)
    result = moved(driver, source=source, reference=reference, motion="absolute")
    np.testing.assert_allclose(result.expression, driver.expression, atol=1e-5)
    np.testing.assert_allclose(result.gaze, driver.gaze, atol=1e-6)
    np.testing.assert_allclose(result.rotation, driver.rotation, atol=1e-6)
    np.testing.assert_array_equal(result.shape, source.shape)


def test_absolute_motion_framed_alike_puts_the_head_where_the_drivers_is() -> None:
    source, reference, driver = face(0), face(1), face(2, scale=66.0)
    alike = moved(
        driver, source=source, reference=reference, motion="absolute", is_framed_alike=True
    )
    np.testing.assert_allclose(alike.translation, driver.translation, atol=1e-4)
    assert alike.scale == pytest.approx(66.0, rel=1e-5)


def test_absolute_motion_framed_otherwise_keeps_the_portraits_place() -> None:
    source, reference = face(0), face(1, scale=20.0)
    driver = replace(face(2), scale=20.0, translation=reference.translation)
    result = moved(driver, source=source, reference=reference, motion="absolute")
    np.testing.assert_allclose(result.translation, source.translation, atol=1e-4)
    assert result.scale == pytest.approx(source.scale, rel=1e-5)


@pytest.mark.parametrize("motion", ["relative", "absolute"])
def test_strength_zero_is_the_portrait(motion: Motion) -> None:
    source = face(0)
    result = moved(face(2), source=source, reference=face(1), motion=motion, strength=0)
    np.testing.assert_array_equal(result.motion_vector(), source.motion_vector())


def test_half_the_strength_goes_half_the_way() -> None:
    source, reference, driver = face(0), face(1), face(2)
    whole = moved(driver, source=source, reference=reference, motion="absolute")
    half = moved(driver, source=source, reference=reference, motion="absolute", strength=0.5)
    middle = (source.motion_vector() + whole.motion_vector()) / 2
    np.testing.assert_allclose(half.motion_vector(), middle, atol=1e-4)
