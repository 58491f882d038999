"""A small model of random weights in a folder, as `load_pipeline` wants it."""

import shutil
from pathlib import Path

import torch
import yaml

from difffae.checkpoint import save_tensors
from difffae.config import read_model_config
from difffae.networks import build_networks
from face_media import head_model_file

MODEL = {
    "image_size": 256,
    "region_size": 64,
    "sees_source": True,
    "autoencoder": {
        "latent_channels": 4,
        "patch": 4,
        "channels": 8,
        "multipliers": [1, 2],
        "encoder_blocks": 1,
        "decoder_blocks": [1, 1],
        "condition_channels": 6,
        "groups": 4,
    },
    "region_encoder": {
        "patch": 8,
        "channels": 8,
        "multipliers": [1, 2],
        "num_blocks": 1,
        "num_heads": 2,
        "out_channels": 16,
        "num_slots": 4,
        "slot_width": 16,
        "groups": 4,
    },
    "denoiser": {
        "latent_channels": 4,
        "condition_channels": 11,
        "channels": 8,
        "multipliers": [1, 2],
        "num_blocks": 1,
        "num_heads": 2,
        "attention_sizes": [16],
        "latent_size": 32,
        "slot_width": 16,
        "identity_width": 16,
        "groups": 4,
    },
    "identity": {"width": 16, "channels": 8, "groups": 4},
    "parameterization": {"kind": "prior", "prior_spread": 0.6},
}


def write_random_model(folder: Path) -> Path:
    """Fill a folder with a model no layer of which is zero; skips where no head model is trained.

    Returns:
        The folder.
    """
    shutil.copyfile(head_model_file(), folder / "head_model.safetensors")
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": MODEL}), "utf-8")
    write_random_networks(folder)
    return folder


def write_random_networks(folder: Path) -> None:
    """Write every network of a folder's config.yaml, no layer of which is zero."""
    torch.manual_seed(0)
    for name, network in build_networks(read_model_config(folder / "config.yaml")).items():
        for parameter in network.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
        save_tensors(folder / f"{name}.safetensors", network.state_dict(), {})
