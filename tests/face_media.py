"""Real faces for tests: a portrait tracked once, the trained head model, frames of a clip."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.arrays import ImageU8, MaskF32, Points3
from difffae.checkpoint import load_tensors
from difffae.face.crop import crop, portrait_box
from difffae.face.facemesh import FaceMeshModel
from difffae.face.mediapipe import MediaPipeTracker, PersonSegmenter

ROOT = Path(__file__).resolve().parents[1]
HEAD_MODELS = (
    ROOT / "difffae" / "weights" / "lite-256" / "head_model.safetensors",
    ROOT / "runs" / "lite-256" / "head_model" / "head_model.safetensors",
)
CROP_SIZE_PX = 256


@dataclass(frozen=True, kw_only=True)
class TrackedPortrait:
    """A square crop of a portrait, its mesh points in the crop's pixels, its person's mask."""

    image: ImageU8
    points: Points3
    person: MaskF32


@cache
def shared_tracker() -> MediaPipeTracker:
    """One tracker for all tests: MediaPipe's graphs are slow to build."""
    return MediaPipeTracker()


def head_model_file() -> Path:
    """The trained head model's file; skips the test where there is none."""
    for path in HEAD_MODELS:
        if path.is_file():
            return path
    pytest.skip(f"no head model at {HEAD_MODELS[0]}: train the stage head_model first")


def load_head_model() -> FaceMeshModel:
    """The trained head model; skips the test where there is none."""
    return FaceMeshModel(head_model_tensors())


def head_model_tensors() -> dict[str, NDArray[Any]]:
    """What the trained head model is made of; skips the test where there is none."""
    return {name: tensor.numpy() for name, tensor in load_tensors(head_model_file()).items()}


def tracked_tensors() -> dict[str, NDArray[Any]]:
    """The same without what it has learned of skin: a face is where its points are tracked."""
    return {name: each for name, each in head_model_tensors().items() if name != "skin_motion"}


def read_picture(path: Path, side: int) -> ImageU8:
    """A square picture, RGB, at this size."""
    image = cv2.imread(str(path))
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[..., ::-1], np.uint8)


def read_frames(path: Path, stride: int) -> list[ImageU8]:
    """Every n-th frame of a video."""
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [np.asarray(image, np.uint8) for image in decoded[::stride]]


@cache
def tracked_portrait(path: Path) -> TrackedPortrait:
    """The crop of a portrait, as `Pipeline.encode_source` makes it."""
    image = read_picture(path, 512)
    points = shared_tracker().find_faces(image)[0]
    box = portrait_box(points, *image.shape[:2])
    patch = crop(image, box, CROP_SIZE_PX)
    again = shared_tracker().track(patch, box.to_crop(points, CROP_SIZE_PX))
    assert again is not None
    return TrackedPortrait(image=patch, points=again, person=PersonSegmenter().segment(patch))
