"""The default tracker: MediaPipe's face mesh and segmentation, whose models come in its wheel."""

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from difffae.arrays import ImageU8, MaskF32, Points3, Triangles
from difffae.face.crop import TRACKING_TO_FACE, CropBox, box_around, crop

NUM_POINTS = 478  # 468 of the mesh, then two irises of a centre and four rim points
TRACKING_SIZE_PX = 256
DETECTION_SIDE_PX = 1280  # larger pictures are shrunk to this before faces are looked for
SPOTTING_SIDE_PX = 640
_BESIDE = 0.03  # of a picture's longer side: so near a person, what the fine network sees is theirs
_TAGS = {"list": 0x0A, "length": 15, "of x": 0x0D, "of y": 0x15, "of z": 0x1D}
_LANDMARK = np.dtype(
    [
        ("list", "u1"),
        ("length", "u1"),
        *(("of x", "u1"), ("x", "<f4")),
        *(("of y", "u1"), ("y", "<f4")),
        *(("of z", "u1"), ("z", "<f4")),
    ]
)  # of a list's field, and of x, y and z within it, with the tags that announce them
SMALL_FACE = 0.4  # a face this much smaller than the largest is a bystander


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep MediaPipe's native log, which has no switch of its own, off the user's terminal."""
    saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)


@contextlib.contextmanager
def _without_extras() -> Iterator[None]:
    """Let MediaPipe be imported without matplotlib and its newer interface: 0.35 s.

    It draws diagrams with the one, and asks for sound devices with the other.
    """
    names = ("matplotlib", "matplotlib.pyplot", "mediapipe.tasks", "mediapipe.tasks.python")
    if any(name in sys.modules for name in ("mediapipe", *names)):
        yield
        return
    sys.modules.update({name: ModuleType(name) for name in names})
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)


def _on_calling_thread(solution: type[Any]) -> type[Any]:
    """One of MediaPipe's solutions, its graph run by the thread that asks for an answer.

    By itself it hands work to threads of its own, which wait for each other and for the caller: a
    fifth of the mesh's time. Where the method that is extended is missing, it goes on so.
    """

    class OnCallingThread(solution):  # type: ignore[misc]
        def _initialize_graph_interface(self, *arguments: Any, **named: Any) -> Any:
            graph = super()._initialize_graph_interface(*arguments, **named)
            del graph.executor[:]
            graph.executor.add(type="ApplicationThreadExecutor")
            return graph

    return OnCallingThread


def triangles() -> Triangles:
    """The mesh's triangles: the 3-cliques of the edges that the installed package lists.

    Left out is a clique each of whose edges two others share already: it only surrounds a point.
    """
    with _without_extras():
        from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

    neighbours: dict[int, set[int]] = {}
    for a, b in FACEMESH_TESSELATION:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    found = {
        tuple(sorted((a, b, c)))
        for a, around in neighbours.items()
        for b in around
        for c in around & neighbours[b]
    }
    uses = Counter(edge for triangle in found for edge in combinations(triangle, 2))
    real = (t for t in found if any(uses[edge] <= 2 for edge in combinations(t, 2)))
    return np.array(sorted(real), np.int32)


def read_points(landmarks: Any, width: int, height: int) -> Points3:
    """Mesh points of MediaPipe's list [px].

    Where all that each has is x, y and z, they are read from the list's bytes (protobuf's wire
    format) at once: through Python objects that takes six times as long.

    Args:
        landmarks: a ``NormalizedLandmarkList``.
        width: of the picture [px].
        height: likewise.
    """
    sizes = np.array([width, height, width], np.float32)
    data = landmarks.SerializeToString()
    if len(data) == NUM_POINTS * _LANDMARK.itemsize:
        read = np.frombuffer(data, _LANDMARK)
        if all(bool(np.all(read[name] == tag)) for name, tag in _TAGS.items()):
            return np.asarray(np.stack([read[axis] for axis in "xyz"], -1) * sizes, np.float32)
    return np.array([(p.x, p.y, p.z) for p in landmarks.landmark], np.float32) * sizes


class MediaPipeTracker:
    """MediaPipe face mesh in static mode: each answer depends on its picture alone.

    Keep one object for many pictures: the native graphs are slow to build and do not free memory.
    Not safe for use by two threads at once.
    """

    def __init__(self) -> None:
        with _quiet_stderr(), _without_extras():
            from mediapipe.python.solutions import face_detection, face_mesh

            self._mesh = _on_calling_thread(face_mesh.FaceMesh)(
                static_image_mode=True,
                refine_landmarks=True,
                max_num_faces=1,
                min_detection_confidence=0.3,
            )
            detection = _on_calling_thread(face_detection.FaceDetection)
            self._detector = detection(model_selection=1, min_detection_confidence=0.5)
            self._near_detector = detection(model_selection=0, min_detection_confidence=0.5)
            self._mesh.process(np.zeros((64, 64, 3), np.uint8))

    def find_faces(self, image: ImageU8) -> list[Points3]:
        """See `Tracker.find_faces`; faces under two fifths of the largest are left out."""
        faces: list[Points3] = []
        for left, top, size in self._detect(image):
            points = self._mesh_in(image, left - 0.5 * size, top - 0.5 * size, 2 * size)
            if points is not None and not any(_same_face(points, other) for other in faces):
                faces.append(points)
        if not faces and (whole := self._mesh_whole(image)) is not None:
            faces.append(whole)
        largest = max((_extent(points) for points in faces), default=0.0)
        faces = [points for points in faces if _extent(points) >= SMALL_FACE * largest]
        return sorted(faces, key=lambda points: float(points[:, 0].mean()))

    def track(self, image: ImageU8, previous: Points3 | None) -> Points3 | None:
        """See `Tracker.track`."""
        if previous is not None:
            box = box_around(previous, factor=TRACKING_TO_FACE)
            points = self._mesh_in(image, box.left, box.top, box.size)
            if points is not None and _same_face(points, previous):
                return points
        faces = self.find_faces(image)
        if previous is None:
            return max(faces, key=_extent, default=None)
        return min(faces, key=lambda points: _distance(points, previous), default=None)

    def spot_faces(self, image: ImageU8) -> list[CropBox]:
        """See `Tracker.spot_faces`: within about two metres, 1 ms."""
        small = _shrunk(image, SPOTTING_SIDE_PX)
        boxes = _boxes(self._near_detector.process(small), *image.shape[:2])
        return [CropBox(left=left, top=top, size=size) for left, top, size in boxes]

    def _detect(self, image: ImageU8) -> list[tuple[float, float, float]]:
        """Square face boxes (left, top, size) [px], the largest first."""
        small = _shrunk(image, DETECTION_SIDE_PX)
        boxes = []
        for detector in (self._near_detector, self._detector):
            boxes += _boxes(detector.process(small), *image.shape[:2])
        return sorted(boxes, key=lambda box: -box[2])

    def _mesh_in(self, image: ImageU8, left: float, top: float, size: float) -> Points3 | None:
        height, width = image.shape[:2]
        if size < 8 or left >= width or top >= height or left + size <= 0 or top + size <= 0:
            return None
        box = CropBox(left=round(left), top=round(top), size=round(size))
        points = self._mesh_whole(crop(image, box, TRACKING_SIZE_PX))
        return None if points is None else box.to_picture(points, TRACKING_SIZE_PX)

    def _mesh_whole(self, image: ImageU8) -> Points3 | None:
        found = self._mesh.process(np.ascontiguousarray(image)).multi_face_landmarks
        if not found:
            return None
        return read_points(found[0], image.shape[1], image.shape[0])


class PersonSegmenter:
    """MediaPipe selfie segmentation: how much each pixel belongs to a person.

    Its two networks differ on hair and on walls of skin's colour. The one for landscapes is more
    often right; the other sees stray curls, and counts beside what the first calls a person.
    """

    def __init__(self) -> None:
        with _quiet_stderr(), _without_extras():
            from mediapipe.python.solutions import selfie_segmentation

            segmentation = _on_calling_thread(selfie_segmentation.SelfieSegmentation)
            self._models = [segmentation(model_selection=which) for which in (0, 1)]
            for model in self._models:
                model.process(np.zeros((64, 64, 3), np.uint8))

    def segment(self, image: ImageU8) -> MaskF32:
        """Soft mask in [0, 1], 1 on the person."""
        pixels = np.ascontiguousarray(image)
        fine, right = (model.process(pixels).segmentation_mask for model in self._models)
        around = 2 * round(_BESIDE * max(image.shape[:2])) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (around, around))
        mask = np.maximum(right, np.minimum(fine, cv2.dilate(right, kernel)))
        soft = np.clip((mask - 0.3) / 0.4, 0, 1).astype(np.float32)
        return np.asarray(cv2.GaussianBlur(soft, (0, 0), 1.0))


def _shrunk(image: ImageU8, side: int) -> NDArray[np.uint8]:
    """The picture with its longer side at most so long [px]."""
    shrink = min(1.0, side / max(image.shape[:2]))
    if shrink == 1:
        return np.ascontiguousarray(image)
    small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _boxes(answer: Any, height: int, width: int) -> list[tuple[float, float, float]]:
    """Square boxes (left, top, size) [px] out of a detector's answer."""
    boxes = []
    for found in answer.detections or ():
        box = found.location_data.relative_bounding_box
        size = max(box.width * width, box.height * height)
        centre = ((box.xmin + box.width / 2) * width, (box.ymin + box.height / 2) * height)
        boxes.append((centre[0] - size / 2, centre[1] - size / 2, size))
    return boxes


def _extent(points: Points3) -> float:
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    return float((high - low).max())


def _same_face(points: Points3, other: Points3) -> bool:
    """Whether two meshes cover one face: centres within half a face, sizes within 1.6 times."""
    sizes = sorted((_extent(points), _extent(other)))
    return _distance(points, other) < 0.5 * sizes[1] and sizes[1] < 1.6 * sizes[0]


def _distance(points: Points3, other: Points3) -> float:
    return float(np.linalg.norm(points[:, :2].mean(0) - other[:, :2].mean(0)))
