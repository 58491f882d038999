"""Edits of a face's parameters: what each donor and each number changes, and what it leaves."""

import math
from dataclasses import replace

import numpy as np
import pytest

from difffae.arrays import Points3
from difffae.face.config import FaceConfig
from difffae.face.crop import CropBox
from difffae.face.edit import EYE_RADIUS, FACE_WIDTH, SPANS, Donor, Edit, apply_edit, neutral, turn
from difffae.face.facemesh import FaceMeshModel
from difffae.face.facemesh_rig import FaceMeshRig
from difffae.face.lighting import uniform_lighting
from difffae.face.motion import Stage
from difffae.face.parameters import FaceParameters, axis_angle, matrix
from difffae.face.regions import Regions
from face_media import load_head_model

ALL = Regions()
FIELDS = ("shape", "expression", "gaze", "rotation", "scale", "translation")


@pytest.fixture(scope="module")
def head_model() -> FaceMeshModel:
    return load_head_model()


@pytest.fixture(scope="module")
def rig(head_model: FaceMeshModel) -> FaceMeshRig:
    return FaceMeshRig(head_model, FaceConfig(), 256)


def face(seed: int) -> FaceParameters:
    random = np.random.default_rng(seed)
    return FaceParameters(
        shape=random.normal(size=40).astype(np.float32),
        expression=random.normal(size=64).astype(np.float32),
        gaze=random.normal(size=4, scale=0.03).astype(np.float32),
        rotation=random.normal(size=3, scale=0.2).astype(np.float32),
        scale=float(random.uniform(40, 60)),
        translation=random.uniform(110, 140, 2).astype(np.float32),
    )


def donor(seed: int) -> Donor:
    return Donor(parameters=face(seed), height=300, width=200, lighting=uniform_lighting())


STAGE = Stage(
    face=face(0), box=CropBox(left=20, top=10, size=512), height=600, width=600, crop_size=256
)
SHOWN = replace(face(1), shape=STAGE.face.shape)


def edited(rig: FaceMeshRig, edit: Edit, regions: Regions = ALL) -> FaceParameters:
    return apply_edit(SHOWN, edit, STAGE, rig, regions)


def changed(face: FaceParameters) -> set[str]:
    return {
        name for name in FIELDS if not np.array_equal(getattr(face, name), getattr(SHOWN, name))
    }


def test_an_edit_of_nothing_gives_the_very_face_that_was_shown(rig: FaceMeshRig) -> None:
    assert edited(rig, Edit()) is SHOWN


@pytest.mark.parametrize(
    ("name", "moves"),
    [
        ("pose", {"rotation"}),
        ("expression", {"expression"}),
        ("gaze", {"gaze"}),
        ("shape", {"shape"}),
        ("camera", {"scale", "translation"}),
        ("light", set()),
    ],
)
def test_a_donor_gives_its_attribute_and_no_other(
    rig: FaceMeshRig, name: str, moves: set[str]
) -> None:
    giving = donor(2)
    face = edited(rig, Edit(**{name: giving}))
    assert changed(face) == moves
    for field in moves - {"scale", "translation", "expression"}:
        np.testing.assert_array_equal(getattr(face, field), getattr(giving.parameters, field))


def test_a_donors_expression_opens_the_mouth_as_far_as_the_donors(rig: FaceMeshRig) -> None:
    giving = donor(2)
    face = edited(rig, Edit(expression=giving))
    wanted = rig.mouth_opening(giving.parameters)
    assert rig.mouth_opening(face) == pytest.approx(wanted, abs=1e-3)
    alike = replace(giving.parameters, shape=SHOWN.shape)
    same = edited(rig, Edit(expression=replace(giving, parameters=alike)))
    np.testing.assert_allclose(same.expression, alike.expression, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value", "moves"),
    [
        ("yaw", 10, {"rotation"}),
        ("pitch", -5, {"rotation"}),
        ("roll", 45, {"rotation"}),
        ("expression_strength", 0.5, {"expression"}),
        ("gaze_x", 20, {"gaze"}),
        ("gaze_y", -20, {"gaze"}),
        ("shape_strength", 0.5, set()),
        ("zoom", 1.2, {"scale"}),
        ("shift_x", 0.1, {"translation"}),
        ("shift_y", 0.1, {"translation"}),
    ],
)
def test_a_number_changes_its_attribute_and_no_other(
    rig: FaceMeshRig, name: str, value: float, moves: set[str]
) -> None:
    assert changed(edited(rig, Edit(**{name: value}))) == moves


def test_every_number_is_tried_above() -> None:
    marks = test_a_number_changes_its_attribute_and_no_other.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == set(SPANS)


def nose(yaw: float, pitch: float, roll: float) -> Points3:
    """Where the tip of a nose and the crown go: right, down and away of the picture."""
    return (turn(yaw, pitch, roll) @ np.array([[0, 0, -1], [0, -1, 0]], np.float32).T).T


