"""Where the face is: an own MediaPipe mesh, independent of the pipeline's tracker."""

import numpy as np

from difffae.arrays import ImageU8, Points3


class LandmarkMeter:
    """MediaPipe face mesh in static mode, so that a frame's points depend on that frame alone.

    Keep one object in a process: each holds native graphs that are not freed.
    """

    def __init__(self) -> None:
        from mediapipe.python.solutions.face_mesh import FaceMesh

        self._mesh = FaceMesh(
            static_image_mode=True,
            refine_landmarks=True,
            max_num_faces=1,
            min_detection_confidence=0.3,
        )

    def points(self, image: ImageU8) -> Points3 | None:
        """The 478 mesh points [px] of the face, irises last; None where no face is found."""
        faces = self._mesh.process(np.ascontiguousarray(image)).multi_face_landmarks
        if not faces:
            return None
        height, width = image.shape[:2]
        points = np.array([(p.x, p.y, p.z) for p in faces[0].landmark], np.float32)
        return points * np.array([width, height, width], np.float32)
