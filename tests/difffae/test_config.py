"""The model part of a configuration file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from difffae.config import ModelConfig, read_model_config
from difffae.face.config import FaceConfig
from difffae.face.dense_motion import DenseMotionConfig
from difffae.model.autoencoder import AutoencoderConfig
from difffae.model.denoiser import DenoiserConfig
from difffae.model.first_stage import FirstStageConfig
from difffae.training.config import read_config
from difffae.training.stages import stage_recipes

Reader = Callable[[Path], object]
READERS = pytest.mark.parametrize("read", [read_model_config, read_config])


def test_the_bundled_model_is_read_as_it_is_written(repository: Path) -> None:
    model = read_model_config(repository / "configs" / "lite-256.yaml")
    assert model.image_size == 256
    assert model.sees_source
    assert model.autoencoder.multipliers == (1, 2)
    assert model.denoiser.attention_sizes == (16,)
    assert model.parameterization.kind == "prior"
    assert model.schedule.has_zero_terminal_snr


def test_the_papers_tables_are_read_as_they_are_written(repository: Path) -> None:
    small, large = (
        read_model_config(repository / "configs" / f"paper-{size}.yaml") for size in (256, 512)
    )
    assert small.denoiser == DenoiserConfig()
    assert small.region_encoder == large.region_encoder
    assert small.first_stage == large.first_stage == FirstStageConfig()
    assert (large.image_size, large.denoiser.latent_size) == (512, 64)
    assert large.denoiser.attention_sizes == (64, 32, 16)
    for model in (small, large):
        assert model.parameterization.kind == "epsilon"
        assert not model.schedule.has_zero_terminal_snr
        assert not model.sees_source
        assert not model.is_decoder_conditional
        assert (model.face.rig, model.face.background, model.face.light) == (
            *("flame", "black"),
            "driver",
        )
        assert (model.identity.kind, model.identity.width) == ("arcface", 512)


def test_the_papers_training_is_read_as_table_5_and_equation_1_say(repository: Path) -> None:
    training = read_config(repository / "configs" / "paper-256.yaml").training
    joint, loss = training.joint, training.loss
    assert (joint.batch_size, joint.num_steps, joint.learning_rate) == (16, 100_000, 1e-4)
    assert (joint.weight_decay, joint.ema_decay, joint.decay) == (0, 0.9999, "constant")
    assert (loss.attention, loss.latent_norm, loss.timestep_sampling) == (0.1, "l2", "uniform")
    assert (loss.pixel, loss.first_step_share, loss.drop_share) == (0, 0, 0)
    assert training.retrain_first_stage


@pytest.mark.parametrize("name", ["paper-256", "tiny-paper"])
def test_the_papers_path_has_its_own_stages(repository: Path, name: str) -> None:
    config = read_config(repository / "configs" / f"{name}.yaml")
    needed = [name for name, recipe in stage_recipes().items() if recipe.is_needed(config)]
    stand_ins = ["head_model", "first_stage", "calibrate", "identity", "regions"]
    paper = ["first_stage", "calibrate", "regions"]
    expected = paper if name == "paper-256" else stand_ins
    assert needed == [*expected, "latents", "joint"]


def test_the_bundled_model_has_no_first_stage_of_the_papers(repository: Path) -> None:
    config = read_config(repository / "configs" / "lite-256.yaml")
    needed = [name for name, recipe in stage_recipes().items() if recipe.is_needed(config)]
    assert needed == [
        *("head_model", "dense_motion", "autoencoder", "calibrate", "decoder", "identity"),
        *("regions", "latents", "joint", "polish"),
    ]


def test_a_first_stage_that_is_not_retrained_must_be_given(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("training: {retrain_first_stage: false}", "utf-8")
    with pytest.raises(ValueError, match="no first_stage_weights are named"):
        read_config(path)


def test_flame_cannot_be_rendered_over_the_portrait() -> None:
    with pytest.raises(ValueError, match=r"set face\.background: black"):
        FaceConfig(rig="flame")


@pytest.mark.parametrize("name", ["tiny", "tiny-paper", "lite-256", "paper-256", "paper-512"])
def test_every_bundled_configuration_has_a_training_part(repository: Path, name: str) -> None:
    path = repository / "configs" / f"{name}.yaml"
    config = read_config(path)
    assert config.model == read_model_config(path)
    assert config.training.joint.num_steps >= 1


@READERS
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: {image_size: 256, nonsense: 1}", "nonsense"),
        ("model: {image_size: big}", "model.image_size"),
        ("model: {parameterization: {kind: magic}}", "kind"),
        ("model: {parameterization: {prior_spread: 0}}", "prior_spread is 0.0; expected more"),
        ("model: [", "parsing"),
        ("nothing: 3", "nothing"),
        ("3", "3"),
        ("", "config"),
    ],
)
def test_bad_yaml_gives_one_clear_error(tmp_path: Path, read: Reader, text: str, said: str) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match="is not a") as raised:
        read(path)
    assert type(raised.value) is ValueError
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


@READERS
def test_a_missing_file_gives_one_clear_error(tmp_path: Path, read: Reader) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml.*does not exist"):
        read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_size": 512}, "denoiser.latent_size is 32; the other parts need 64"),
        ({"trust": 0.0}, "trust is 0.0; expected more than 0, at most 1"),
        ({"mouth_trust": 1.5}, "mouth_trust is 1.5; expected 0 to 1"),
        ({"sees_source": True}, "denoiser.condition_channels is 4; the other parts need 11"),
        (
            {"autoencoder": AutoencoderConfig(latent_channels=8)},
            "denoiser.latent_channels is 4; the other parts need 8",
        ),
        (
            {"denoiser": replace(DenoiserConfig(), slot_width=96)},
            "denoiser.slot_width is 96; the other parts need 192",
        ),
        (
            {"denoiser": replace(DenoiserConfig(), identity_width=100)},
            "denoiser.identity_width is 100; expected identity.width 512, or 0",
        ),
    ],
)
def test_parts_that_do_not_fit_are_named_with_their_sizes(
    changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=r"need|expected") as raised:
        ModelConfig(**changes)  # type: ignore[arg-type]
    assert said in str(raised.value)


def test_no_identity_token_is_allowed() -> None:
    model = ModelConfig(denoiser=replace(DenoiserConfig(), identity_width=0))
    assert model.identity.width == 512


def test_a_mismatch_in_a_file_is_said_with_the_files_name(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("model: {denoiser: {latent_size: 64}}", "utf-8")
    with pytest.raises(ValueError, match=r"model\.yaml is not a model configuration: denoiser"):
        read_model_config(path)


def test_on_black_there_is_nothing_around_the_face_to_be_moved() -> None:
    with pytest.raises(ValueError, match="leave dense_motion out"):
        FaceConfig(background="black", dense_motion=DenseMotionConfig())
