"""The head model: alignment, fitting, tracking of a known person, gaze."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.face.facemesh import (
    FACE_OVAL,
    LOWER_LIP,
    NUM_MESH_POINTS,
    UPPER_LIP,
    FaceMeshModel,
    Pose,
    align,
)
from difffae.face.mediapipe import triangles
from difffae.face.parameters import FaceParameters, axis_angle, matrix
from face_media import TrackedPortrait, tracked_tensors


def some_pose() -> Pose:
    return Pose(
        rotation=matrix(np.array([0.2, -0.5, 0.1], np.float32)),
        scale=57.5,
        translation=np.array([130, 118, -9], np.float32),
    )


def template(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(60, 3)).astype(np.float32)


def test_alignment_recovers_a_known_pose() -> None:
    pose, head = some_pose(), template()
    found = align(pose.to_picture(head), head, np.ones(60, np.float32))
    np.testing.assert_allclose(found.rotation, pose.rotation, atol=1e-5)
    np.testing.assert_allclose(found.translation, pose.translation, atol=1e-3)
    assert found.scale == pytest.approx(pose.scale, rel=1e-5)


def test_points_of_no_weight_do_not_disturb_the_alignment() -> None:
    pose, head = some_pose(), template()
    points, weights = pose.to_picture(head), np.ones(60, np.float32)
    points[:10] += 40
    weights[:10] = 0
    found = align(points, head, weights)
    np.testing.assert_allclose(found.rotation, pose.rotation, atol=1e-5)
    assert found.scale == pytest.approx(pose.scale, rel=1e-5)


def test_alignment_never_mirrors() -> None:
    head = template()
    found = align(head * np.array([-1, 1, 1], np.float32), head, np.ones(60, np.float32))
    assert np.linalg.det(found.rotation) == pytest.approx(1, abs=1e-5)


def test_head_units_are_the_inverse_of_pixels() -> None:
    pose, head = some_pose(), template()
    np.testing.assert_allclose(pose.to_head(pose.to_picture(head)), head, atol=1e-5)


def test_one_head_unit_ahead_of_a_straight_head_is_scale_pixels_to_the_right() -> None:
    pose = Pose(
        rotation=np.eye(3, dtype=np.float32), scale=50.0, translation=np.zeros(3, np.float32)
    )
    moved = pose.to_picture(np.array([(1, 0, 0)], np.float32))
    np.testing.assert_allclose(moved, [(50, 0, 0)], atol=1e-5)


def test_the_oval_is_the_border_of_the_skin() -> None:
    skin = triangles()
    edges = np.sort(skin[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), -1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    border = {frozenset(edge) for edge in unique[count == 1].tolist()}
    around = {
        frozenset((a, b)) for a, b in zip(FACE_OVAL, FACE_OVAL[1:] + FACE_OVAL[:1], strict=True)
    }
    assert around <= border


def test_fitting_and_posing_gives_the_tracked_points_back(
    head_model: FaceMeshModel, tracked: TrackedPortrait
) -> None:
    fitted = head_model.fit(tracked.points)
    again = head_model.pose(fitted.parameters, fitted.residual)
    np.testing.assert_allclose(again[:, :2], tracked.points[:, :2], atol=0.02)


def test_what_the_model_leaves_over_is_small(
    head_model: FaceMeshModel, tracked: TrackedPortrait
) -> None:
    residual = head_model.fit(tracked.points).residual[:NUM_MESH_POINTS, :2]
    assert np.sqrt((residual**2).mean()) < 0.05


def test_a_known_persons_expression_and_pose_are_found(tracked: TrackedPortrait) -> None:
    head_model = FaceMeshModel(tracked_tensors())
    person = head_model.fit(tracked.points).parameters
    random = np.random.default_rng(3)
    given = replace(
        person,
        expression=random.normal(0, 0.8, len(person.expression)).astype(np.float32),
        gaze=person.gaze + np.float32([0.03, -0.01, 0.03, -0.01]),
        rotation=np.array([0.1, 0.3, -0.2], np.float32),
        scale=71.0,
        translation=np.array([140, 105], np.float32),
    )
    points = head_model.pose(given, np.zeros((478, 3), np.float32))
    found = head_model.track(points, person)
    np.testing.assert_array_equal(found.shape, person.shape)
    assert np.abs(found.expression - given.expression).mean() < 0.11
    assert np.corrcoef(found.expression, given.expression)[0, 1] > 0.97
    np.testing.assert_allclose(found.rotation, given.rotation, atol=6e-4)
    np.testing.assert_allclose(found.translation, given.translation, atol=0.06)
    np.testing.assert_allclose(found.gaze, given.gaze, atol=0.005)
    assert found.scale == pytest.approx(71.0, rel=1e-3)


def test_skin_goes_further_than_tracked_points_and_is_where_it_is_tracked_to_be(
    tracked: TrackedPortrait,
) -> None:
    tensors = tracked_tensors()
    plain = FaceMeshModel(tensors)
    further = np.zeros_like(plain.expression_basis)
    further[0, 50] = [0.1, -0.2, 0]
    head_model = FaceMeshModel({**tensors, "skin_motion": further})
    fitted, known = head_model.fit(tracked.points), plain.fit(tracked.points)
    for name in ("expression", "shape", "rotation"):
        seen, wanted = (getattr(each.parameters, name) for each in (fitted, known))
        np.testing.assert_array_equal(seen, wanted)
    again = head_model.pose(fitted.parameters, fitted.residual)
    np.testing.assert_allclose(again[:468, :2], tracked.points[:468, :2], atol=1e-3)
    change = np.zeros(len(further), np.float32)
    change[0] = 1.5
    moved = replace(fitted.parameters, expression=fitted.parameters.expression + change)
    shift = head_model.pose(moved, fitted.residual) - plain.pose(moved, known.residual)
    pose = matrix(moved.rotation) * moved.scale
    np.testing.assert_allclose(shift[50], pose @ (1.5 * further[0, 50]), atol=1e-2)
    np.testing.assert_allclose(np.delete(shift, 50, 0), 0, atol=1e-3)


@pytest.fixture
def fitted_parameters(head_model: FaceMeshModel, tracked: TrackedPortrait) -> FaceParameters:
    return head_model.fit(tracked.points).parameters


def test_moving_the_picture_moves_the_place_and_nothing_else(
    head_model: FaceMeshModel, tracked: TrackedPortrait, fitted_parameters: FaceParameters
) -> None:
    moved = head_model.fit(tracked.points + np.float32([30, -12, 0])).parameters
    expected = fitted_parameters.translation + np.float32([30, -12])
    np.testing.assert_allclose(moved.translation, expected, atol=0.01)
    np.testing.assert_allclose(moved.expression, fitted_parameters.expression, atol=1e-3)
    np.testing.assert_allclose(moved.shape, fitted_parameters.shape, atol=1e-3)


def test_enlarging_the_picture_changes_the_scale_and_not_the_person(
    head_model: FaceMeshModel, tracked: TrackedPortrait, fitted_parameters: FaceParameters
) -> None:
    larger = head_model.fit(tracked.points * np.float32(3)).parameters
    assert larger.scale == pytest.approx(3 * fitted_parameters.scale, rel=1e-4)
    np.testing.assert_allclose(larger.shape, fitted_parameters.shape, atol=1e-3)
    np.testing.assert_allclose(larger.gaze, fitted_parameters.gaze, atol=1e-4)


def test_rolling_the_picture_rolls_the_head(
    head_model: FaceMeshModel, tracked: TrackedPortrait, fitted_parameters: FaceParameters
) -> None:
    roll = matrix(np.array([0, 0, 0.3], np.float32))
    rolled = head_model.fit((tracked.points @ roll.T).astype(np.float32)).parameters
    expected = axis_angle(roll @ matrix(fitted_parameters.rotation))
    np.testing.assert_allclose(rolled.rotation, expected, atol=1e-3)


def test_gaze_moves_the_irises_alone(head_model: FaceMeshModel, tracked: TrackedPortrait) -> None:
    fitted = head_model.fit(tracked.points)
    straight = replace(fitted.parameters, rotation=np.zeros(3, np.float32))
    aside = replace(straight, gaze=straight.gaze + np.float32([0.1, 0, 0, 0]))
    change = head_model.pose(aside, fitted.residual) - head_model.pose(straight, fitted.residual)
    assert np.abs(change[:NUM_MESH_POINTS]).max() == 0
    np.testing.assert_allclose(change[468:473, 0], 0.1 * straight.scale, rtol=1e-3)
    np.testing.assert_allclose(change[473:], 0, atol=1e-4)


@pytest.mark.parametrize("change", [(-0.05, 0.0), (0.0, 0.04), (-0.06, -0.06)])
def test_eyes_open_by_what_they_are_told_and_the_mouth_stays(
    head_model: FaceMeshModel, tracked: TrackedPortrait, change: tuple[float, float]
) -> None:
    fitted = head_model.fit(tracked.points)
    before = head_model.eye_openings(fitted.parameters)
    opened = head_model.open_eyes(fitted.parameters, np.float32(change))
    np.testing.assert_allclose(head_model.eye_openings(opened) - before, change, atol=2e-3)
    moved = head_model.pose(opened, fitted.residual) - tracked.points
    lids = np.abs(moved[[159, 386], 1]).max()
    assert np.abs(moved[list(UPPER_LIP + LOWER_LIP), :2]).max() < 0.5 * lids


def test_a_mouth_opens_as_far_as_asked_no_wider_and_without_the_eyes(
    tracked: TrackedPortrait, head_model: FaceMeshModel
) -> None:
    fitted = head_model.fit(tracked.points)
    opened = head_model.open_mouth(fitted.parameters, 0.2)
    before, after = (head_model.mouth_opening(each) for each in (fitted.parameters, opened))
    assert after - before == pytest.approx(0.2, abs=1e-3)
    eyes = [head_model.eye_openings(each) for each in (fitted.parameters, opened)]
    np.testing.assert_allclose(*eyes, atol=1e-3)
    still = replace(fitted.parameters, rotation=np.zeros(3, np.float32))
    faces = [
        head_model.pose(replace(each, rotation=still.rotation), fitted.residual) / each.scale
        for each in (fitted.parameters, opened)
    ]
    widths = [float(each[308, 0] - each[78, 0]) for each in faces]
    assert widths[0] == pytest.approx(widths[1], abs=1e-3)


def test_open_eyes_are_measured_as_open(
    head_model: FaceMeshModel, tracked: TrackedPortrait
) -> None:
    fitted = head_model.fit(tracked.points)
    openings = head_model.eye_openings(fitted.parameters)
    gaps = np.abs(tracked.points[[145, 374], 1] - tracked.points[[159, 386], 1])
    np.testing.assert_allclose(openings, gaps / fitted.parameters.scale, rtol=0.5)
    assert (openings > 0.05).all()
