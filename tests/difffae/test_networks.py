"""Every network of a model, built from its configuration."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from difffae.checkpoint import WeightsError, load_tensors
from difffae.config import ModelConfig, read_model_config
from difffae.face.config import FaceConfig
from difffae.face.dense_motion import DenseMotionConfig
from difffae.face.licensed import LicensedFileError
from difffae.generator import Generator, Placement
from difffae.model.autoencoder import Decoder, Encoder
from difffae.model.first_stage import FirstStageDecoder, FirstStageEncoder
from difffae.networks import (
    build_decoder,
    build_encoder,
    build_identity_encoder,
    build_networks,
    load_networks,
)


@pytest.fixture(scope="module")
def paper(repository: Path) -> ModelConfig:
    return read_model_config(repository / "configs" / "tiny-paper.yaml")


@pytest.fixture(scope="module")
def tiny(repository: Path) -> ModelConfig:
    return read_model_config(repository / "configs" / "tiny.yaml")


def test_either_family_of_autoencoders_is_built(paper: ModelConfig, tiny: ModelConfig) -> None:
    assert isinstance(build_encoder(paper), FirstStageEncoder)
    assert isinstance(build_decoder(paper), FirstStageDecoder)
    assert isinstance(build_encoder(tiny), Encoder)
    assert isinstance(build_decoder(tiny), Decoder)


@pytest.mark.parametrize("name", ["tiny", "tiny-paper"])
def test_both_families_take_and_give_the_same_shapes(repository: Path, name: str) -> None:
    model = read_model_config(repository / "configs" / f"{name}.yaml")
    image = torch.rand(1, 3, 256, 256) * 2 - 1
    latent = build_encoder(model)(image)
    assert latent.shape == (1, model.denoiser.latent_channels, 32, 32)
    decoded, alpha = build_decoder(model)(latent)
    assert decoded.shape == image.shape
    assert alpha.shape == (1, 1, 256, 256)


def test_a_model_has_a_weight_file_for_each_network(paper: ModelConfig) -> None:
    names = {"encoder", "decoder", "region_encoder", "denoiser", "identity_encoder"}
    assert set(build_networks(paper)) == names
    licensed = replace(paper, identity=replace(paper.identity, kind="arcface"))
    assert set(build_networks(licensed)) == names - {"identity_encoder"}


def test_dense_motion_is_a_weight_file_where_the_configuration_has_it(paper: ModelConfig) -> None:
    face = FaceConfig(dense_motion=DenseMotionConfig(channels=8))
    assert set(build_networks(replace(paper, face=face))) - set(build_networks(paper)) == {
        "dense_motion"
    }


def test_arcface_without_a_file_is_refused(paper: ModelConfig) -> None:
    licensed = replace(paper, identity=replace(paper.identity, kind="arcface"))
    with pytest.raises(LicensedFileError, match=r"face\.licensed\.arcface"):
        build_identity_encoder(licensed)


def test_a_missing_weight_file_is_named(paper: ModelConfig, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"encoder\.safetensors"):
        load_networks(tmp_path, paper, {})


def test_without_an_identity_token_no_identity_encoder_is_asked_for(paper: ModelConfig) -> None:
    """The ablation must not need a licensed file that it does not use."""
    denoiser = replace(paper.denoiser, identity_width=0)
    identity = replace(paper.identity, kind="arcface")
    ablated = replace(paper, denoiser=denoiser, identity=identity)
    networks = build_networks(ablated)
    assert "identity_encoder" not in networks
    generator = Generator(ablated, networks, placement=Placement(runtime="eager"))
    image = np.full((256, 256, 3), 90, np.uint8)
    tokens = generator.encode_source(image, np.zeros((112, 112, 3), np.uint8))
    assert tokens.identity.abs().max() == 0
    assert tokens.slots.shape == (1, 4, 48)


def test_one_global_token_reaches_the_compiled_denoiser(paper: ModelConfig) -> None:
    regions = replace(paper.region_encoder, tokens="global")
    ablated = replace(paper, region_encoder=regions)
    generator = Generator(ablated, build_networks(ablated), placement=Placement(runtime="eager"))
    image = np.full((256, 256, 3), 90, np.uint8)
    tokens = generator.encode_source(image, np.zeros((112, 112, 3), np.uint8))
    assert tokens.slots.shape == (1, 1, 48)


def test_loading_takes_the_files_values_without_drawing_random_ones_first(
    model_folder: Path, config: ModelConfig
) -> None:
    before = torch.get_rng_state()
    networks = load_networks(model_folder, config, {})
    assert torch.equal(torch.get_rng_state(), before)
    for name, network in networks.items():
        values = load_tensors(model_folder / f"{name}.safetensors")
        for part, tensor in network.state_dict().items():
            assert torch.equal(tensor, values[part])


def test_weights_that_a_file_replaces_are_not_drawn(
    model_folder: Path, config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("drawn")

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "uniform_", refuse)
        networks = load_networks(model_folder, config, {})
        with pytest.raises(AssertionError, match="drawn"):
            build_networks(config)
    for name, network in networks.items():
        kept = load_tensors(model_folder / f"{name}.safetensors")
        for key, weight in network.state_dict().items():
            torch.testing.assert_close(weight, kept[key].to(weight.dtype), rtol=0, atol=0)
