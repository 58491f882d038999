"""What a face tracker does: a picture in, mesh points of its faces out."""

from typing import Protocol

import numpy as np

from difffae.arrays import ImageU8, Points3
from difffae.face.crop import TRACKING_TO_FACE, CropBox, box_around

_LOOKS = (
    *((0.94, -0.02, -0.02), (0.94, 0.02, 0.02)),
    *((1.0, -0.02, 0.02), (1.0, 0.02, -0.02)),
    *((1.06, -0.02, -0.02), (1.06, 0.02, 0.02)),
)  # of `measure`: size, and shift to the right and down [sizes of the tracker's input]
NUM_LOOKS = len(_LOOKS)


class FaceNotFoundError(ValueError):
    """No face where one is needed."""


class SeveralFacesError(ValueError):
    """More than one face where one is needed and none was picked."""


class Tracker(Protocol):
    """Finds the mesh points of faces."""

    def find_faces(self, image: ImageU8) -> list[Points3]:
        """Mesh points [px] of every face worth naming, left to right; empty when there is none."""
        ...

    def spot_faces(self, image: ImageU8) -> list[CropBox]:
        """Boxes of the faces near the camera: quick, for a look now and then; no mesh."""
        ...

    def track(self, image: ImageU8, previous: Points3 | None) -> Points3 | None:
        """Mesh points [px] of the face that `previous` belongs to, else of the one nearest to it.

        Without `previous`, of the largest face. The answer depends on the arguments alone: state
        over time is the caller's.
        """
        ...


def measure(tracker: Tracker, image: ImageU8, points: Points3) -> Points3:
    """Mesh points of a tracked face, less noisy: the mean of looks from a little beside it.

    For the few pictures that all others are measured from: it takes as long as six frames.

    Args:
        tracker: looks.
        image: the picture.
        points: what the tracker said of it.
    """
    box = box_around(points, factor=TRACKING_TO_FACE)
    middle = np.array([box.left + box.size / 2, box.top + box.size / 2, 0], np.float32)
    shifts = [box.size * np.array([right, down, 0], np.float32) for _, right, down in _LOOKS]
    starts = [
        np.asarray(middle + size * (points - middle) + shift, np.float32)
        for (size, _, _), shift in zip(_LOOKS, shifts, strict=True)
    ]
    seen = [again for start in starts if (again := tracker.track(image, start)) is not None]
    return np.asarray(np.mean(seen, 0), np.float32) if seen else points


def pick_face(faces: list[Points3], face: int | None) -> Points3:
    """The wanted one of the faces of a picture.

    Args:
        faces: mesh points of each face, left to right.
        face: which one, 1 the leftmost; None where only one is expected.

    Raises:
        FaceNotFoundError: there is none, or none of that number.
        SeveralFacesError: there are several and `face` is None.
    """
    if not faces:
        raise FaceNotFoundError("no face found: use a picture with one clear, roughly frontal face")
    if face is None and len(faces) > 1:
        raise SeveralFacesError(
            f"{len(faces)} faces found: pick one by its number from left to right, "
            f"1 to {len(faces)}"
        )
    number = 1 if face is None else face
    if not 1 <= number <= len(faces):
        raise FaceNotFoundError(f"face {number} asked for, but only {len(faces)} found")
    return faces[number - 1]
