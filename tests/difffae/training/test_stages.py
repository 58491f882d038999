"""Every stage of training, end to end on a tiny model and real media, through the command."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import pytest
import torch

from difffae.checkpoint import load_module, load_tensors
from difffae.data.shards import ShardReader
from difffae.model.autoencoder import Decoder, Encoder
from difffae.model.denoiser import Denoiser
from difffae.model.identity_encoder import SmallIdentityEncoder
from difffae.model.region_encoder import RegionEncoder
from difffae.training.autoencoder import AutoencoderStage
from difffae.training.config import Config, read_config
from difffae.training.decoder import DecoderStage
from difffae.training.joint import JointStage, denoiser_condition
from difffae.training.pictures import pair_batch

STAGES = (
    *("autoencoder", "calibrate", "decoder", "identity"),
    *("regions", "latents", "joint", "polish"),
)
TRAINED = ("autoencoder", "decoder", "identity", "regions", "joint", "polish")
NUM_STEPS, NUM_PAIRS = 8, 16
FAST = {
    "num_steps": NUM_STEPS,
    "batch_size": 4,
    "learning_rate": 4e-3,
    "warmup_steps": 2,
    "ema_decay": 0.9,
    "log_every_steps": 2,
}
pytestmark = pytest.mark.timeout(600)  # all stages are trained in the setup of the first test


class Run(Protocol):
    """What the fixture of the tiny run says of it."""

    config: Path
    frames: Path
    pairs: Path
    folder: Path

    def train(self, stage: str, *arguments: str) -> tuple[int, str]: ...


def train(run: Run, stage: str, *arguments: str) -> tuple[int, str]:
    """Train a stage for a few steps; those with a closed solution have no settings."""
    settings = FAST.items() if stage in TRAINED else ()
    fast = [word for name, value in settings for word in (f"--trainer.{name}", str(value))]
    return run.train(stage, *fast, *arguments)


@pytest.fixture(scope="module")
def trained(tiny_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run after all stages; `joint` is stopped after its first step and then goes on."""
    run: Run = replace(tiny_run, folder=tmp_path_factory.mktemp("stages") / "run")
    shutil.copytree(tiny_run.folder, run.folder)
    for stage in STAGES:
        if stage == "joint":
            status, said = train(run, "joint", "--trainer.max_minutes", "1e-9")
            assert status == 0, said
            assert rows(run, "joint")[-1]["step"] == 1
        status, said = train(run, stage)
        assert status == 0, said
    return run


@pytest.fixture(scope="module")
def config(trained: Run) -> Config:
    return read_config(trained.config)


def rows(run: Run, stage: str) -> list[dict[str, Any]]:
    lines = (run.folder / stage / "metrics.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def with_loss(config: Config, **changes: float) -> Config:
    loss = replace(config.training.loss, **changes)
    return replace(config, training=replace(config.training, loss=loss))


def test_every_stage_leaves_its_networks_for_the_model(trained: Run, config: Config) -> None:
    model = config.model
    networks = {
        "latents/encoder": Encoder(model.autoencoder),
        "decoder/decoder": Decoder(model.autoencoder),
        "identity/identity_encoder": SmallIdentityEncoder(model.identity),
        "regions/region_encoder": RegionEncoder(model.region_encoder),
        "joint/region_encoder": RegionEncoder(model.region_encoder),
        "joint/denoiser": Denoiser(model.denoiser),
        "polish/decoder": Decoder(model.autoencoder),
        "polish/denoiser": Denoiser(model.denoiser),
    }
    for name, network in networks.items():
        path = trained.folder / f"{name}.safetensors"
        load_module(network, path)
        assert all(bool(tensor.isfinite().all()) for tensor in load_tensors(path).values()), name


def test_the_head_model_has_the_bases_that_the_configuration_asks_for(trained: Run) -> None:
    tensors = load_tensors(trained.folder / "head_model" / "head_model.safetensors")
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert shapes["mean"] == (468, 3)
    assert shapes["shape_basis"] == (3, 468, 3)
    assert shapes["expression_basis"] == (6, 468, 3)
    assert tensors["mean"].square().sum(-1).mean().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("stage", TRAINED)
def test_losses_are_written_to_the_last_step_and_finite(trained: Run, stage: str) -> None:
    logged = rows(trained, stage)
    assert logged[-1]["step"] == NUM_STEPS
    assert all(np.isfinite(row["loss"]) and np.isfinite(row["grad_norm"]) for row in logged)


@pytest.mark.parametrize("stage", ["autoencoder", "decoder", "regions"])
def test_the_loss_of_pictures_falls(trained: Run, stage: str) -> None:
    losses = [row["loss"] for row in rows(trained, stage)]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("stage", "shape"),
    [
        ("autoencoder", (6 * 256, 2 * 256)),
        ("decoder", (6 * 256, 6 * 256)),
        ("identity", (6 * 112, 2 * 112)),
        ("regions", (6 * 128, (2 + 4) * 128)),
        ("joint", (3 * 256, (2 + 2 + 1 + 4) * 256)),
        ("polish", (3 * 256, (2 + 2 + 1 + 4) * 256)),
    ],
)
def test_sample_grids_are_written_at_both_ends(
    trained: Run, stage: str, shape: tuple[int, int]
) -> None:
    folder = trained.folder / stage / "samples"
    assert {"step-000000000.png", f"step-{NUM_STEPS:09d}.png"} <= {p.name for p in folder.iterdir()}
    picture = cv2.imread(str(folder / f"step-{NUM_STEPS:09d}.png"))
    assert picture.shape == (*shape, 3)
    assert picture.std() > 10


