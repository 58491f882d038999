"""Training with regions hidden and slots supervised, on labels drawn by hand and on real pairs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
import torch
from torch import Tensor

from difffae.data import region_labels
from difffae.data.shards import ShardReader
from difffae.face.portrait_regions import BACKGROUND, FACE
from difffae.training.config import Config
from difffae.training.decoder import DecoderStage
from difffae.training.hiding import hide_composites
from difffae.training.joint import JointStage
from difffae.training.polish import PolishStage
from difffae.training.region_labels import mask_error, open_labels
from difffae.training.regions import RegionsStage
from difffae.training.request import Catalog, read_request
from difffae.training.stages import stage_recipes
from prepared_run import prepare_run, save

ALWAYS, NEVER = -9.0, 9.0  # the first number of a sample's draw


class Run(Protocol):
    """What the fixture of the tiny run says of it."""

    config: Path
    pairs: Path


@pytest.fixture(scope="module")
def labels(
    tiny_run: Run, tmp_path_factory: pytest.TempPathFactory, run_command: Callable[..., None]
) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    run_command(region_labels.main, str(tiny_run.pairs), str(folder))
    return folder


@pytest.fixture(scope="module")
def config(tiny_run: Run, labels: Path) -> Config:
    catalog = Catalog(schema=Config, recipes=stage_recipes())
    given = ("--config", str(tiny_run.config), "--stage", "joint")
    read: Config = read_request(given, catalog).config
    loss = replace(read.training.loss, hidden_share=0.5, mask_supervision=1.0, drop_share=0.0)
    training = replace(read.training, loss=loss, region_labels=labels)
    return replace(read, training=training)


@pytest.fixture(scope="module")
def prepared(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare_run(config, folder)
    return folder


@pytest.fixture(scope="module")
def stage(config: Config, prepared: Path) -> JointStage:
    return JointStage(config, prepared)


def drawn(stage: JointStage, first: list[float], region: float = 0.0) -> dict[str, Tensor]:
    """A batch, and which of its samples have a region hidden."""
    torch.manual_seed(0)
    count = len(first)
    batch = stage.batch(np.arange(count), np.random.default_rng(0))
    batch |= {name: torch.randn(count, *shape) for name, shape in stage.draws().items()}
    batch["hide"] = torch.stack(
        [torch.tensor(first), torch.full((count,), region), torch.full((count,), -9.0)], 1
    )
    return batch


def test_every_pixel_of_real_pairs_is_labelled(tiny_run: Run, labels: Path) -> None:
    reader = ShardReader(labels, "regions")
    pairs = ShardReader(tiny_run.pairs, "pairs")
    assert len(reader) == len(pairs)
    for name in region_labels.LABELLED:
        shown = reader.row(name, 0)
        assert set(np.unique(shown)) == {0, 1, 2, 3}
        x, y = pairs.row("source_five" if name == "source" else "target_five", 0)[2] / 4
        assert shown[int(y), int(x)] == FACE  # the tip of the nose
    assert (reader.column("source")[:, :4, :2] == BACKGROUND).mean() > 0.5


def test_the_error_of_masks_is_least_where_they_are_the_regions() -> None:
    wanted = torch.eye(4)[torch.tensor([[0, 1], [2, 3]])].permute(2, 0, 1)[None]
    assert mask_error(wanted, wanted) == pytest.approx(0, abs=1e-5)
    even = torch.full_like(wanted, 0.25)
    assert mask_error(even, wanted) == pytest.approx(np.log(4), rel=1e-5)
    assert mask_error(wanted.roll(1, 1), wanted) > mask_error(even, wanted)


def test_supervision_teaches_slots_their_regions(config: Config, prepared: Path) -> None:
    torch.manual_seed(0)
    stage = RegionsStage(config, prepared)
    batch = stage.batch(np.arange(4), np.random.default_rng(0))
    optimizer = torch.optim.Adam(stage.modules.parameters(), lr=3e-3)
    errors = []
    for step in range(25):
        loss, parts = stage.loss(batch, step)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        errors.append(float(parts["supervision"]))
    assert errors[-1] < 0.6 * errors[0]


def test_a_hidden_region_leaves_no_trace_in_what_the_networks_see(stage: JointStage) -> None:
    """Another picture there gives the same latents, masks and decoder's condition."""
    batch = drawn(stage, [ALWAYS, ALWAYS], region=9.0)  # the last of the regions: the background
    is_there = batch["composite_regions"].argmax(1, keepdim=True) == BACKGROUND
    there = torch.nn.functional.interpolate(is_there.float(), size=(256, 256))
    assert there.mean() > 0.1
    other = dict(batch)
    for name in ("composite_whole", "composite_image"):
        painted = batch[name] * (1 - there[: len(batch[name])])
        other[name] = painted + 0.7 * there[: len(batch[name])]
    first, second = stage.hidden(batch), stage.hidden(other)
    for name in ("composite_latent", "composite_image", "masks", "masks_image"):
        torch.testing.assert_close(first[name], second[name])
    assert not torch.equal(first["composite_latent"], batch["composite_latent"])
    assert not torch.equal(first["source_latent"], batch["source_latent"])


