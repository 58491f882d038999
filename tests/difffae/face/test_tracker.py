"""Picking one of the faces of a picture, and measuring one with care."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from difffae.arrays import ImageU8, Points3
from difffae.face.crop import CropBox
from difffae.face.mediapipe import MediaPipeTracker
from difffae.face.tracker import FaceNotFoundError, SeveralFacesError, measure, pick_face
from face_media import read_picture


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


@dataclass(kw_only=True)
class NoisyTracker:
    """Sees the same face anywhere, a little wrong each time; the first looks see none."""

    face: Points3
    noise: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    num_blind: int = 0

    def find_faces(self, image: ImageU8) -> list[Points3]:
        return [self.face]

    def spot_faces(self, image: ImageU8) -> list[CropBox]:
        return []

    def track(self, image: ImageU8, previous: Points3 | None) -> Points3 | None:
        self.num_blind -= 1
        if self.num_blind >= 0:
            return None
        return self.face + self.noise.normal(size=self.face.shape).astype(np.float32)


@pytest.fixture
def face() -> Points3:
    return np.random.default_rng(1).uniform(50, 150, (478, 3)).astype(np.float32)


def test_a_measured_face_is_nearer_to_the_truth_than_a_tracked_one(face: Points3) -> None:
    tracker, image = NoisyTracker(face=face), np.zeros((200, 200, 3), np.uint8)
    tracked = tracker.track(image, None)
    assert tracked is not None
    measured = measure(tracker, image, tracked)
    assert np.std(measured - face) < 0.5 * np.std(tracked - face)


@pytest.mark.parametrize("num_blind", [2, 99])
def test_looks_that_see_no_face_do_not_count(face: Points3, num_blind: int) -> None:
    tracker, image = NoisyTracker(face=face, num_blind=num_blind), np.zeros((200, 200, 3), np.uint8)
    np.testing.assert_allclose(measure(tracker, image, face), face, atol=4)


def test_a_measured_portrait_depends_less_on_where_it_is_cut(
    tracker: MediaPipeTracker, openpeople: list[Path]
) -> None:
    picture = read_picture(openpeople[0], 384)
    seen: dict[str, list[Points3]] = {"tracked": [], "measured": []}
    for cut in range(0, 12, 2):
        image = np.ascontiguousarray(picture[cut:, cut:])
        tracked = tracker.track(image, tracker.track(image, None))
        assert tracked is not None
        for name, points in (("tracked", tracked), ("measured", measure(tracker, image, tracked))):
            seen[name].append(points[:, :2] + cut)
    spread = {name: float(np.std(points, axis=0).mean()) for name, points in seen.items()}
    assert spread["measured"] < 0.8 * spread["tracked"]
