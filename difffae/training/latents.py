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
from difffae.model.first_stage import FirstStageDecoder, FirstStageEncoder
from difffae.networks import build_encoder
from difffae.training.config import Config
from difffae.training.lineage import raw_file
from difffae.training.pictures import pair_batch

_CALIBRATION_SAMPLES = 256
_BATCH = 32
_PAIRS_PER_SHARD = 2000
log = logging.getLogger(__name__)


def calibrate_encoder(config: Config, run_directory: Path) -> None:
    """Write the trained encoder, its latents' mean and spread measured: latents/encoder.

    The paper's decoder quantises latents as its encoder gave them (model.md 1.8), so that it is
    written too, with the same scale to undo: latents/decoder.
    """
    encoder = build_encoder(config.model)
    load_module(encoder, raw_file(config, run_directory, "encoder"))
    reader = ShardReader(config.training.pairs, "pairs")
    count = min(_CALIBRATION_SAMPLES, len(reader))
    indices = np.linspace(0, len(reader) - 1, count).astype(np.int64)
    encoder.eval().calibrate(pair_batch(reader, indices)["target"])
    folder = run_directory / "latents"
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("latents-*.safetensors"):
        stale.unlink()
    if isinstance(encoder, FirstStageEncoder) and config.model.first_stage is not None:
        decoder = FirstStageDecoder(config.model.first_stage)
        load_module(decoder, raw_file(config, run_directory, "decoder"))
        decoder.adopt_scale(encoder)
        save_tensors(folder / "decoder.safetensors", decoder.state_dict(), {})
    save_tensors(folder / "encoder.safetensors", encoder.state_dict(), {})


def encode_pairs(config: Config, run_directory: Path) -> None:
    """Encode target, composite and source of all pairs; shards already there are kept."""
    folder = run_directory / "latents"
    encoder = build_encoder(config.model)
    load_module(encoder, folder / "encoder.safetensors")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    reader = ShardReader(config.training.pairs, "pairs")
    for start in range(0, len(reader), _PAIRS_PER_SHARD):
        path = folder / f"latents-{start:07d}.safetensors"
        if path.exists():
            continue
        rows = np.arange(start, min(start + _PAIRS_PER_SHARD, len(reader)))
        parts = list(_encoded(encoder, reader, rows, device))
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        write_shard(path, ShardContents(pictures={}, arrays=arrays, labels={}))
        log.info("%s", path)


def _encoded(
    encoder: nn.Module, reader: ShardReader, rows: NDArray[np.int64], device: torch.device
) -> Iterator[dict[str, NDArray[Any]]]:
    for begin in range(0, len(rows), _BATCH):
        batch = pair_batch(reader, rows[begin : begin + _BATCH])
        names = ("target", "composite", "source")
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            latents = [
                encoder(batch[name].to(device, memory_format=torch.channels_last)).half().cpu()
                for name in names
            ]
        part = {name: latent.numpy() for name, latent in zip(names, latents, strict=True)}
        size = part["target"].shape[-1]
        masks = F.interpolate(batch["masks"], size=(size, size), mode="area")
        part["masks"] = (masks * 255).round().to(torch.uint8).numpy()
        yield part
