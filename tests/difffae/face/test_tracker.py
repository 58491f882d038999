"""Picking one of the faces of a picture."""

import numpy as np
import pytest

from difffae.arrays import Points3
from difffae.face.tracker import FaceNotFoundError, SeveralFacesError, pick_face


@pytest.fixture
def faces() -> list[Points3]:
    return [np.full((478, 3), left, np.float32) for left in (10, 200, 300)]


def test_the_only_face_needs_no_number(faces: list[Points3]) -> None:
    assert pick_face(faces[:1], None) is faces[0]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_faces_are_counted_from_one(faces: list[Points3], number: int) -> None:
    assert pick_face(faces, number) is faces[number - 1]


@pytest.mark.parametrize("number", [None, 1])
def test_a_picture_without_faces_is_an_error(number: int | None) -> None:
    with pytest.raises(FaceNotFoundError, match="no face found"):
        pick_face([], number)


def test_several_faces_without_a_number_is_an_error_that_says_how_to_pick(
    faces: list[Points3],
) -> None:
    with pytest.raises(SeveralFacesError, match=r"3 faces found: pick one .* 1 to 3"):
        pick_face(faces, None)


@pytest.mark.parametrize("number", [0, -1, 4])
def test_a_number_without_a_face_is_an_error(faces: list[Points3], number: int) -> None:
    with pytest.raises(FaceNotFoundError, match=f"face {number} asked for, but only 3"):
        pick_face(faces, number)


def test_both_errors_are_value_errors() -> None:
    assert issubclass(FaceNotFoundError, ValueError)
    assert issubclass(SeveralFacesError, ValueError)