def test_turns_are_those_of_who_looks_at_the_picture_in_degrees() -> None:
    right, up, clockwise = nose(30, 0, 0), nose(0, 30, 0), nose(0, 0, 30)
    np.testing.assert_allclose(right[0], [0.5, 0, -math.cos(math.pi / 6)], atol=1e-6)
    np.testing.assert_allclose(up[0], [0, -0.5, -math.cos(math.pi / 6)], atol=1e-6)
    np.testing.assert_allclose(clockwise[1], [0.5, -math.cos(math.pi / 6), 0], atol=1e-6)


def test_a_turn_comes_on_top_of_the_donors(rig: FaceMeshRig) -> None:
    giving = donor(2)
    face = edited(rig, Edit(pose=giving, yaw=12))
    step = matrix(face.rotation) @ matrix(giving.parameters.rotation).T
    np.testing.assert_allclose(axis_angle(step), [0, -math.radians(12), 0], atol=1e-5)


def test_expression_strength_is_measured_from_the_portraits_own(rig: FaceMeshRig) -> None:
    own = STAGE.face.expression
    np.testing.assert_array_equal(edited(rig, Edit(expression_strength=0)).expression, own)
    twice = edited(rig, Edit(expression_strength=2)).expression
    np.testing.assert_allclose(twice - own, 2 * (SHOWN.expression - own), rtol=1e-4, atol=1e-5)


def test_shape_strength_goes_from_the_portraits_shape_to_the_donors(rig: FaceMeshRig) -> None:
    giving = donor(2)
    half = edited(rig, Edit(shape=giving, shape_strength=0.5)).shape
    middle = (STAGE.face.shape + giving.parameters.shape) / 2
    np.testing.assert_allclose(half, middle, atol=1e-6)


def test_gaze_turns_both_eyes_as_an_eyeball_does(rig: FaceMeshRig) -> None:
    face = edited(rig, Edit(gaze_x=30, gaze_y=20))
    up = -EYE_RADIUS * math.sin(math.radians(20))
    step = [EYE_RADIUS / 2, up, EYE_RADIUS / 2, up]
    np.testing.assert_allclose(face.gaze - SHOWN.gaze, step, atol=1e-6)


def test_the_head_is_shifted_in_face_widths_and_grows_in_place(rig: FaceMeshRig) -> None:
    face = edited(rig, Edit(shift_x=0.5, shift_y=0.25, zoom=1.4))
    width = FACE_WIDTH * STAGE.face.scale
    step = face.translation - SHOWN.translation
    np.testing.assert_allclose(step, [width / 2, -width / 4], rtol=1e-5)
    assert face.scale == pytest.approx(1.4 * SHOWN.scale)


def test_face_width_is_the_mean_faces(head_model: FaceMeshModel) -> None:
    assert np.ptp(head_model.mean[:, 0]) == pytest.approx(FACE_WIDTH, rel=0.01)


def test_a_camera_is_laid_centre_on_centre(rig: FaceMeshRig) -> None:
    """200 of the donor's pixels are 600 of the portrait's, which are 300 of the crop's."""
    middle = replace(face(2), scale=20.0, translation=np.array([100, 150], np.float32))
    shown = edited(rig, Edit(camera=replace(donor(2), parameters=middle)))
    assert shown.scale == pytest.approx(20 * 3 / 2)
    np.testing.assert_allclose(shown.translation, [(300 - 20) / 2, (300 - 10) / 2])


def test_one_face_as_donor_of_all_gives_itself_back(rig: FaceMeshRig) -> None:
    own = Donor(
        parameters=STAGE.in_picture(SHOWN), height=600, width=600, lighting=uniform_lighting()
    )
    edit = Edit(pose=own, expression=own, gaze=own, shape=own, camera=own)
    face = apply_edit(STAGE.face, edit, STAGE, rig, ALL)
    for name in FIELDS:
        np.testing.assert_allclose(getattr(face, name), getattr(SHOWN, name), rtol=1e-5)


def test_a_neutral_donor_looks_straight_out_without_an_expression() -> None:
    rest = neutral(donor(2)).parameters
    for name in ("rotation", "expression", "gaze"):
        assert not getattr(rest, name).any()
    np.testing.assert_array_equal(rest.shape, face(2).shape)


def test_eyes_that_do_not_move_keep_their_lids_under_a_donors_expression(
    rig: FaceMeshRig,
) -> None:
    giving = donor(2)
    free = edited(rig, Edit(expression=giving))
    held = edited(rig, Edit(expression=giving), Regions(eyes=False))
    own = rig.eye_openings(STAGE.face)
    assert (
        np.abs(rig.eye_openings(held) - own).max()
        < 0.3 * np.abs(rig.eye_openings(free) - own).max()
    )


@pytest.mark.parametrize("name", list(SPANS))
def test_numbers_out_of_range_are_refused_with_their_range_and_unit(name: str) -> None:
    span = SPANS[name]
    for wrong in (span.least - 0.01, span.most + 0.01, math.inf, -math.inf, math.nan):
        with pytest.raises(ValueError, match=f"^{name} is .*; expected .* to .* {span.unit}$"):
            Edit(**{name: wrong})
    for right in (span.least, span.most):
        assert getattr(Edit(**{name: right}), name) == right
