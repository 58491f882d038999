"""Regions held still: measured on the faces that are shown, by both rigs."""

from dataclasses import replace

import numpy as np
import pytest

from deca_media import planted_deca
from difffae.face.config import FaceConfig
from difffae.face.facemesh import FaceMeshModel
from difffae.face.facemesh_rig import FaceMeshRig
from difffae.face.flame_renderer import FlameRenderer
from difffae.face.flame_rig import FlameRig, parameters_of
from difffae.face.parameters import FaceParameters
from difffae.face.regions import RegionFilter, Regions, near, ramp
from difffae.face.rig import Sighting
from face_media import TrackedPortrait
from flame_media import BOX, SIZE, flame_parts, head_codes
from licensed_head import CROWN

NO_EYES, NO_MOUTH = Regions(eyes=False), Regions(mouth=False)
NEITHER = Regions(eyes=False, mouth=False)


@pytest.fixture(scope="module")
def mesh_rig(head_model: FaceMeshModel) -> FaceMeshRig:
    return FaceMeshRig(head_model, FaceConfig(), 256)


@pytest.fixture(scope="module")
def still(mesh_rig: FaceMeshRig, tracked: TrackedPortrait) -> FaceParameters:
    return mesh_rig.read(Sighting(image=tracked.image, points=tracked.points))


@pytest.fixture(scope="module")
def moved(mesh_rig: FaceMeshRig, tracked: TrackedPortrait, still: FaceParameters) -> FaceParameters:
    """The mouth opened, the eyes half closed and turned aside, the head turned."""
    points = tracked.points.copy()
    points[[14, 17, 84, 314, 87, 317, 178, 402, 152, 148, 377], 1] += 10
    shown = mesh_rig.read(Sighting(image=tracked.image, points=points), still)
    closing = -0.5 * mesh_rig.eye_openings(still)
    shown = mesh_rig.open_eyes(shown, closing)
    turned = shown.rotation + np.float32([0, 0.2, 0])
    return replace(shown, gaze=shown.gaze + np.float32(0.05), rotation=turned)


def mouth_opening(rig: FaceMeshRig, face: FaceParameters) -> float:
    """Between the inner lips [head units], of the face turned to the front."""
    front = replace(face, rotation=np.zeros(3, np.float32))
    points = rig.head_model.pose(front, np.zeros((478, 3), np.float32))
    return float(points[14, 1] - points[13, 1]) / face.scale


def test_with_the_eyes_off_lids_and_gaze_stay_and_the_mouth_follows(
    mesh_rig: FaceMeshRig, still: FaceParameters, moved: FaceParameters
) -> None:
    shown = mesh_rig.keep_regions(moved, still, NO_EYES)
    opened, kept = mesh_rig.eye_openings(still), mesh_rig.eye_openings(shown)
    assert (np.abs(mesh_rig.eye_openings(moved) - opened) > 0.04).all()
    np.testing.assert_allclose(kept, opened, atol=1e-3)
    np.testing.assert_array_equal(shown.gaze, still.gaze)
    np.testing.assert_array_equal(shown.rotation, moved.rotation)
    whole, change = (
        mouth_opening(mesh_rig, f) - mouth_opening(mesh_rig, still) for f in (moved, shown)
    )
    assert whole > 0.05
    assert change == pytest.approx(whole, rel=0.1)


def test_with_the_mouth_off_the_mouth_stays_and_the_eyes_follow(
    mesh_rig: FaceMeshRig, still: FaceParameters, moved: FaceParameters
) -> None:
    shown = mesh_rig.keep_regions(moved, still, NO_MOUTH)
    whole, change = (
        mouth_opening(mesh_rig, f) - mouth_opening(mesh_rig, still) for f in (moved, shown)
    )
    assert abs(change) < 0.1 * whole
    closed = mesh_rig.eye_openings(moved) - mesh_rig.eye_openings(still)
    np.testing.assert_allclose(
        mesh_rig.eye_openings(shown) - mesh_rig.eye_openings(still), closed, rtol=0.2
    )
    np.testing.assert_array_equal(shown.gaze, moved.gaze)


def test_with_both_off_both_stay_and_the_head_turns(
    mesh_rig: FaceMeshRig, still: FaceParameters, moved: FaceParameters
) -> None:
    shown = mesh_rig.keep_regions(moved, still, NEITHER)
    whole, change = (
        mouth_opening(mesh_rig, f) - mouth_opening(mesh_rig, still) for f in (moved, shown)
    )
    assert abs(change) < 0.1 * whole
    np.testing.assert_allclose(
        mesh_rig.eye_openings(shown), mesh_rig.eye_openings(still), atol=1e-3
    )
    np.testing.assert_array_equal(shown.rotation, moved.rotation)


