"""Is it the same person: a picture and its mesh points in, an embedding of unit length out."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import cv2
import numpy as np
import onnxruntime
import torch
from jaxtyping import Float, Float32, UInt8
from numpy.typing import NDArray
from skimage.transform import estimate_transform

from difffae.arrays import ImageU8, Points3
from difffae.face.arcface import load_arcface

ALIGNED_SIZE_PX = 112
ARCFACE_PACKS: Mapping[str, str] = MappingProxyType(
    {"buffalo_l": "w600k_r50", "antelopev2": "glintr100"}
)
# ArcFace's template in the 112 x 112 crop (model.md section 4): eyes, nose tip, mouth corners,
# image-left before image-right.
TEMPLATE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
# Mesh points whose means are the template's. Eye corners: gaze and blinks do not move the crop.
MESH_OF_TEMPLATE = ((33, 133), (362, 263), (4,), (61,), (291,))

FivePoints = Float32[NDArray[np.float32], "5 2"]
AlignedFace = UInt8[NDArray[np.uint8], "112 112 3"]
Embedding = Float32[NDArray[np.float32], " width"]


def five_points(points: Points3) -> FivePoints:
    """Eyes, nose tip and mouth corners [px] from the 478 mesh points."""
    return np.stack([points[list(indices), :2].mean(0) for indices in MESH_OF_TEMPLATE])


def alignment(points: FivePoints) -> Float[NDArray[np.float64], "2 3"]:
    """The similarity that moves five points onto the template in least squares (Umeyama)."""
    transform = estimate_transform("similarity", points, np.array(TEMPLATE))  # type: ignore[no-untyped-call]
    return np.asarray(transform.params[:2], np.float64)


def align(image: ImageU8, points: Points3) -> AlignedFace:
    """The face cut out upright at 112 x 112, black where the picture ends."""
    matrix = alignment(five_points(points))
    size = (ALIGNED_SIZE_PX, ALIGNED_SIZE_PX)
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)


class FaceEmbedder(Protocol):
    """A picture and its mesh points in, an embedding of unit length out."""

    @property
    def name(self) -> str:
        """What a report calls it."""
        ...

    def embed(self, image: ImageU8, points: Points3) -> Embedding:
        """The embedding, of unit length, of the face at these mesh points."""
        ...


class ArcFaceEmbedder:
    """The paper's embedder, from the user's insightface pack."""

    def __init__(self, pack: str) -> None:
        """Open a pack.

        Raises:
            LicensedFileError: the pack is not where insightface keeps it, or is damaged.
        """
        self.name = f"ArcFace, insightface {pack} ({ARCFACE_PACKS[pack]})"
        self._encoder = load_arcface(pack)

    def embed(self, image: ImageU8, points: Points3) -> Embedding:
        """See `FaceEmbedder.embed`."""
        pixels = torch.from_numpy(align(image, points)).permute(2, 0, 1)[None]
        token = self._encoder(pixels.float() / 127.5 - 1)[0].numpy()
        return np.asarray(token / max(float(np.linalg.norm(token)), 1e-12), np.float32)


def load_embedder(name: str) -> FaceEmbedder:
    """The embedder of a name: a pack of insightface, or the path of an ONNX file.

    Raises:
        ValueError: the file is missing, no ONNX, or takes another input.
    """
    return ArcFaceEmbedder(name) if name in ARCFACE_PACKS else Embedder(Path(name))


class Embedder:
    """A face embedder in an ONNX file: 1x3x112x112 RGB (x - 127.5) / 128 in, 1 x width out."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            ValueError: the file is missing, no ONNX, or takes another input.
        """
        self.name = path.stem
        if not path.is_file():
            raise ValueError(
                f"Got no embedder at {path}: give an ONNX file with --weights-embedder"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except (
            onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf,
            onnxruntime.capi.onnxruntime_pybind11_state.Fail,
        ) as error:
            raise ValueError(f"Got a file that is not an ONNX model: {path}") from error
        entry = self._session.get_inputs()[0]
        if list(entry.shape[1:]) != [3, ALIGNED_SIZE_PX, ALIGNED_SIZE_PX]:
            raise ValueError(f"Got an embedder for {entry.shape} but expected 1x3x112x112: {path}")
        self._input_name = entry.name

    def embed_aligned(self, aligned: AlignedFace) -> Embedding:
        """The embedding, of unit length, of an aligned 112 x 112 face."""
        values = (aligned.astype(np.float32) - 127.5) / 128
        batch = np.ascontiguousarray(values.transpose(2, 0, 1)[None])
        (answer,) = self._session.run(None, {self._input_name: batch})
        embedding = np.asarray(answer, np.float32)[0]
        length = max(float(np.linalg.norm(embedding)), 1e-12)
        return np.asarray(embedding / length, np.float32)

    def embed(self, image: ImageU8, points: Points3) -> Embedding:
        """The embedding, of unit length, of the face at these mesh points."""
        return self.embed_aligned(align(image, points))


def cosine(embedding: Embedding, other: Embedding) -> float:
    """Cosine of two embeddings of unit length: 1 the same face, about 0 strangers."""
    return float(embedding @ other)
