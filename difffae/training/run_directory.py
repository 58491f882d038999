"""A stage's files: checkpoints, exported weights and samples; never a half-written file."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from difffae.checkpoint import (
    WeightsError,
    load_metadata,
    load_tensors,
    save_tensors,
    write_atomically,
)

_LOGGER = logging.getLogger(__name__)
_STATE_KEY = "state"
_NUM_KEPT = 2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One readable checkpoint: named tensors, and the rest as JSON values."""

    path: Path
    tensors: dict[str, Tensor]
    state: dict[str, Any]

    @property
    def step(self) -> int:
        """Number of finished steps."""
        return int(self.state["step"])


class RunDirectory:
    """Files of one stage under `<root>/<stage>/`.

    `checkpoint-<step>.safetensors` (the last two), `<network>.safetensors` (averaged weights),
    `metrics.jsonl`, `samples/step-<step>.png` and TensorBoard's event files.
    """

    def __init__(self, root: Path, stage: str) -> None:
        """Name the folder; `create` makes it."""
        self.folder = root / stage

    def create(self) -> None:
        """Make the folders and drop what a killed process left half-written."""
        (self.folder / "samples").mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.rglob(".*.partial"):
            leftover.unlink()

    def set_aside(self) -> None:
        """Rename an earlier run of this stage, so that a fresh one starts from nothing."""
        if not self.folder.exists():
            return
        number = 1
        while (target := self.folder.with_name(f"{self.folder.name}.old-{number}")).exists():
            number += 1
        self.folder.rename(target)
        _LOGGER.info("earlier run kept in %s", target)

    @property
    def metrics_path(self) -> Path:
        """The rows of logged losses, one JSON object a line."""
        return self.folder / "metrics.jsonl"

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
        """Write a checkpoint, then drop all but the last two."""
        path = self.folder / f"checkpoint-{state['step']:09d}.safetensors"
        save_tensors(path, tensors, {_STATE_KEY: json.dumps(state)})
        for old in self.checkpoint_paths()[:-_NUM_KEPT]:
            old.unlink()
        return path

    def latest_step(self) -> int:
        """Finished steps of the newest checkpoint by its name; 0 when there is none."""
        paths = self.checkpoint_paths()
        return int(paths[-1].stem.partition("-")[2]) if paths else 0

    def checkpoint_paths(self) -> list[Path]:
        """Checkpoints present, oldest first."""
        return sorted(self.folder.glob("checkpoint-*.safetensors"))

    def kept(self) -> str:
        """Which checkpoint a failed run can go on from, as a part of a sentence."""
        paths = self.checkpoint_paths()
        return f"the last good checkpoint is {paths[-1]}" if paths else "no checkpoint exists yet"

    def load_latest(self) -> Checkpoint | None:
        """The newest checkpoint that reads; None when there is none at all.

        Raises:
            WeightsError: Checkpoints are present and none of them reads.
        """
        paths = self.checkpoint_paths()
        for path in reversed(paths):
            try:
                return _read_checkpoint(path)
            except (WeightsError, KeyError, json.JSONDecodeError) as error:
                _LOGGER.warning("%s does not read (%s); trying the one before", path, error)
        if paths:
            raise WeightsError(
                f"got {len(paths)} unreadable checkpoints in {self.folder}, expected a readable "
                "one; start afresh (--fresh) or restore the folder"
            )
        return None

    def export(self, tensors: Mapping[str, Tensor]) -> None:
        """Write weights named `<network>.<weight>` to `<network>.safetensors` each."""
        networks: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            network, _, weight = name.partition(".")
            networks.setdefault(network, {})[weight] = tensor
        for network, weights in networks.items():
            save_tensors(self.folder / f"{network}.safetensors", weights, {})

    def write_sample(self, step: int, picture: NDArray[np.uint8]) -> Path:
        """Write a sample grid, (H, W, 3) RGB, as PNG.

        Raises:
            ValueError: The picture is no (H, W, 3) uint8 array.
        """
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(
                f"got a sample grid {picture.dtype} {picture.shape}, expected uint8 (H, W, 3)"
            )
        import cv2

        path = self.folder / "samples" / f"step-{step:09d}.png"
        _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        write_atomically(path, encoded.tobytes())
        return path


def _read_checkpoint(path: Path) -> Checkpoint:
    state = json.loads(load_metadata(path)[_STATE_KEY])
    return Checkpoint(path=path, tensors=load_tensors(path), state=state)
