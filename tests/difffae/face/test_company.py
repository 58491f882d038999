"""Who is followed when several people are in the picture."""

import numpy as np
import pytest

from difffae.arrays import Points3
from difffae.face.company import Company, is_same_person
from difffae.face.crop import CropBox


def face(left: float, top: float = 100, size: float = 100) -> Points3:
    """The corners of a face's square, as its mesh."""
    corners = [(left, top, 0), (left + size, top + size, 0)]
    return np.array(corners, np.float32)


def box(left: float, top: float = 100, size: float = 80) -> CropBox:
    """What a detector finds of a face of 100 pixels at that left."""
    return CropBox(left=left + 10, top=top + 10, size=size)


def test_anyone_is_taken_where_nobody_was_followed() -> None:
    assert is_same_person(face(900), None, Company(), 0)


@pytest.mark.parametrize(
    ("left", "num_lost", "is_same"),
    [(190, 0, True), (210, 0, False), (210, 5, True), (390, 5, False), (390, 25, True)],
)
def test_a_person_may_have_moved_the_further_the_longer_unseen(
    left: float, num_lost: int, is_same: bool
) -> None:
    assert is_same_person(face(left), face(100), Company(), num_lost) == is_same


@pytest.mark.parametrize("size", [45, 210])
def test_a_face_of_quite_another_size_is_another_person(size: float) -> None:
    assert not is_same_person(face(100, size=size), face(100), Company(), 0)


def test_the_others_do_not_take_the_place_of_a_lost_person() -> None:
    company = Company(others=(box(300),))
    assert not is_same_person(face(310), face(100), company, 60)
    assert is_same_person(face(310), face(100), Company(), 60)
    assert is_same_person(face(120), face(100), company, 60)


def test_others_of_comparable_size_are_company() -> None:
    near, far = box(300), box(500, size=30)
    assert Company().after([box(100), near, far], face(100)).others == (near,)
    assert Company().after([box(100), far], face(100)).others == ()
    assert Company().after([box(100)], face(100)).others == ()


def test_a_followed_face_that_the_detector_misses_is_no_reason_to_see_company() -> None:
    assert Company().after([], face(100)) == Company()
    assert Company().after([box(300)], face(100)).others == (box(300),)


def test_one_look_that_misses_the_others_does_not_yet_part_them() -> None:
    company = Company(others=(box(300),))
    missed = company.after([box(100)], face(100))
    assert missed.others == company.others
    assert missed.after([box(100), box(310)], face(100)).num_missed == 0
    assert missed.after([box(100)], face(100)).others == ()
