"""The rig that ships: it reads what the head model fits and renders what is configured."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.face.config import FaceConfig
from difffae.face.facemesh import FaceMeshModel
from difffae.face.facemesh_rig import FaceMeshRig
from difffae.face.lighting import uniform_lighting
from difffae.face.rig import Sighting
from difffae.face.source_face import SourceFace
from face_media import TrackedPortrait

BLACK = FaceConfig(background="black")


@pytest.fixture
def rig(head_model: FaceMeshModel) -> FaceMeshRig:
    return FaceMeshRig(head_model, FaceConfig(), 256)


@pytest.fixture
def sighting(tracked: TrackedPortrait) -> Sighting:
    return Sighting(image=tracked.image, points=tracked.points)


def test_a_stranger_is_fitted_and_a_known_person_keeps_the_shape(
    rig: FaceMeshRig, sighting: Sighting, head_model: FaceMeshModel
) -> None:
    fitted = rig.read(sighting)
    np.testing.assert_array_equal(
        fitted.motion_vector(), head_model.fit(sighting.points).parameters.motion_vector()
    )
    person = replace(fitted, shape=fitted.shape + np.float32(0.5))
    np.testing.assert_array_equal(rig.read(sighting, person).shape, person.shape)


def test_the_source_is_taken_apart_with_its_own_light(
    rig: FaceMeshRig, sighting: Sighting, tracked: TrackedPortrait
) -> None:
    face = rig.take_apart(sighting, tracked.person)
    np.testing.assert_array_equal(face.appearance.lighting, rig.lighting(sighting))
    assert face.appearance.albedo is None
    np.testing.assert_array_equal(face.layers.portrait, tracked.image)


def test_on_the_portrait_the_unmoved_face_gives_the_portrait_back(
    rig: FaceMeshRig, source_face: SourceFace, tracked: TrackedPortrait
) -> None:
    own = source_face.appearance.lighting
    condition = rig.condition(source_face, source_face.fitted.parameters, own)
    error = np.abs(condition.composite.astype(int) - tracked.image).mean()
    assert condition.warp is not None
    assert error < 3


def test_on_black_only_the_face_is_shown(
    head_model: FaceMeshModel, source_face: SourceFace, tracked: TrackedPortrait
) -> None:
    rig = FaceMeshRig(head_model, BLACK, 256)
    own = source_face.appearance.lighting
    condition = rig.condition(source_face, source_face.fitted.parameters, own)
    assert condition.warp is None
    is_outside, is_inside = condition.face_mask == 0, condition.face_mask > 0.999
    assert (condition.composite[is_outside] == 0).all()
    assert 0.1 < is_inside.mean() < 0.6
    shown, given = condition.composite[is_inside].astype(int), tracked.image[is_inside]
    assert np.abs(shown - given).mean() < 4
    np.testing.assert_array_equal(condition.person_mask, condition.face_mask)


@pytest.mark.parametrize("side", [-1, 1])
def test_another_light_brightens_the_side_it_comes_from(
    head_model: FaceMeshModel, source_face: SourceFace, side: int
) -> None:
    rig = FaceMeshRig(head_model, BLACK, 256)
    parameters = source_face.fitted.parameters
    light = uniform_lighting()
    light[1] = 0.3 * side
    before = rig.condition(source_face, parameters, uniform_lighting()).composite.astype(float)
    after = rig.condition(source_face, parameters, light).composite.astype(float)
    middle = round(float(parameters.translation[0]))
    gain = [
        part(after).mean() / part(before).mean()
        for part in (lambda image: image[:, :middle], lambda image: image[:, middle:])
    ]
    lit, shaded = gain if side < 0 else gain[::-1]
    assert lit > 1.05
    assert shaded < 0.95


def test_the_lids_are_the_head_models(
    rig: FaceMeshRig, source_face: SourceFace, head_model: FaceMeshModel
) -> None:
    parameters = source_face.fitted.parameters
    wider = rig.open_eyes(parameters, np.float32([0.02, 0.02]))
    gained = rig.eye_openings(wider) - head_model.eye_openings(parameters)
    np.testing.assert_allclose(gained, 0.02, atol=2e-3)
