"""The joint stage: the paper's losses, attention consistency, a step of every ablation."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from difffae.diffusion.parameterization import ParameterizationConfig
from difffae.training.config import Config
from difffae.training.joint import JointStage, attention_consistency
from difffae.training.request import Catalog, read_request
from difffae.training.stages import stage_recipes
from prepared_run import prepare_run, save_regions

PAPER_LOSS = {
    "latent_norm": "l2",
    "timestep_sampling": "uniform",
    "pixel": 0.0,
    "first_step_share": 0.0,
    "drop_share": 0.0,
}


class Run(Protocol):
    """What the fixture of the tiny run says of it."""

    config: Path
    folder: Path


@pytest.fixture(scope="module")
def config(tiny_run: Run) -> Config:
    return overridden(tiny_run)


@pytest.fixture(scope="module")
def prepared(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose earlier stages left networks as they are built, and latents of its encoder."""
    folder = tmp_path_factory.mktemp("prepared")
    prepare_run(config, folder)
    return folder


def overridden(run: Run, *overrides: str) -> Config:
    """The tiny configuration with overrides of the command line."""
    catalog = Catalog(schema=Config, recipes=stage_recipes())
    given = ("--config", str(run.config), "--stage", "joint", *overrides)
    config: Config = read_request(given, catalog).config
    return config


def stage_of(config: Config, prepared: Path) -> JointStage:
    """The stage over a region encoder of the configuration's own kind and size."""
    save_regions(config, prepared)
    return JointStage(config, prepared)


def with_loss(config: Config, **changes: Any) -> Config:
    loss = replace(config.training.loss, **changes)
    return replace(config, training=replace(config.training, loss=loss))


