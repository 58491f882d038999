"""A drawn person taken apart: what is which part is known of every pixel."""

import numpy as np
import pytest

from difffae.arrays import MaskF32
from difffae.face.facemesh import FaceMeshModel
from difffae.face.person_parts import Parts, take_parts
from drawn_person import BLACK, SKIN, Drawing, draw_person
from face_media import load_head_model


@pytest.fixture(scope="module")
def model() -> FaceMeshModel:
    return load_head_model()


def parts_of(model: FaceMeshModel, drawing: Drawing) -> Parts:
    image, matte, points = draw_person(model, drawing)
    return take_parts(image, matte, points)


def share(mask: MaskF32, drawing: Drawing, right: float, down: float) -> float:
    """Of a part at a place in face radii from the middle of the face."""
    (x, y), unit = drawing.centre, drawing.scale
    return float(mask[round(y + down * unit), round(x + right * unit)])


@pytest.mark.parametrize("is_long", [False, True])
def test_the_parts_are_the_matte_shared_out(model: FaceMeshModel, is_long: bool) -> None:
    drawing = Drawing(is_long=is_long)
    parts = parts_of(model, drawing)
    total = parts.face + parts.hair + parts.skin + parts.clothes
    np.testing.assert_allclose(total, draw_person(model, drawing)[1], atol=1e-5)


def test_crown_neck_and_shirt_are_hair_skin_and_clothes(model: FaceMeshModel) -> None:
    drawing = Drawing()
    parts = parts_of(model, drawing)
    assert share(parts.hair, drawing, 0, -1.9) > 0.9
    assert share(parts.face, drawing, 0, 0) > 0.99
    assert share(parts.skin, drawing, 0, 1.9) > 0.9
    assert share(parts.clothes, drawing, 0, 3.5) > 0.9
    assert share(parts.clothes, drawing, 1.5, 3.2) > 0.9


def test_hair_that_falls_over_the_shirt_is_hair_and_the_shirt_goes_on_under_it(
    model: FaceMeshModel,
) -> None:
    drawing = Drawing(is_long=True)
    parts = parts_of(model, drawing)
    for side in (-1.35, 1.35):
        assert share(parts.hair, drawing, side, 2.0) > 0.9
        assert share(parts.hair, drawing, side, 3.2) > 0.9
        assert share(parts.torso, drawing, side, 3.4) == 1
    assert share(parts.torso, drawing, 0, -1.9) == 0


def test_dark_clothes_are_not_taken_for_hair(model: FaceMeshModel) -> None:
    drawing = Drawing(hair=BLACK, shirt=BLACK)
    parts = parts_of(model, drawing)
    assert share(parts.hair, drawing, 0, -1.9) > 0.9
    assert share(parts.clothes, drawing, 0, 3.5) > 0.9


def test_a_bald_head_is_known_and_another_is_not(model: FaceMeshModel) -> None:
    assert parts_of(model, Drawing(hair=SKIN)).is_bald
    assert not parts_of(model, Drawing()).is_bald


def test_skins_colour_is_the_cheeks(model: FaceMeshModel) -> None:
    parts = parts_of(model, Drawing())
    np.testing.assert_allclose(parts.colour, SKIN, atol=2)
    np.testing.assert_allclose(parts.neck_colour, SKIN, atol=2)


def test_a_picture_of_a_face_alone_still_has_parts(model: FaceMeshModel) -> None:
    image, _, points = draw_person(model, Drawing(centre=(128, 128), scale=120))
    parts = take_parts(image, np.ones(image.shape[:2], np.float32), points)
    total = parts.face + parts.hair + parts.skin + parts.clothes
    np.testing.assert_allclose(total, 1, atol=1e-5)
