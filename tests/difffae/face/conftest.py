"""A tracked portrait and the trained head model, for all tests of the face."""

from pathlib import Path

import pytest

from difffae.face.crop import CropBox
from difffae.face.facemesh import FaceMeshModel
from difffae.face.mediapipe import MediaPipeTracker
from difffae.face.motion import Stage
from difffae.face.source_face import SourceFace, build_source_face
from face_media import TrackedPortrait, load_head_model, shared_tracker, tracked_portrait
from plain_motion import face


@pytest.fixture(scope="session")
def tracker() -> MediaPipeTracker:
    """The default tracker."""
    return shared_tracker()


@pytest.fixture(scope="session")
def tracked(portrait: Path) -> TrackedPortrait:
    """A synthetic person's face crop, 256×256, with its points and mask."""
    return tracked_portrait(portrait)


@pytest.fixture(scope="session")
def head_model() -> FaceMeshModel:
    """The trained head model; skipped where there is none."""
    return load_head_model()


@pytest.fixture(scope="session")
def source_face(tracked: TrackedPortrait, head_model: FaceMeshModel) -> SourceFace:
    """The tracked portrait taken apart."""
    return build_source_face(tracked.image, tracked.points, tracked.person, head_model)


@pytest.fixture
def stage() -> Stage:
    """A portrait of 200×200 pixels that is its own crop, at the crop's own size."""
    box = CropBox(left=0, top=0, size=200)
    return Stage(face=face(90, 110, 50), box=box, height=200, width=200, crop_size=200)
