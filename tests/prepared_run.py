"""A run ready for its joint stage without training: networks as they are built, real latents."""

from pathlib import Path

import torch
from torch import nn

from difffae.checkpoint import save_tensors
from difffae.model.autoencoder import Decoder, Encoder
from difffae.model.identity_encoder import SmallIdentityEncoder
from difffae.model.region_encoder import BroadcastDecoder, RegionEncoder
from difffae.training.config import Config
from difffae.training.latents import calibrate_encoder, encode_pairs


def prepare_run(config: Config, folder: Path) -> None:
    """Leave in the folder what the stages before `joint` leave."""
    torch.manual_seed(0)
    autoencoder = config.model.autoencoder
    save(folder / "autoencoder" / "encoder", Encoder(autoencoder))
    save(folder / "autoencoder" / "decoder", Decoder(autoencoder))
    save(folder / "decoder" / "decoder", Decoder(autoencoder))
    save(folder / "identity" / "identity_encoder", SmallIdentityEncoder(config.model.identity))
    save_regions(config, folder)
    calibrate_encoder(config, folder)
    encode_pairs(config, folder)


def save_regions(config: Config, folder: Path) -> None:
    """Leave a region encoder and its painter of the configuration's own kind and size."""
    torch.manual_seed(0)
    regions = config.model.region_encoder
    painter = BroadcastDecoder(regions.slot_width, regions.learning)
    save(folder / "regions" / "region_encoder", RegionEncoder(regions))
    save(folder / "regions" / "broadcast_decoder", painter)


def save(path: Path, network: nn.Module) -> None:
    """Write a network's weights as a stage does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(path.with_suffix(".safetensors"), network.state_dict(), {})