def test_with_both_on_nothing_is_touched(
    mesh_rig: FaceMeshRig, still: FaceParameters, moved: FaceParameters
) -> None:
    assert mesh_rig.keep_regions(moved, still, Regions()) is moved


@pytest.fixture(scope="module")
def flame_rig() -> FlameRig:
    deca = planted_deca({})
    return FlameRig(deca, FlameRenderer(flame_parts(deca), SIZE))


def flame_face(brows: float = 0, smile: float = 0, jaw: float = 0) -> FaceParameters:
    """The stand-in's second expression raises the brows, its first one smiles."""
    face = parameters_of(head_codes(), BOX)
    expression = face.expression.copy()
    expression[:2], expression[50] = (smile, brows), jaw
    return replace(face, expression=expression)


def motion_at(rig: FlameRig, face: FaceParameters, place: tuple[float, float]) -> float:
    """How far the surface at a place of the mean head's front moves from rest [mm]."""
    template = rig.renderer.model.template[: CROWN + 1]  # without the eyeballs
    front = template[:, 2] > 0.05
    chosen = front & (np.hypot(*(template[:, :2] - np.float32(place)).T) < 0.008)
    assert chosen.any()
    change = rig.renderer.surface(face) - rig.renderer.surface(flame_face())
    change = change[: len(template)]
    return float(1000 * np.linalg.norm(change[chosen], axis=-1).mean())


BROW, LID, CORNER = (0.03, 0.058), (0.03, 0.044), (0.024, -0.035)


def test_flames_mouth_and_jaw_stay_with_the_mouth_off_and_the_brows_move(
    flame_rig: FlameRig,
) -> None:
    still = flame_face()
    jaw_too = flame_rig.keep_regions(flame_face(brows=1, jaw=0.2), still, NO_MOUTH)
    np.testing.assert_array_equal(jaw_too.expression[50:], still.expression[50:])
    moved = flame_face(brows=1, smile=1)
    shown = flame_rig.keep_regions(moved, still, NO_MOUTH)
    assert motion_at(flame_rig, moved, BROW) > 2
    assert motion_at(flame_rig, shown, BROW) > 0.7 * motion_at(flame_rig, moved, BROW)
    assert motion_at(flame_rig, moved, CORNER) > 2
    assert motion_at(flame_rig, shown, CORNER) < 0.25 * motion_at(flame_rig, moved, CORNER)


def test_flames_eyes_stay_with_the_eyes_off_and_the_mouth_moves(flame_rig: FlameRig) -> None:
    still, moved = flame_face(), flame_face(brows=1, smile=1, jaw=0.2)
    moved = replace(moved, gaze=np.full(4, 0.1, np.float32))
    shown = flame_rig.keep_regions(moved, still, NO_EYES)
    np.testing.assert_array_equal(shown.gaze, still.gaze)
    np.testing.assert_array_equal(shown.expression[50:], moved.expression[50:])
    assert motion_at(flame_rig, shown, CORNER) > 0.85 * motion_at(flame_rig, moved, CORNER)
    moved = flame_face(brows=1)
    shown = flame_rig.keep_regions(moved, still, NO_EYES)
    assert motion_at(flame_rig, moved, LID) > 0.5
    assert motion_at(flame_rig, shown, LID) < 0.6 * motion_at(flame_rig, moved, LID)


def test_a_basis_of_separate_regions_loses_just_the_one_that_is_off() -> None:
    basis = np.zeros((2, 4, 3), np.float32)
    basis[0, :2, 1], basis[1, 2:, 1] = 1, 1
    first = np.float32([1, 1, 0, 0])
    keep = RegionFilter(basis, eyes=first, mouth=1 - first)
    change = np.float32([2, 3])
    np.testing.assert_allclose(keep(change, NO_EYES), [0, 3], atol=0.01)
    np.testing.assert_allclose(keep(change, NO_MOUTH), [2, 0], atol=0.01)
    np.testing.assert_allclose(keep(change, NEITHER), [0, 0], atol=0.01)
    assert keep(change, Regions()) is change


def test_regions_end_softly() -> None:
    values = np.float32([-1, 0, 0.5, 1, 2])
    np.testing.assert_allclose(ramp(values, (0, 1)), [0, 0, 0.5, 1, 1])
    places = np.float32([[0, 0, 0], [0, 0.2, 0], [0, 0.4, 0]])
    np.testing.assert_allclose(near(places, places[:1], (0.1, 0.3)), [1, 0.5, 0], atol=1e-6)
