"""Portraits in, sources out; those encoded before come from the disk, for runs that start anew.

An entry lies in the cache folder (see `difffae.runtime.cache`), is read only where owner, key and
every byte are as written, and goes when others have been used since; no pickle is among its files.
Its name covers the portrait's pixels, which face of it, all files of the model that have a part in
encoding, the code, the machine, and the versions of the libraries that find faces and compute.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import torch

from difffae.arrays import ImageU8
from difffae.config import ModelConfig
from difffae.pipeline import Pipeline
from difffae.runtime.entries import open_entry
from difffae.runtime.machine import machine_facts
from difffae.source import Source, digest_of
from difffae.source_file import read_source, write_source

_KIND = "sources"
_MODEL_FILES = ("config.yaml", "encoder", "region_encoder", "identity_encoder", "head_model")


class SourceCache:
    """Encodes portraits for one loaded model, each of them once.

    A model that reads licensed files from elsewhere (FLAME, ArcFace) always encodes: what those
    files hold is not part of the name.

    Args:
        pipeline: encodes what is not there yet.
        folder: of the model that it was loaded from.
        device: where its networks run.
        settings: what else decides how they compute, such as runtime and precision.
    """

    def __init__(
        self, pipeline: Pipeline, folder: Path, *, device: str, settings: tuple[str, ...]
    ) -> None:
        self._pipeline = pipeline
        self._folder = folder
        self._device = torch.device(device)
        self._settings = settings

    def encode_source(self, image: ImageU8, *, face: int | None = None) -> Source:
        """The portrait's source, as `Pipeline.encode_source` gives it, bit for bit.

        Args:
            image: the portrait.
            face: which face, counted from 1 at the left; None where it shows one.

        Raises:
            FaceNotFoundError: it shows none, or none of that number.
            SeveralFacesError: it shows several and `face` is None.
            OSError: neither the cache nor a temporary folder can be written.
        """
        if not _is_self_contained(self._pipeline.config):
            return self._pipeline.encode_source(image, face=face)
        digest = digest_of(image)

        def fill(folder: Path) -> None:
            write_source(folder, self._pipeline.encode_source(image, face=face))

        facts = json.dumps([self._model_digest, digest, image.shape, face])
        key = hashlib.sha256(facts.encode()).hexdigest()
        with open_entry(_KIND, key, fill) as entry:
            return read_source(entry, image, digest, self._device)

    @cached_property
    def _model_digest(self) -> str:
        """Of everything but the portrait."""
        digest = hashlib.sha256()
        for name in _MODEL_FILES:
            path = self._folder / (name if "." in name else f"{name}.safetensors")
            digest.update(f"{name} ".encode())
            if path.is_file():
                digest.update(path.read_bytes())
        for path in _code():
            digest.update(path.read_bytes())
        libraries = (version("mediapipe"), cv2.__version__, np.__version__)
        machine = (*machine_facts(self._device), torch.backends.cpu.get_cpu_capability())
        digest.update(json.dumps([*libraries, *machine, *self._settings]).encode())
        return digest.hexdigest()


def _is_self_contained(config: ModelConfig) -> bool:
    """Whether all that encodes a portrait lies in the model's folder or in packages."""
    is_arcface = config.has_identity and config.identity.kind == "arcface"
    return config.face.rig == "facemesh" and not is_arcface


def _code() -> Iterator[Path]:
    """The Python files that have a part in encoding."""
    package = Path(__file__).parent
    for folder in (package, package / "face", package / "model"):
        yield from sorted(folder.glob("*.py"))
