"""Drawn people in one another's hair and clothes."""

import numpy as np
import pytest

from difffae.face.dressing import Person, dress, mix
from difffae.face.facemesh import FaceMeshModel
from difffae.face.scene import Scene
from drawn_person import BLACK, BROWN, GREY, SHIRT, SKIN, Drawing, drawn_person
from face_media import load_head_model

PALE, GREEN = (240, 205, 190), (30, 140, 50)
OWN = Drawing()
DARK = Drawing(hair=BLACK, shirt=GREEN, skin=PALE)
LONG = Drawing(is_long=True)


@pytest.fixture(scope="module")
def model() -> FaceMeshModel:
    return load_head_model()


@pytest.fixture(scope="module")
def own(model: FaceMeshModel) -> Person:
    return drawn_person(model, OWN)


@pytest.fixture(scope="module")
def dark(model: FaceMeshModel) -> Person:
    return drawn_person(model, DARK)


def colour_at(scene: Scene, right: float, down: float, drawing: Drawing = OWN) -> np.ndarray:
    """Around a place in face radii from the middle of the face."""
    (x, y), unit = drawing.centre, drawing.scale
    row, column = round(y + down * unit), round(x + right * unit)
    return scene.picture[row - 1 : row + 2, column - 1 : column + 2].mean((0, 1))


def near(colour: np.ndarray, wanted: tuple[int, int, int], within: float = 8) -> bool:
    return bool(np.abs(colour - wanted).max() <= within)


def test_without_a_donor_the_picture_stays(own: Person) -> None:
    again = dress(own)
    difference = np.abs(again.picture.astype(int) - own.scene.picture)
    assert difference[own.scene.matte > 0].max() <= 1


def test_hair_is_the_donors_and_all_else_the_persons(own: Person, dark: Person) -> None:
    scene = dress(own, hair=dark)
    assert near(colour_at(scene, 0, -1.9), BLACK)
    assert near(colour_at(scene, 0, 0), SKIN)
    assert near(colour_at(scene, 0, 1.9), SKIN)
    assert near(colour_at(scene, 0, 3.5), SHIRT)
    assert near(colour_at(scene, 3.4, -3), GREY)


def test_clothes_are_the_donors_and_all_else_the_persons(own: Person, dark: Person) -> None:
    scene = dress(own, clothes=dark)
    assert near(colour_at(scene, 0, 3.5), GREEN)
    assert near(colour_at(scene, 1.5, 3.2), GREEN)
    assert near(colour_at(scene, 0, 0), SKIN)
    assert near(colour_at(scene, 0, -1.9), BROWN)


def test_above_the_chin_other_clothes_change_nothing(own: Person, dark: Person) -> None:
    scene, plain = dress(own, clothes=dark), dress(own)
    above = own.parts.head > 0.99
    assert np.abs(scene.picture[above].astype(int) - plain.picture[above]).max() <= 2


def test_both_at_once_are_of_both_donors(own: Person, dark: Person, model: FaceMeshModel) -> None:
    scene = dress(own, hair=drawn_person(model, LONG), clothes=dark)
    assert near(colour_at(scene, 1.35, 2.0), BROWN)
    assert near(colour_at(scene, 0, 3.5), GREEN)
    assert near(colour_at(scene, 0, 0), SKIN)


def test_long_hair_falls_over_the_persons_own_clothes(own: Person, model: FaceMeshModel) -> None:
    scene = dress(own, hair=drawn_person(model, LONG))
    for side in (-1.35, 1.35):
        assert near(colour_at(scene, side, 2.0), BROWN)
        assert near(colour_at(scene, side, 3.2), BROWN)


def test_where_long_hair_was_taken_off_there_is_background_and_clothes_go_on(
    dark: Person, model: FaceMeshModel
) -> None:
    scene = dress(drawn_person(model, LONG), hair=dark)
    for side in (-1.35, 1.35):
        assert near(colour_at(scene, side, 1.2), GREY)
        assert near(colour_at(scene, side, 3.4), SHIRT, within=25)
    assert near(colour_at(scene, 0, -1.9), BLACK)


def test_a_donor_elsewhere_and_smaller_is_laid_over_the_persons_head(
    own: Person, model: FaceMeshModel
) -> None:
    drawing = Drawing(hair=BLACK, centre=(150, 90), scale=24)
    scene = dress(own, hair=drawn_person(model, drawing))
    for right, down in ((0, -1.9), (-1.5, -0.7), (1.5, -0.7)):
        assert near(colour_at(scene, right, down), BLACK, within=20), (right, down)
    assert near(colour_at(scene, 0, 0), SKIN)
    assert near(colour_at(scene, 0, -2.8), GREY)


def test_a_donors_body_reaches_the_lower_edge_of_a_picture_that_shows_more(
    model: FaceMeshModel, dark: Person
) -> None:
    small = Drawing(centre=(128, 70), scale=22)
    scene = dress(drawn_person(model, small), clothes=dark)
    assert near(scene.picture[-3:, 126:131].mean((0, 1)), GREEN, within=12)


def test_a_bald_donor_has_the_persons_skin(own: Person, model: FaceMeshModel) -> None:
    scene = dress(own, hair=drawn_person(model, Drawing(hair=PALE, skin=PALE)))
    assert near(colour_at(scene, 0, -1.9), SKIN, within=16)


def test_a_mixture_lies_between_by_its_weights(own: Person, dark: Person) -> None:
    worn = dress(own, hair=dark)
    plain = dress(own)
    some = mix([(plain, 0.75), (worn, 0.25)])
    between = 0.75 * plain.picture.astype(float) + 0.25 * worn.picture
    assert np.abs(some.picture - between).max() <= 2
    np.testing.assert_allclose(some.matte, 0.75 * plain.matte + 0.25 * worn.matte, atol=1e-6)
