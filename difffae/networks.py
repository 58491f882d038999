"""Every network of a model by the name of its weight file: built from its configuration, filled."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from difffae.checkpoint import load_module
from difffae.config import ModelConfig
from difffae.face.dense_motion import DenseMotionNetwork
from difffae.model.autoencoder import Decoder, Encoder
from difffae.model.denoiser import Denoiser
from difffae.model.first_stage import FirstStageDecoder, FirstStageEncoder
from difffae.model.identity_encoder import SmallIdentityEncoder
from difffae.model.region_encoder import RegionEncoder


class _Undrawn(TorchFunctionMode):
    """Leave new weights as they are: those of a file take their place."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function, unless it is one of `torch.nn.init`, which all give their tensor."""
        given = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def build_encoder(config: ModelConfig) -> Encoder | FirstStageEncoder:
    """The encoder of either family: images to calibrated latents."""
    if config.first_stage is not None:
        return FirstStageEncoder(config.first_stage)
    return Encoder(config.autoencoder)


def build_decoder(config: ModelConfig) -> Decoder | FirstStageDecoder:
    """The decoder of either family: latents to images and alpha."""
    if config.first_stage is not None:
        return FirstStageDecoder(config.first_stage)
    return Decoder(config.autoencoder)


def build_identity_encoder(config: ModelConfig) -> nn.Module:
    """The identity encoder: the small one, without weights, or ArcFace from the user's file.

    Raises:
        LicensedFileError: ArcFace is asked for and its file cannot be used.
    """
    if config.identity.kind == "arcface":
        from difffae.face.arcface import load_arcface

        return load_arcface(config.face.licensed.arcface, width=config.identity.width)
    return SmallIdentityEncoder(config.identity)


def build_networks(config: ModelConfig) -> Mapping[str, nn.Module]:
    """Every network that has a weight file, newly built, by the file's name."""
    networks: dict[str, nn.Module] = {
        "encoder": build_encoder(config),
        "decoder": build_decoder(config),
        "region_encoder": RegionEncoder(config.region_encoder),
        "denoiser": Denoiser(config.denoiser),
    }
    if config.has_identity and config.identity.kind == "small":
        networks["identity_encoder"] = SmallIdentityEncoder(config.identity)
    if config.face.dense_motion is not None:
        networks["dense_motion"] = DenseMotionNetwork(config.face.dense_motion, config.image_size)
    return networks


def load_networks(
    folder: Path, config: ModelConfig, hashes: Mapping[str, str]
) -> Mapping[str, nn.Module]:
    """Build a model's networks with the weights of a folder.

    Args:
        folder: holds NAME.safetensors of each network.
        config: the model.
        hashes: expected SHA-256 by file name, as far as known.

    Returns:
        The networks by name; without an identity encoder where the model has no identity token.

    Raises:
        WeightsError: a file is missing, damaged, of another model or of another hash.
        LicensedFileError: ArcFace is asked for and its file cannot be used.
    """
    with torch.device("meta"), _Undrawn():  # to draw weights first took longer than to read them
        networks = build_networks(config)
    for name, network in networks.items():
        file = f"{name}.safetensors"
        load_module(network, folder / file, expected_sha256=hashes.get(file))
    if config.has_identity and config.identity.kind == "arcface":
        return {**networks, "identity_encoder": build_identity_encoder(config)}
    return networks
