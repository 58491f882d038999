import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from difffae.arrays import Points3
from difffae.metrics.motion import (
    SIGNALS,
    STILL_BELOW,
    HeadReference,
    correlations,
    expression_error,
    pose_error_deg,
)


def moved(points: Points3, euler_deg: tuple[float, float, float], *, scale: float = 1.0) -> Points3:
    """The head turned by (yaw, pitch, roll) about its middle, scaled and shifted."""
    turn = Rotation.from_euler("YXZ", euler_deg, degrees=True)
    middle = points.mean(0)
    return (turn.apply(points - middle) * scale + middle + [9, -4, 0]).astype(np.float32)


@pytest.mark.parametrize("euler_deg", [(25, 0, 0), (0, -15, 0), (0, 0, 20), (-12, 8, 5)], ids=str)
def test_angles_since_the_reference_are_recovered(
    face_points: Points3, euler_deg: tuple[float, float, float]
) -> None:
    motion = HeadReference(face_points).measure(moved(face_points, euler_deg, scale=1.3))
    np.testing.assert_allclose(motion.signals[4:], euler_deg, atol=0.01)


def test_moving_the_head_leaves_openings_and_shape_alone(face_points: Points3) -> None:
    reference = HeadReference(face_points)
    motion = reference.measure(moved(face_points, (20, -10, 15), scale=0.7))
    np.testing.assert_allclose(motion.signals[:4], reference.rest().signals[:4], atol=1e-4)
    assert np.abs(motion.change).max() < 1e-4


def test_rest_is_the_reference_measured(face_points: Points3) -> None:
    reference = HeadReference(face_points)
    motion = reference.measure(face_points)
    np.testing.assert_allclose(motion.signals, reference.rest().signals, atol=1e-6)
    assert pose_error_deg(motion, reference.rest()) < 1e-3
    assert expression_error(motion, reference.rest()) < 1e-6


def test_an_opening_mouth_raises_its_signal_alone(face_points: Points3) -> None:
    open_mouth = face_points.copy()
    open_mouth[14, 1] += 10
    reference = HeadReference(face_points)
    change = reference.measure(open_mouth).signals - reference.rest().signals
    assert change[SIGNALS.index("mouth opening")] > 0.1
    assert np.abs(np.delete(change, SIGNALS.index("mouth opening"))).max() < 1e-6


def test_each_lid_has_its_own_signal(face_points: Points3) -> None:
    winking = face_points.copy()
    winking[[160, 159, 158], 1] += 4  # the person's right upper lid, image-left, comes down
    reference = HeadReference(face_points)
    change = reference.measure(winking).signals - reference.rest().signals
    assert change[SIGNALS.index("right lid")] < -0.04
    assert abs(change[SIGNALS.index("left lid")]) < 1e-6


def test_a_wider_mouth_raises_its_width(face_points: Points3) -> None:
    smiling = face_points.copy()
    smiling[61, 0] -= 5
    smiling[291, 0] += 5
    reference = HeadReference(face_points)
    change = reference.measure(smiling).signals - reference.rest().signals
    assert change[SIGNALS.index("mouth width")] > 0.1


def test_pose_error_is_the_angle_between_the_turns(face_points: Points3) -> None:
    reference = HeadReference(face_points)
    one = reference.measure(moved(face_points, (10, 0, 0)))
    other = reference.measure(moved(face_points, (-5, 0, 0)))
    assert pose_error_deg(one, other) == pytest.approx(15, abs=0.01)


def test_expression_error_compares_changes_of_two_people(face_points: Points3) -> None:
    someone = face_points * np.array([1.2, 0.9, 1.0], np.float32)
    mine, theirs = HeadReference(someone), HeadReference(face_points)
    assert expression_error(mine.measure(someone), theirs.measure(face_points)) < 1e-6
    opened = face_points.copy()
    opened[14, 1] += 10
    expected = np.linalg.norm(theirs.measure(opened).change[14, :2]) / 468
    error = expression_error(mine.measure(someone), theirs.measure(opened))
    assert error == pytest.approx(expected, rel=1e-3)


def signal_table(seed: int, spread: float) -> np.ndarray:
    levels = np.array(STILL_BELOW) * spread
    return np.random.default_rng(seed).normal(0, 1, (200, len(SIGNALS))) * levels


def test_correlation_of_a_clip_with_itself_is_one_and_with_its_negative_minus_one() -> None:
    driver = signal_table(0, spread=3)
    np.testing.assert_allclose(correlations(driver * 2 + 5, driver), 1, atol=1e-9)
    np.testing.assert_allclose(correlations(-driver, driver), -1, atol=1e-9)


def test_correlation_ignores_signals_that_the_driver_keeps_still() -> None:
    driver = signal_table(0, spread=3)
    driver[:, 2] *= 0.1
    output = driver.copy()
    output[:, 2] = np.random.default_rng(1).normal(0, 1, 200)
    measured = correlations(output, driver)
    assert np.isnan(measured[2])
    np.testing.assert_allclose(np.delete(measured, 2), 1)


def test_an_output_that_does_not_move_correlates_by_zero() -> None:
    driver = signal_table(0, spread=3)
    assert correlations(np.zeros_like(driver), driver).tolist() == [0] * len(SIGNALS)


def test_too_few_frames_correlate_by_nothing() -> None:
    assert np.isnan(correlations(np.ones((2, 7)), np.ones((2, 7)))).all()