def test_the_decoders_grid_begins_with_the_pairs_themselves(trained: Run) -> None:
    grid = cv2.imread(str(trained.folder / "decoder" / "samples" / "step-000000000.png"))
    reader = ShardReader(trained.pairs, "pairs")
    for column, name in enumerate(("source", "target", "composite")):
        shown = grid[256:512, 256 * column : 256 * (column + 1), ::-1]
        assert np.array_equal(shown, reader.picture(name, 1)), name


def test_calibrated_latents_of_the_targets_have_zero_mean_and_unit_spread(trained: Run) -> None:
    latents = ShardReader(trained.folder / "latents", "latents").column("target").astype(float)
    assert latents.shape == (NUM_PAIRS, 4, 32, 32)
    assert np.abs(latents.mean((0, 2, 3))).max() < 0.02
    assert np.abs(latents.std((0, 2, 3)) - 1).max() < 0.02


def test_latents_are_the_calibrated_encoders_and_masks_are_shrunk(
    trained: Run, config: Config
) -> None:
    encoder = Encoder(config.model.autoencoder)
    load_module(encoder, trained.folder / "latents" / "encoder.safetensors")
    latents = ShardReader(trained.folder / "latents", "latents")
    batch = pair_batch(ShardReader(trained.pairs, "pairs"), np.array([3, 9]))
    for row, index in enumerate((3, 9)):
        for name in ("target", "composite", "source"):
            with torch.no_grad():
                wanted = encoder(batch[name][row : row + 1])[0]
            stored = torch.from_numpy(latents.row(name, index)).float()
            assert (stored - wanted).abs().mean() < 0.03  # encoded in bfloat16, kept in float16
        masks = torch.from_numpy(latents.row("masks", index)).float() / 255
        wanted = batch["masks"][row].unflatten(-1, (32, 8)).unflatten(-3, (32, 8)).mean((-3, -1))
        torch.testing.assert_close(masks, wanted, atol=0.01, rtol=0)


def test_the_decoder_starts_from_the_first_stages_on_the_scaled_latents(
    trained: Run, config: Config
) -> None:
    stage = DecoderStage(config, trained.folder)
    plain, raw_encoder = Decoder(config.model.autoencoder), Encoder(config.model.autoencoder)
    load_module(plain, trained.folder / "autoencoder" / "decoder.safetensors")
    load_module(raw_encoder, trained.folder / "autoencoder" / "encoder.safetensors")
    image = stage.batch(np.array([0]), np.random.default_rng(0))["target"]
    with torch.no_grad():
        wanted = plain.enter(raw_encoder(image))
        scaled = stage.decoder.enter(stage.encoder(image))
    inner = (..., slice(1, -1), slice(1, -1))  # the border sees zero padding, which is not scaled
    torch.testing.assert_close(scaled[inner], wanted[inner], atol=1e-4, rtol=1e-4)


