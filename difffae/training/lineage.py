"""Where the weights that one stage needs were left by another."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from difffae.checkpoint import load_module
from difffae.networks import build_decoder, build_encoder, build_identity_encoder
from difffae.training.config import Config


def raw_file(config: Config, run_directory: Path, name: str) -> Path:
    """The encoder or decoder that calibration starts from: of scale and place unknown yet."""
    if config.model.first_stage is None:
        return run_directory / "autoencoder" / f"{name}.safetensors"
    given = config.training.first_stage_weights
    is_kept = not config.training.retrain_first_stage
    folder = given if is_kept and given is not None else run_directory / "first_stage"
    return folder / f"{name}.safetensors"


def decoder_file(config: Config, run_directory: Path) -> Path:
    """The decoder that the joint stage's pictures go through."""
    folder = "decoder" if config.model.first_stage is None else "latents"
    return run_directory / folder / "decoder.safetensors"


def load_frozen(module: nn.Module, path: Path) -> nn.Module:
    """Load a network that an earlier stage trained, and freeze it.

    Raises:
        WeightsError: the file is missing or fits another network.
    """
    load_module(module, path)
    return module.requires_grad_(False).eval()


def load_decoder(config: Config, run_directory: Path) -> nn.Module:
    """The frozen decoder of either family.

    Raises:
        WeightsError: it has not been trained.
    """
    return load_frozen(build_decoder(config.model), decoder_file(config, run_directory))


def load_pair_encoder(config: Config, run_directory: Path) -> nn.Module:
    """The frozen encoder that the pairs' latents were made by.

    Raises:
        WeightsError: the stage latents has not run.
    """
    path = run_directory / "latents" / "encoder.safetensors"
    return load_frozen(build_encoder(config.model), path)


def load_identity_encoder(config: Config, run_directory: Path) -> nn.Module | None:
    """The frozen identity encoder: the stage's, or ArcFace from the user's own file.

    None in the ablation without the identity token.

    Raises:
        WeightsError: it has not been trained.
        LicensedFileError: ArcFace is asked for and its file cannot be used.
    """
    if not config.model.has_identity:
        return None
    encoder = build_identity_encoder(config.model)
    if config.model.identity.kind == "arcface":
        return encoder
    return load_frozen(encoder, run_directory / "identity" / "identity_encoder.safetensors")


def final_files(config: Config, run_directory: Path) -> Mapping[str, Path]:
    """The finished weights of every part that a model folder holds, by the part's name."""
    is_paper = config.model.first_stage is not None
    last = "joint" if is_paper else "polish"
    files = {
        "encoder": run_directory / "latents" / "encoder.safetensors",
        "decoder": decoder_file(config, run_directory)
        if is_paper
        else run_directory / "polish" / "decoder.safetensors",
        "region_encoder": run_directory / "joint" / "region_encoder.safetensors",
        "denoiser": run_directory / last / "denoiser.safetensors",
    }
    if config.model.face.rig == "facemesh":
        files["head_model"] = run_directory / "head_model" / "head_model.safetensors"
    if config.model.face.dense_motion is not None:
        files["dense_motion"] = run_directory / "dense_motion" / "dense_motion.safetensors"
    if config.model.has_identity and config.model.identity.kind == "small":
        files["identity_encoder"] = run_directory / "identity" / "identity_encoder.safetensors"
    return files
