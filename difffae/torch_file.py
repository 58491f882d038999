"""Other people's checkpoints: what torch.save wrote, read without running anything from it.

Such files are pickles. torch's weights-only unpickler makes tensors and plain containers and
refuses all else; this is the only place that calls it. Our own weights are safetensors.
"""

import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from difffae.checkpoint import WeightsError

TORCH_SUFFIXES = (".pth", ".pt", ".ckpt", ".tar")


class _Stateless:
    """Stands in for a class that a file mentions beside its tensors; it keeps nothing."""


def read_torch_file(path: Path, *, ignored_classes: Sequence[str] = ()) -> object:
    """The content of a file that torch.save wrote, zip or legacy, on the CPU.

    Args:
        path: the file.
        ignored_classes: full names of classes whose objects may lie beside the tensors; they are
            replaced by empty ones.

    Raises:
        WeightsError: the file is missing, damaged, or holds more than tensors and containers.
    """
    if not path.is_file():
        raise WeightsError(f"no file at {path}; expected a checkpoint that torch.save wrote")
    names: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (_Stateless, name) for name in ignored_classes
    ]
    try:
        with torch.serialization.safe_globals(names):
            content: object = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except Exception as error:  # a damaged pickle may raise any, as Python's manual says
        refused = re.search(r"GLOBAL (\S+)", str(error))
        why = f"it names {refused[1]}" if refused else type(error).__name__
        raise WeightsError(
            f"{path} is damaged, or cannot be read without running code from it ({why}); "
            "fetch the file again"
        ) from error
    return content