@pytest.mark.parametrize(
    ("overrides", "num_tokens"),
    [
        (("--model.region_encoder.num_slots", "2"), 2),
        (("--model.region_encoder.num_slots", "8"), 8),
        (("--model.region_encoder.tokens", "global"), 1),
        (("--model.denoiser.identity_width", "0"), 4),
        (("--training.loss.attention", "0"), 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_every_ablation_is_one_override_and_trains(
    tiny_run: Run, prepared: Path, overrides: tuple[str, ...], num_tokens: int
) -> None:
    stage = stage_of(overridden(tiny_run, *overrides), prepared)
    batch = stage.batch(np.arange(4), np.random.default_rng(0))
    optimizer = torch.optim.Adam(stage.modules.parameters(), lr=1e-3)
    before = {name: w.clone() for name, w in stage.modules.named_parameters()}
    for step in range(3):  # layers that start at zero let gradients through one after another
        loss, shown = stage.loss(batch, step)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss.isfinite()
    moved = {n for n, w in stage.modules.named_parameters() if not torch.equal(w, before[n])}
    assert {name.split(".")[0] for name in moved} >= {"denoiser", "region_encoder"}
    assert stage.region_encoder(batch["region_image"])[0].shape[1] == num_tokens
    assert ("attention" in shown) == (num_tokens > 1)
    assert any("adain" in name for name in before) == (
        "--model.denoiser.identity_width" not in overrides
    )
    assert stage.sample_grid().shape == (3 * 256, (5 + num_tokens) * 256, 3)


def test_the_papers_timesteps_are_uniform(config: Config, prepared: Path) -> None:
    stage = stage_of(with_loss(config, **PAPER_LOSS), prepared)
    timesteps = stage._timesteps(torch.randn(20_000))
    assert timesteps.min() >= 0
    assert timesteps.max() <= 999
    counts = np.histogram(timesteps, bins=10, range=(0, 1000))[0]
    assert np.abs(counts - 2000).max() < 5 * 2000**0.5


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_papers_loss_is_the_error_of_the_noise(
    config: Config, prepared: Path, norm: str
) -> None:
    """A fresh denoiser answers 0, so the error is the noise's own (eq. 1)."""
    model = replace(config.model, parameterization=ParameterizationConfig(kind="epsilon"))
    given = with_loss(replace(config, model=model), **{**PAPER_LOSS, "latent_norm": norm})
    stage = stage_of(given, prepared)
    batch = stage.batch(np.arange(4), np.random.default_rng(0))
    assert "target_image" not in batch
    torch.manual_seed(7)
    _, shown = stage.loss(batch, 0)
    torch.manual_seed(7)
    noise = torch.randn_like(batch["target_latent"])
    wanted = noise.square().mean() if norm == "l2" else noise.abs().mean()
    torch.testing.assert_close(shown["output"], wanted)
    assert "psnr" not in shown


def test_consistency_is_zero_where_attention_is_the_mask() -> None:
    masks = torch.randn(2, 4, 8, 8).softmax(1)
    assert attention_consistency(masks, masks) == 0


def test_consistency_is_the_mean_square_after_bilinear_resizing() -> None:
    masks, attention = torch.randn(2, 4, 4, 4).softmax(1), torch.randn(2, 4, 8, 8).softmax(1)
    resized = F.interpolate(masks, size=(8, 8), mode="bilinear", align_corners=False)
    wanted = (attention - resized).square().mean()
    torch.testing.assert_close(attention_consistency(attention, masks), wanted)


def test_the_gradient_of_consistency_flows_through_attention_alone() -> None:
    masks = torch.rand(1, 4, 8, 8, requires_grad=True)
    attention = torch.rand(1, 4, 8, 8, requires_grad=True)
    attention_consistency(attention, masks).backward()  # type: ignore[no-untyped-call]
    assert attention.grad is not None
    assert attention.grad.abs().max() > 0
    assert masks.grad is None


def test_consistency_compares_with_the_drivers_masks(config: Config, prepared: Path) -> None:
    stage = stage_of(with_loss(config, **PAPER_LOSS), prepared)
    batch = stage.batch(np.arange(4), np.random.default_rng(0))
    source = stage.region_encoder(batch["region_image"])
    _, masks, _ = stage._kept_slots(batch, source, 0)
    wanted: Tensor = stage.region_encoder(batch["target_region_image"])[1]
    torch.testing.assert_close(masks, wanted)
    torch.testing.assert_close(masks.sum(1), torch.ones_like(masks[:, 0]))


def test_slots_are_kept_apart_only_where_the_configuration_says_so(
    config: Config, prepared: Path
) -> None:
    regions = config.model.region_encoder
    dropped = replace(regions, learning=replace(regions.learning, joint=0.0))
    kept = stage_of(config, prepared)
    papers = stage_of(
        replace(config, model=replace(config.model, region_encoder=dropped)), prepared
    )
    batch = kept.batch(np.arange(2), np.random.default_rng(0))
    assert set(kept.modules) == {"denoiser", "region_encoder", "broadcast_decoder"}
    assert set(papers.modules) == {"denoiser", "region_encoder"}
    torch.manual_seed(3)
    with_slots, shown = kept.loss(batch, 0)
    torch.manual_seed(3)
    without, papers_shown = papers.loss(batch, 0)
    assert "reconstruction" in shown
    assert "reconstruction" not in papers_shown
    assert with_slots > without
    assert {"slot_same_iou", "slot_largest", "slot_live"} <= papers_shown.keys()


def test_a_batch_brings_its_own_noise_so_that_sharing_it_out_changes_nothing(
    config: Config, prepared: Path
) -> None:
    """Two halves with their share of the numbers have the mean loss of the whole."""
    loss = replace(config.training.loss, pixel=0.0, first_step_share=0.0, drop_share=0.5)
    learning = replace(config.model.region_encoder.learning, joint=0.0)
    model = replace(
        config.model, region_encoder=replace(config.model.region_encoder, learning=learning)
    )
    training = replace(config.training, loss=loss)
    stage = JointStage(replace(config, model=model, training=training), prepared)
    batch = stage.batch(np.arange(4), np.random.default_rng(0))
    torch.manual_seed(0)
    batch |= {name: torch.randn(4, *shape) for name, shape in stage.draws().items()}
    whole = stage.loss(batch, 0)[0].item()
    halves = [
        stage.loss({name: part[half] for name, part in batch.items()}, 0)[0].item()
        for half in (slice(0, 2), slice(2, 4))
    ]
    assert whole == pytest.approx(np.mean(halves), rel=1e-5)
    assert halves[0] != pytest.approx(halves[1], rel=1e-3)
