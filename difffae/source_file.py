"""A source in, two files of a folder out, and back: safetensors for arrays, JSON for numbers.

The portrait itself is not among them: who reads a source has it at hand.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from difffae.arrays import ImageU8
from difffae.checkpoint import load_tensors, save_tensors
from difffae.face.appearance import Appearance
from difffae.face.crop import CropBox
from difffae.face.layers import Layers
from difffae.face.morphable import FittedFace
from difffae.face.parameters import FaceParameters
from difffae.face.source_face import SourceFace
from difffae.generator import SourceTokens
from difffae.source import Source

_ARRAYS = "arrays.safetensors"
_NUMBERS = "numbers.json"
_PARAMETERS = ("shape", "expression", "gaze", "rotation", "translation")
_LAYERS = ("portrait", "person", "plate", "skin_colour")
_TOKENS = ("slots", "slot_masks", "identity", "latent")


def write_source(folder: Path, source: Source) -> None:
    """Write all of a source but its portrait to an empty folder.

    Raises:
        OSError: the folder cannot be written.
    """
    fitted, appearance = source.face.fitted, source.face.appearance
    arrays = {
        "points": source.points,
        "residual": fitted.residual,
        "lighting": appearance.lighting,
        **_parts("parameters", fitted.parameters, _PARAMETERS),
        **_parts("small", source.face.layers, _LAYERS),
    }
    for name in ("albedo", "detail"):
        if (value := getattr(appearance, name)) is not None:
            arrays[name] = value
    if source.layers is not source.face.layers:
        arrays |= _parts("large", source.layers, _LAYERS)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in arrays.items()}
    save_tensors(folder / _ARRAYS, tensors | _parts("tokens", source.tokens, _TOKENS), {})
    box = source.crop_box
    told = {"box": [box.left, box.top, box.size], "scale": fitted.parameters.scale}
    (folder / _NUMBERS).write_text(json.dumps(told), "utf-8")


def read_source(folder: Path, image: ImageU8, digest: str, device: torch.device) -> Source:
    """Read what `write_source` wrote.

    Args:
        folder: of the files; whoever calls has made sure that they are whole and our own.
        image: the portrait that the source was encoded from.
        digest: of the portrait, as `difffae.source.digest_of` gives it.
        device: where the networks' part goes.

    Raises:
        ValueError: a file is missing or not what was written.
    """
    try:
        # Copies: what is read is the file's own memory, which follows the file where it changes.
        tensors = {name: x.clone() for name, x in load_tensors(folder / _ARRAYS).items()}
        told = json.loads((folder / _NUMBERS).read_text("utf-8"))
        left, top, size = told["box"]
        small = Layers(**_picked("small", tensors, _LAYERS))
        has_large = f"large.{_LAYERS[0]}" in tensors
        parameters = FaceParameters(
            scale=told["scale"], **_picked("parameters", tensors, _PARAMETERS)
        )
        appearance = {n: tensors[n].numpy() for n in ("albedo", "detail") if n in tensors}
        return Source(
            image=image,
            crop_box=CropBox(left=left, top=top, size=size),
            points=tensors["points"].numpy(),
            face=SourceFace(
                fitted=FittedFace(parameters=parameters, residual=tensors["residual"].numpy()),
                appearance=Appearance(lighting=tensors["lighting"].numpy(), **appearance),
                layers=small,
            ),
            layers=Layers(**_picked("large", tensors, _LAYERS)) if has_large else small,
            tokens=SourceTokens(**{n: tensors[f"tokens.{n}"].to(device) for n in _TOKENS}),
            digest=digest,
        )
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(
            f"got no source in {folder}: {error!r}; expected {_ARRAYS} and {_NUMBERS} as written: "
            "encode the portrait again"
        ) from error


def _parts(prefix: str, value: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Some attributes of a value, by their names after a prefix."""
    return {f"{prefix}.{name}": getattr(value, name) for name in names}


def _picked(prefix: str, tensors: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Any]:
    """The arrays that `_parts` named."""
    return {name: tensors[f"{prefix}.{name}"].numpy() for name in names}