def test_joint_goes_on_where_it_stopped_and_ends_as_if_it_never_had(trained: Run) -> None:
    steps = [row["step"] for row in rows(trained, "joint")]
    assert steps[0] == 1
    assert steps[-1] == NUM_STEPS
    resumed = load_tensors(trained.folder / "joint" / "denoiser.safetensors")
    status, said = train(trained, "joint", "--fresh")
    assert status == 0, said
    assert rows(trained, "joint")[0]["step"] > 1
    straight = load_tensors(trained.folder / "joint" / "denoiser.safetensors")
    assert resumed.keys() == straight.keys()
    for name, tensor in straight.items():
        torch.testing.assert_close(resumed[name], tensor, atol=1e-5, rtol=1e-4, msg=name)
    assert (trained.folder / "joint.old-1" / "denoiser.safetensors").is_file()


def test_joint_trains_the_denoiser_and_regions_and_leaves_the_rest(
    trained: Run, config: Config
) -> None:
    stage = JointStage(config, trained.folder)
    batch = stage.batch(np.arange(4), np.random.default_rng(0))
    loss, shown = stage.loss(batch, 0)
    loss.backward()
    assert loss.isfinite()
    assert {"latent", "attention", "alpha", "psnr"} <= shown.keys()
    touched = {name for name, w in stage.modules.named_parameters() if w.grad is not None}
    assert any(name.startswith("denoiser.time") for name in touched)
    assert any(name.startswith("region_encoder.slot_attention") for name in touched)
    frozen = (stage.decoder, stage.identity_encoder)
    assert not any(w.requires_grad for module in frozen for w in module.parameters())


def test_polish_changes_decoder_and_denoiser_alone(trained: Run) -> None:
    for earlier, name in (("decoder", "decoder"), ("joint", "denoiser")):
        before = load_tensors(trained.folder / earlier / f"{name}.safetensors")
        after = load_tensors(trained.folder / "polish" / f"{name}.safetensors")
        assert before.keys() == after.keys()
        assert any(not torch.equal(after[key], tensor) for key, tensor in before.items())
    files = {path.name for path in (trained.folder / "polish").glob("*.safetensors")}
    checkpoint = f"checkpoint-{NUM_STEPS:09d}.safetensors"
    assert files == {"decoder.safetensors", "denoiser.safetensors", checkpoint}


def test_half_of_a_joint_batch_is_at_the_noisiest_step(trained: Run, config: Config) -> None:
    stage = JointStage(config, trained.folder)
    timesteps = stage._timesteps(torch.randn(200))
    assert timesteps[:100].eq(999).all()
    assert timesteps[100:].float().mean() < 600
    assert timesteps.min() >= 0


def test_dropping_hides_the_source_outside_the_face_alone(trained: Run, config: Config) -> None:
    always, never = (
        JointStage(with_loss(config, drop_share=share), trained.folder) for share in (1.0, 0.0)
    )
    masks = torch.zeros(2, 3, 4, 4)
    masks[:, 0, 1:3, 1:3] = 1
    source = torch.randn(2, 4, 4, 4)
    given = {"masks": masks, "source_latent": source, "composite_latent": source}
    dropped = always._dropped(given)
    assert torch.equal(dropped["source_latent"], source * masks[:, :1])
    assert torch.equal(dropped["composite_latent"], source)
    assert torch.equal(never._dropped(given)["source_latent"], source)


@pytest.mark.parametrize(("is_full", "channels"), [(True, 11), (False, 4)])
def test_the_paper_is_shown_the_renders_latent_alone(is_full: bool, channels: int) -> None:
    prior, source, masks = torch.ones(1, 4, 2, 2), torch.zeros(1, 4, 2, 2), torch.zeros(1, 3, 2, 2)
    condition = denoiser_condition(prior, source, masks, is_full=is_full)
    assert condition.shape[1] == channels
    assert torch.equal(condition[:, :4], prior)


def test_stills_weigh_as_much_as_clips_and_people_alike(trained: Run, config: Config) -> None:
    stage = AutoencoderStage(config, trained.folder)
    people = np.array(ShardReader(trained.frames, "frames").labels("person"))
    weights = stage.sample_weights()
    assert weights.sum() == pytest.approx(1)
    assert weights[people == "man"].sum() == pytest.approx(0.5)
    assert len(set(weights[people != "man"].round(9))) == 1
