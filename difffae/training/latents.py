"""Between the stages: measure the latents' scale; encode all pairs once for the joint stage."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from difffae.checkpoint import load_module, save_tensors
from difffae.data.shards import ShardContents, ShardReader, write_shard
from difffae.networks import build_encoder
from difffae.training.config import Config
from difffae.training.lineage import raw_encoder_file
from difffae.training.pictures import pair_batch

_CALIBRATION_SAMPLES = 256
_BATCH = 32
_PAIRS_PER_SHARD = 2000
log = logging.getLogger(__name__)


def calibrate_encoder(config: Config, run_directory: Path) -> None:
    """Write the trained encoder, its latents' mean and spread measured: latents/encoder."""
    encoder = build_encoder(config.model)
    load_module(encoder, raw_encoder_file(config, run_directory))
    reader = ShardReader(config.training.pairs, "pairs")
    count = min(_CALIBRATION_SAMPLES, len(reader))
    indices = np.linspace(0, len(reader) - 1, count).astype(np.int64)
    encoder.eval().calibrate(pair_batch(reader, indices)["target"])
    folder = run_directory / "latents"
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("latents-*.safetensors"):
        stale.unlink()
    save_tensors(folder / "encoder.safetensors", encoder.state_dict(), {})


def encode_pairs(config: Config, run_directory: Path) -> None:
    """Encode target, composite and source of all pairs; shards already there are kept."""
    folder = run_directory / "latents"
    encoder = build_encoder(config.model)
    load_module(encoder, folder / "encoder.safetensors")
    encoder.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    reader = ShardReader(config.training.pairs, "pairs")
    for start in range(0, len(reader), _PAIRS_PER_SHARD):
        path = folder / f"latents-{start:07d}.safetensors"
        if path.exists():
            continue
        rows = np.arange(start, min(start + _PAIRS_PER_SHARD, len(reader)))
        parts = list(_encoded(encoder, reader, rows))
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        write_shard(path, ShardContents(pictures={}, arrays=arrays, labels={}))
        log.info("%s", path)


def _encoded(
    encoder: nn.Module, reader: ShardReader, rows: NDArray[np.int64]
) -> Iterator[dict[str, NDArray[Any]]]:
    for begin in range(0, len(rows), _BATCH):
        batch = pair_batch(reader, rows[begin : begin + _BATCH])
        names = ("target", "composite", "source")
        pictures = [batch[name].to(memory_format=torch.channels_last) for name in names]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            latents = [encoder(picture).float().half().numpy() for picture in pictures]
        part = dict(zip(names, latents, strict=True))
        size = part["target"].shape[-1]
        masks = F.interpolate(batch["masks"], size=(size, size), mode="area")
        part["masks"] = (masks * 255).round().to(torch.uint8).numpy()
        yield part