def test_samples_that_are_not_drawn_stay_whole(stage: JointStage) -> None:
    batch = drawn(stage, [NEVER, ALWAYS, NEVER, NEVER])
    hidden = stage.hidden(batch)
    for name in ("composite_latent", "source_latent", "masks"):
        changed = (hidden[name] != batch[name]).flatten(1).any(1)
        assert changed.tolist() == [False, True, False, False], name
    for name in ("target_latent", "target_image", "region_image", "target_region_image"):
        assert torch.equal(hidden[name], batch[name]), name


def test_what_is_hidden_is_predicted_from_what_is_left(stage: JointStage) -> None:
    """The denoiser starts at its prior, so that an untrained one answers the hidden composite."""
    batch = drawn(stage, [ALWAYS, ALWAYS])
    slots, _ = stage.region_encoder(batch["region_image"])
    prediction = stage._predict(batch, slots)
    assert torch.equal(
        prediction.shown["composite_latent"], stage.hidden(batch)["composite_latent"]
    )
    _, parts = stage.loss(batch, 0)
    assert parts["supervision"] > 0


def test_the_decoders_stages_train_on_hidden_composites(config: Config, prepared: Path) -> None:
    hidden = replace(config.training.loss, hidden_share=1.0)
    every = replace(config, training=replace(config.training, loss=hidden))
    decoding = DecoderStage(every, prepared)
    batch = decoding.batch(np.arange(4), np.random.default_rng(0))
    assert batch["composite"].shape == batch["target"].shape == (4, 3, 128, 128)
    assert (batch["masks"][:, 2] == 0.5).any()
    assert decoding.loss(batch, 0)[0].isfinite()
    joint = JointStage(every, prepared)
    for name in ("denoiser", "region_encoder"):
        save(prepared / "joint" / name, joint.modules[name])
    polish = PolishStage(every, prepared)
    loss, _ = polish.loss(polish.batch(np.arange(4), np.random.default_rng(0)), 0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None for weight in polish.decoder.parameters())


def test_a_share_of_the_composites_is_hidden() -> None:
    batch = {"composite": torch.ones(200, 3, 8, 8), "masks": torch.ones(200, 3, 8, 8)}
    regions = torch.eye(4)[torch.full((200, 8, 8), 1)].permute(0, 3, 1, 2)
    numbers = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    numbers[:, 1] = 9 * -torch.ones(200)  # always the first of the regions: hair
    hidden = hide_composites(batch, regions, numbers, share=0.25)
    is_hidden = (hidden["composite"] == 0).flatten(1).all(1)
    assert is_hidden.float().mean() == pytest.approx(0.25, abs=0.08)
    assert torch.equal(is_hidden, (hidden["masks"][:, 2] == 0.5).flatten(1).all(1))


def test_what_is_missing_for_supervision_is_said(config: Config) -> None:
    without = replace(config.training, region_labels=None)
    with pytest.raises(ValueError, match="region_labels"):
        open_labels(config.model, without)
    three = replace(config.model.region_encoder, num_slots=3)
    with pytest.raises(ValueError, match="got 3 slots"):
        open_labels(replace(config.model, region_encoder=three), config.training)
