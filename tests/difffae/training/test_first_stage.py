"""The stage that trains the paper's first stage, on real pictures at a small size."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from difffae.checkpoint import WeightsError, load_module, save_tensors
from difffae.config import ModelConfig
from difffae.data.shards import ShardContents, encode_jpeg, write_shard
from difffae.model.autoencoder import AutoencoderConfig
from difffae.model.denoiser import DenoiserConfig
from difffae.model.discriminator import Discriminator, DiscriminatorConfig
from difffae.model.first_stage import FirstStageConfig, FirstStageDecoder, FirstStageEncoder
from difffae.training.config import Config, LossConfig, TrainingConfig
from difffae.training.first_stage import FirstStageStage
from difffae.training.first_stage_loss import FirstStageLossConfig
from difffae.training.trainer import fit
from difffae.training.trainer_config import TrainerConfig

SIZES = FirstStageConfig(
    channels=8, multipliers=(1, 1), num_blocks=1, attention_sizes=(), num_codes=16, groups=1
)
LOSS = FirstStageLossConfig(
    crop=32,
    adversarial_start=3,
    restart_after=2,
    discriminator=DiscriminatorConfig(channels=4, num_layers=2),
)
TRAINER = TrainerConfig(
    batch_size=4,
    num_steps=6,
    learning_rate=2e-3,
    warmup_steps=0,
    weight_decay=0.0,
    betas=(0.5, 0.9),
    clip_norm=float("inf"),
    ema_decay=0.5,
    precision="fp32",
    log_every_steps=1,
    report_to="none",
)
NUM_FRAMES = 8


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth coloured pictures of three people: one of them a still."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64] / 64
    pictures = []
    for _ in range(NUM_FRAMES):
        waves = [np.sin(6 * (a * rows + b * columns)) for a, b in random.random((3, 2))]
        pictures.append(encode_jpeg(np.uint8(127 + 120 * np.stack(waves, -1))))
    folder = tmp_path_factory.mktemp("frames")
    people = ["a"] * 5 + ["b"] * 2 + ["c"]
    contents = ShardContents(
        pictures={"image": pictures}, arrays={}, labels={"person": people, "clip": people}
    )
    write_shard(folder / "frames-000.safetensors", contents)
    return folder


@pytest.fixture
def config(frames: Path) -> Config:
    model = ModelConfig(first_stage=SIZES, denoiser=DenoiserConfig(latent_size=256 // 2))
    training = TrainingConfig(frames=frames, loss=LossConfig(first_stage=LOSS), first_stage=TRAINER)
    return Config(model=model, training=training)


def changed(config: Config, **changes: Any) -> Config:
    return replace(config, training=replace(config.training, **changes))


def with_loss(config: Config, **changes: Any) -> Config:
    loss = replace(config.training.loss, first_stage=replace(LOSS, **changes))
    return changed(config, loss=loss)


def built(config: Config, tmp_path: Path) -> FirstStageStage:
    torch.manual_seed(1)
    stage = FirstStageStage(config, tmp_path)
    stage.modules.train()
    return stage


def a_batch(stage: FirstStageStage) -> dict[str, Tensor]:
    return stage.batch(np.arange(4), np.random.default_rng(0))


def gradients(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: weight.grad.clone()
        for name, weight in network.named_parameters()
        if weight.grad is not None
    }


def test_before_its_start_the_discriminator_neither_judges_nor_learns(
    config: Config, tmp_path: Path
) -> None:
    stage = built(config, tmp_path)
    loss, parts = stage.loss(a_batch(stage), LOSS.adversarial_start - 1)
    loss.backward()
    assert gradients(stage.discriminator) == {}
    assert "adaptive_weight" not in parts
    assert {"l1", "psnr", "perplexity", "codebook_use", "latent_std"} <= parts.keys()
    for name, weight in (*stage.encoder.named_parameters(), *stage.decoder.named_parameters()):
        assert weight.grad is not None, name


@pytest.mark.parametrize("kind", ["vq", "kl"])
def test_one_backward_gives_each_side_the_gradient_of_its_own_loss_alone(
    config: Config, tmp_path: Path, kind: str
) -> None:
    config = replace(config, model=replace(config.model, first_stage=replace(SIZES, kind=kind)))
    config = with_loss(config, restart_after=0)  # the same codes in every call
    stage = built(config, tmp_path)
    batch = a_batch(stage)
    torch.manual_seed(0)
    loss, parts = stage.loss(batch, LOSS.adversarial_start)
    loss.backward()
    of_decoder, of_judge = gradients(stage.decoder), gradients(stage.discriminator)
    of_encoder = gradients(stage.encoder)
    stage.modules.zero_grad()

    # The generator by itself: a frozen judge, weighed as it was.
    stage.discriminator.requires_grad_(False)
    torch.manual_seed(0)
    before, _ = stage.loss(batch, 0)
    torch.manual_seed(0)
    image = _reconstruction(stage, batch["image"])
    weight = LOSS.adversarial * parts["adaptive_weight"]
    (before - weight * stage.discriminator(image).mean()).backward()
    for wanted, given in (
        (gradients(stage.decoder), of_decoder),
        (gradients(stage.encoder), of_encoder),
    ):
        assert wanted.keys() == given.keys()
        for name, gradient in wanted.items():
            torch.testing.assert_close(given[name], gradient, atol=1e-5, rtol=1e-3, msg=name)

    # The judge by itself: pictures that nothing is asked of.
    stage.discriminator.requires_grad_(True)
    real, fake = stage.discriminator(batch["image"]), stage.discriminator(image.detach())
    (0.5 * ((1 - real).relu().mean() + (1 + fake).relu().mean())).backward()
    wanted = gradients(stage.discriminator)
    assert wanted.keys() == of_judge.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(of_judge[name], gradient, atol=1e-5, rtol=1e-3, msg=name)
    assert max(float(gradient.abs().max()) for gradient in wanted.values()) > 1e-2


def _reconstruction(stage: FirstStageStage, image: Tensor) -> Tensor:
    raw = stage.encoder.posterior(image).sample()
    if stage.decoder.codebook is not None:
        raw = stage.decoder.codebook(raw).latent
    return stage.decoder.decode(raw)


def test_both_adversarial_losses_pull_alike_at_the_last_layer(
    config: Config, tmp_path: Path
) -> None:
    stage = built(config, tmp_path)
    batch = a_batch(stage)
    _, parts = stage.loss(batch, LOSS.adversarial_start)
    image = _reconstruction(stage, batch["image"])
    last = stage.decoder.leave.weight
    (of_l1,) = torch.autograd.grad((image - batch["image"]).abs().mean(), last, retain_graph=True)
    (of_judge,) = torch.autograd.grad(stage.discriminator(image).mean(), last)
    wanted = of_l1.norm() / (of_judge.norm() + 1e-4)
    assert parts["adaptive_weight"].item() == pytest.approx(wanted.item(), rel=1e-3)


def test_training_leaves_networks_that_reconstruct_better(config: Config, tmp_path: Path) -> None:
    trainer = replace(TRAINER, num_steps=40, learning_rate=3e-3)
    config = changed(with_loss(config, adversarial_start=38), first_stage=trainer)
    stage = built(config, tmp_path)
    _, before = stage.loss(a_batch(stage), 0)
    fit(stage, config.training.first_stage, tmp_path)
    encoder, decoder = FirstStageEncoder(SIZES).eval(), FirstStageDecoder(SIZES).eval()
    load_module(encoder, tmp_path / "first_stage" / "encoder.safetensors")
    load_module(decoder, tmp_path / "first_stage" / "decoder.safetensors")
    judge = Discriminator(LOSS.discriminator)
    load_module(judge, tmp_path / "first_stage" / "discriminator.safetensors")
    image = stage.batch(np.arange(4), np.random.default_rng(0))["image"]
    with torch.no_grad():
        error = (decoder(encoder(image))[0] - image).abs().mean()
    assert error < 0.85 * before["l1"]
    assert (tmp_path / "first_stage" / "samples" / "step-000000040.png").is_file()


def test_restarts_put_more_of_the_codebook_to_use(config: Config, tmp_path: Path) -> None:
    use = {}
    for restart_after in (0, 3):
        stage = built(with_loss(config, restart_after=restart_after), tmp_path)
        fit(stage, replace(TRAINER, num_steps=8), tmp_path / str(restart_after))
        use[restart_after] = stage.loss(a_batch(stage), 0)[1]["codebook_use"].item()
    assert use[3] > use[0] + 0.2


def test_a_resumed_run_ends_as_one_that_never_stopped(config: Config, tmp_path: Path) -> None:
    trainer = replace(TRAINER, decay="constant")
    fit(built(config, tmp_path), trainer, tmp_path / "straight")
    for num_steps in (4, 6):  # at the fourth the judge has learned once, and codes have restarted
        fit(built(config, tmp_path), replace(trainer, num_steps=num_steps), tmp_path / "resumed")
    for name in ("encoder", "decoder", "discriminator"):
        straight, resumed = (
            (tmp_path / run / "first_stage" / f"{name}.safetensors").read_bytes()
            for run in ("straight", "resumed")
        )
        assert straight == resumed, name


def test_the_sheet_shows_pictures_beside_reconstructions(config: Config, tmp_path: Path) -> None:
    stage = built(config, tmp_path)
    stage.modules.eval()
    shown = stage.sample_grid()
    assert shown.shape == (6 * 64, 2 * 64, 3)
    assert shown[:, :64].std() > 30


def test_crops_are_of_the_size_asked_for_and_never_beyond_the_picture(
    config: Config, tmp_path: Path
) -> None:
    assert a_batch(built(config, tmp_path))["image"].shape == (4, 3, 32, 32)
    whole = built(with_loss(config, crop=256), tmp_path)
    assert a_batch(whole)["image"].shape == (4, 3, 64, 64)


def test_stills_weigh_as_much_as_clips_and_people_alike(config: Config, tmp_path: Path) -> None:
    weights = built(config, tmp_path).sample_weights()
    assert weights[:5] == pytest.approx([0.05] * 5)
    assert weights[5:7] == pytest.approx([0.125] * 2)
    assert weights[7] == pytest.approx(0.5)


def test_it_starts_from_converted_weights_where_they_are_named(
    config: Config, tmp_path: Path
) -> None:
    torch.manual_seed(9)
    encoder, decoder = FirstStageEncoder(SIZES), FirstStageDecoder(SIZES)
    save_tensors(tmp_path / "encoder.safetensors", encoder.state_dict(), {})
    with pytest.raises(WeightsError, match=r"decoder\.safetensors"):
        built(changed(config, first_stage_weights=tmp_path), tmp_path)
    save_tensors(tmp_path / "decoder.safetensors", decoder.state_dict(), {})
    stage = built(changed(config, first_stage_weights=tmp_path), tmp_path)
    assert torch.equal(stage.encoder.enter.weight, encoder.enter.weight)
    assert stage.decoder.codebook is not None
    assert decoder.codebook is not None
    assert torch.equal(stage.decoder.codebook.weight, decoder.codebook.weight)


@pytest.mark.parametrize("case", ["no first stage", "not retrained", "sharded"])
def test_what_cannot_be_trained_is_refused(config: Config, tmp_path: Path, case: str) -> None:
    if case == "no first stage":
        kind = AutoencoderConfig(patch=1)
        config = replace(config, model=ModelConfig(autoencoder=kind))
    elif case == "not retrained":
        config = changed(config, retrain_first_stage=False, first_stage_weights=tmp_path)
    else:
        config = changed(config, first_stage=replace(TRAINER, sharding="full_shard"))
    with pytest.raises(ValueError, match=r"got .*, expected"):
        FirstStageStage(config, tmp_path)


def test_a_discriminator_that_would_never_start_is_told(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        built(config, tmp_path)
        assert "never judges" not in caplog.text
        built(changed(config, first_stage=replace(TRAINER, num_steps=3)), tmp_path)
    assert "starts at step 3, after the last of 3: it never judges" in caplog.text


def test_lpips_is_preferred_and_the_feature_distance_stands_in(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = tmp_path / "lpips.safetensors"
    with pytest.raises(WeightsError, match=r"training\.loss\.lpips_weights"):
        built(changed(config, loss=replace(config.training.loss, lpips_weights=missing)), tmp_path)
    with caplog.at_level(logging.WARNING):
        stage = built(config, tmp_path)
    assert stage.perceptual is None
    assert "L1 alone" in caplog.text


def test_the_feature_distance_is_weighed_as_in_the_other_stages(
    config: Config, tmp_path: Path
) -> None:
    from difffae.metrics.perceptual import FeatureDistance

    path = tmp_path / "squeezenet.safetensors"
    save_tensors(path, FeatureDistance().state_dict(), {})
    loss = replace(config.training.loss, feature_weights=path, feature=0.7)
    stage = built(changed(config, loss=loss), tmp_path)
    batch = a_batch(stage)
    with_features, parts = stage.loss(batch, 0)
    stage.perceptual = None
    without, _ = stage.loss(batch, 0)
    assert parts["perceptual"] > 0
    torch.testing.assert_close(
        with_features - without, 0.7 * parts["perceptual"], atol=1e-5, rtol=1e-3
    )
