"""APD, AED and ALD against arithmetic by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from difffae.face.parameters import FaceParameters
from difffae.metrics.expression_distance import aed, aed_jaw
from difffae.metrics.lighting_distance import ald
from difffae.metrics.parameter_meter import Asked, ParameterMeter, Reading
from difffae.metrics.pose_distance import apd_deg, apd_rad


def face(rotation: tuple[float, float, float] = (0, 0, 0), *expression: float) -> FaceParameters:
    return FaceParameters(
        shape=np.zeros(3, np.float32),
        expression=np.array(expression or (0, 0, 0, 0), np.float32),
        gaze=np.zeros(4, np.float32),
        rotation=np.array(rotation, np.float32),
        scale=50.0,
        translation=np.array([128, 128], np.float32),
    )


def light(level: float) -> np.ndarray:
    return np.full((9, 3), level, np.float32)


class NoReader:
    def read(self, sighting: object, person: object = None) -> FaceParameters:
        raise AssertionError

    def lighting(self, sighting: object) -> np.ndarray:
        raise AssertionError


def test_apd_is_the_mean_of_three_components_in_radians() -> None:
    assert apd_rad(face((0.1, -0.2, 0.0)), face((0.0, 0.1, 0.0))) == pytest.approx(0.4 / 3)


def test_apd_in_degrees_is_the_angle_between_the_rotations() -> None:
    first = Rotation.from_euler("y", 30, degrees=True)
    second = Rotation.from_euler("y", 10, degrees=True) * Rotation.from_euler("z", 0)
    got = apd_deg(face(tuple(first.as_rotvec())), face(tuple(second.as_rotvec())))
    assert got == pytest.approx(20, abs=1e-4)
    turned = first * Rotation.from_euler("z", 15, degrees=True)
    assert apd_deg(face(tuple(turned.as_rotvec())), face(tuple(first.as_rotvec()))) == (
        pytest.approx(15, abs=1e-4)
    )


def test_aed_leaves_the_jaw_out_and_reports_it_apart() -> None:
    output, asked = face((0, 0, 0), 1, 2, 0.5, 0.1), face((0, 0, 0), 0, 0, 0.2, 0.3)
    assert aed(output, asked) == pytest.approx((1 + 2 + 0.3 + 0.2) / 4)
    assert aed(output, asked, num_jaw=2) == pytest.approx(1.5)
    assert aed_jaw(output, asked, num_jaw=2) == pytest.approx(0.25)
    assert np.isnan(aed_jaw(output, asked, num_jaw=0))


def test_ald_is_the_mean_over_all_27_coefficients() -> None:
    other = light(1.0)
    other[0, 0] += 2.7
    assert ald(other, light(1.0)) == pytest.approx(0.1)


def test_all_distances_come_from_one_meter() -> None:
    meter = ParameterMeter(NoReader(), name="none", num_jaw=1)
    output = Reading(parameters=face((0.3, 0, 0), 1, 1, 1, 4), lighting=light(0.5))
    asked = Reading(parameters=face(), lighting=light(0.25))
    got = meter.distances(output, asked)
    assert got.apd_rad == pytest.approx(0.1)
    assert got.apd_deg == pytest.approx(np.degrees(0.3), abs=1e-4)
    assert (got.aed, got.aed_jaw, got.ald) == pytest.approx((1, 4, 0.25))


def test_absolute_motion_asks_for_the_drivers_pose_expression_and_light() -> None:
    source = Reading(parameters=face((0.5, 0, 0), 9, 9, 9, 9), lighting=light(0.1))
    driver = Reading(parameters=face((0, 0.2, 0), 1, 2, 3, 4), lighting=light(0.9))
    asked = Asked(source=source, reference=face(), motion="absolute", is_lit_by_driver=True).of(
        driver
    )
    assert asked.parameters.rotation == pytest.approx((0, 0.2, 0), abs=1e-6)
    assert asked.parameters.expression == pytest.approx((1, 2, 3, 4))
    assert asked.lighting[0, 0] == np.float32(0.9)


def test_relative_motion_asks_for_the_sources_own_moved_by_the_drivers_change() -> None:
    source = Reading(parameters=face((0.5, 0, 0), 9, 9, 9, 9), lighting=light(0.1))
    driver = Reading(parameters=face((0.3, 0, 0), 1, 2, 3, 4), lighting=light(0.9))
    reference = replace(face(), rotation=np.array([0.1, 0, 0], np.float32))
    asked = Asked(source=source, reference=reference, motion="relative", is_lit_by_driver=False).of(
        driver
    )
    assert asked.parameters.rotation == pytest.approx((0.7, 0, 0), abs=1e-5)
    assert asked.parameters.expression == pytest.approx((10, 11, 12, 13))
    assert asked.lighting[0, 0] == np.float32(0.1)
