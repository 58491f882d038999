"""The default tracker on real pictures: topology, faces found, statelessness."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from difffae.arrays import ImageU8
from difffae.face.crop import TRACKING_TO_FACE, CropBox, box_around, crop
from difffae.face.mediapipe import (
    NUM_POINTS,
    TRACKING_SIZE_PX,
    MediaPipeTracker,
    PersonSegmenter,
    read_points,
    triangles,
)
from face_media import TrackedPortrait, read_frames, read_picture

CARPHONE_STRIDE = 10


@pytest.fixture(scope="module")
def pictures(openpeople: list[Path]) -> list[ImageU8]:
    return [read_picture(path, 384) for path in openpeople[:3]]


def test_the_mesh_has_852_triangles_and_none_twice() -> None:
    found = triangles()
    assert found.shape == (852, 3)
    assert len({frozenset(triangle) for triangle in found.tolist()}) == 852
    assert all(len(set(triangle)) == 3 for triangle in found.tolist())
    assert set(np.unique(found)) == set(range(468))


def test_no_edge_of_the_mesh_belongs_to_three_triangles() -> None:
    edges = np.sort(triangles()[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), -1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    assert count.max() == 2


def test_mediapipe_is_imported_without_what_others_get_whole() -> None:
    program = (
        "import sys\n"
        "from difffae.face.mediapipe import triangles\n"
        "triangles()\n"
        "assert 'mediapipe' in sys.modules\n"
        "assert 'matplotlib' not in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert 'mediapipe.tasks' not in sys.modules\n"
        "from mediapipe.tasks import python as tasks\n"
        "assert tasks.BaseOptions\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_mediapipes_graphs_make_no_threads_of_their_own() -> None:
    program = (
        "import os\n"
        "from difffae.face.mediapipe import MediaPipeTracker, PersonSegmenter, triangles\n"
        "triangles()\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "kept = MediaPipeTracker(), PersonSegmenter()\n"
        "assert len(os.listdir('/proc/self/task')) == before\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_mesh_is_mediapipes_own(tracker: MediaPipeTracker, pictures: list[ImageU8]) -> None:
    from mediapipe.python.solutions import face_mesh

    mesh = face_mesh.FaceMesh(
        static_image_mode=True,
        refine_landmarks=True,
        max_num_faces=1,
        min_detection_confidence=0.3,
    )
    face = tracker.find_faces(pictures[0])[0]
    box = box_around(face, factor=TRACKING_TO_FACE)
    box = CropBox(left=round(box.left), top=round(box.top), size=round(box.size))
    found = mesh.process(crop(pictures[0], box, TRACKING_SIZE_PX)).multi_face_landmarks[0]
    own = box.to_picture(read_points(found, TRACKING_SIZE_PX, TRACKING_SIZE_PX), TRACKING_SIZE_PX)
    np.testing.assert_array_equal(tracker.track(pictures[0], face), own)


def test_one_face_is_found_in_a_portrait(
    tracker: MediaPipeTracker, pictures: list[ImageU8]
) -> None:
    faces = tracker.find_faces(pictures[0])
    assert [face.shape for face in faces] == [(NUM_POINTS, 3)]
    low, high = faces[0].min(0), faces[0].max(0)
    assert (low[:2] > 0).all()
    assert (high[:2] < 384).all()
    assert high[1] - low[1] > 80


def test_points_lie_on_the_features_they_name(tracked: TrackedPortrait) -> None:
    points = tracked.points
    left_eye, right_eye, nose, chin, brow = (points[k, :2] for k in (468, 473, 1, 152, 10))
    assert left_eye[0] < nose[0] < right_eye[0]
    assert brow[1] < left_eye[1] < nose[1] < chin[1]
    column, row = left_eye.astype(int)
    iris = tracked.image[row - 1 : row + 2, column - 1 : column + 2].mean()
    cheek_x, cheek_y = points[50, :2].astype(int)
    assert iris < 0.75 * tracked.image[cheek_y, cheek_x].mean()


def test_two_faces_are_found_from_left_to_right(
    tracker: MediaPipeTracker, pictures: list[ImageU8]
) -> None:
    both = np.concatenate(pictures[:2], axis=1)
    faces = tracker.find_faces(both)
    assert len(faces) == 2
    assert faces[0][:, 0].max() < 384 < faces[1][:, 0].min()


def test_no_face_is_found_in_a_blank_picture(tracker: MediaPipeTracker) -> None:
    blank = np.full((240, 320, 3), 127, np.uint8)
    assert tracker.find_faces(blank) == []
    assert tracker.track(blank, None) is None


def test_a_bystander_much_smaller_than_the_main_face_is_left_out(
    tracker: MediaPipeTracker, pictures: list[ImageU8]
) -> None:
    scene = np.full((384, 384 + 96, 3), 128, np.uint8)
    scene[:, :384] = pictures[0]
    scene[100:196, 384:] = pictures[1][::4, ::4]
    assert len(tracker.find_faces(scene)) == 1


def test_the_same_picture_gives_the_same_points_whatever_came_before(
    tracker: MediaPipeTracker, pictures: list[ImageU8]
) -> None:
    first = [tracker.track(picture, None) for picture in pictures]
    again = [tracker.track(picture, None) for picture in reversed(pictures)][::-1]
    for one, other in zip(first, again, strict=True):
        assert one is not None
        np.testing.assert_array_equal(one, other)


def test_tracking_from_previous_points_depends_on_them_alone(
    tracker: MediaPipeTracker, pictures: list[ImageU8]
) -> None:
    previous = tracker.track(pictures[0], None)
    first = tracker.track(pictures[0], previous)
    tracker.track(pictures[1], None)
    second = tracker.track(pictures[0], previous)
    assert first is not None
    np.testing.assert_array_equal(first, second)
    assert previous is not None
    assert np.abs(first - previous)[:, :2].mean() < 3


def test_a_face_that_has_gone_is_looked_for_anew(
    tracker: MediaPipeTracker, pictures: list[ImageU8]
) -> None:
    previous = tracker.track(pictures[0], None)
    assert previous is not None
    moved = np.full((384, 1200, 3), 128, np.uint8)
    moved[:, 800:1184] = pictures[0]
    found = tracker.track(moved, previous)
    assert found is not None
    np.testing.assert_allclose(found[:, 0].mean(), previous[:, 0].mean() + 800, atol=8)


def test_of_two_faces_the_one_followed_so_far_is_followed_on(
    tracker: MediaPipeTracker, pictures: list[ImageU8]
) -> None:
    both = np.concatenate(pictures[:2], axis=1)
    for face in tracker.find_faces(both):
        followed = tracker.track(both, face)
        assert followed is not None
        assert np.abs(followed - face)[:, :2].mean() < 5


def test_small_frames_of_a_real_clip_are_all_tracked(
    tracker: MediaPipeTracker, carphone: Path
) -> None:
    frames = read_frames(carphone, CARPHONE_STRIDE)
    assert [frame.shape for frame in frames] == [(144, 176, 3)] * 12
    points = None
    for frame in frames:
        points = tracker.track(frame, points)
        assert points is not None
        centre = points[:, :2].mean(0)
        assert 40 < centre[0] < 140
        assert 30 < centre[1] < 120


def test_the_person_is_told_from_the_background(tracked: TrackedPortrait) -> None:
    mask = tracked.person
    assert mask.dtype == np.float32
    assert 0 <= mask.min() <= mask.max() <= 1
    column, row = tracked.points[1, :2].astype(int)
    assert mask[row, column] > 0.95
    assert mask[:12, :12].max() < 0.2


def test_segmentation_depends_on_its_picture_alone(pictures: list[ImageU8]) -> None:
    segmenter = PersonSegmenter()
    first = segmenter.segment(pictures[0])
    segmenter.segment(pictures[1])
    np.testing.assert_array_equal(segmenter.segment(pictures[0]), first)


@pytest.mark.parametrize("is_visible", [False, True])
def test_points_are_read_from_a_list_with_and_without_other_fields(is_visible: bool) -> None:
    from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmarkList

    wanted = np.random.default_rng(0).normal(size=(NUM_POINTS, 3)).astype(np.float32)
    wanted[0, 0] = 0
    landmarks = NormalizedLandmarkList()
    for x, y, z in wanted:
        added = landmarks.landmark.add(x=x, y=y, z=z)
        if is_visible:
            added.visibility = 0.5
    np.testing.assert_array_equal(read_points(landmarks, 20, 30), wanted * np.float32([20, 30, 20]))


def test_points_of_other_fields_of_the_same_length_are_not_mistaken() -> None:
    from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmarkList

    landmarks = NormalizedLandmarkList()
    for number in range(NUM_POINTS):
        landmarks.landmark.add(x=number, y=2, visibility=3)  # as many bytes as with z
    points = read_points(landmarks, 1, 1)
    assert points[5].tolist() == [5, 2, 0]
