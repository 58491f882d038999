"""What slots are learned by, against values reckoned by hand and on real pictures."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from difffae.checkpoint import load_module
from difffae.data import region_labels
from difffae.metrics.slots import slot_figures
from difffae.model.region_encoder import (
    BroadcastDecoder,
    RegionEncoder,
    SlotLearningConfig,
    merge_pictures,
)
from difffae.training.config import read_config
from difffae.training.regions import RegionsStage
from difffae.training.slot_loss import (
    Parted,
    SlotLoss,
    boundary_length,
    pixel_entropy,
    slot_metrics,
    uneven_usage,
)

PAPER = SlotLearningConfig(painter_channels=8, painter_start=4)
NUM_STEPS = 100


class Run(Protocol):
    """What the fixture of the tiny run says of it."""

    config: Path
    pairs: Path

    def train(self, stage: str, *arguments: str) -> tuple[int, str]: ...


@pytest.fixture
def parted() -> Parted:
    torch.manual_seed(0)
    masks = torch.randn(4, 3, 8, 8).softmax(1)
    return Parted(images=torch.rand(4, 3, 32, 32) * 2 - 1, slots=torch.randn(4, 3, 6), masks=masks)


def decoder_of(config: SlotLearningConfig) -> BroadcastDecoder:
    torch.manual_seed(1)
    return BroadcastDecoder(6, config)


def test_by_default_the_loss_is_the_papers_squared_error_alone(parted: Parted) -> None:
    decoder = decoder_of(PAPER)
    loss, parts = SlotLoss(PAPER)(decoder, parted, 0)
    pictures, own_masks = decoder(parted.slots)
    merged = (pictures * own_masks[:, :, None]).sum(1)
    wanted = F.avg_pool2d(parted.images, 2)
    torch.testing.assert_close(loss, (merged - wanted).square().mean())
    assert set(parts) == {"reconstruction"}


def test_merged_by_attention_the_error_reaches_the_masks(parted: Parted) -> None:
    config = replace(PAPER, merge="attention")
    masks = parted.masks.clone().requires_grad_()
    loss, _ = SlotLoss(config)(decoder_of(config), replace(parted, masks=masks), 0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert masks.grad is not None
    assert masks.grad.abs().max() > 0


def test_exchange_gives_each_picture_the_tokens_of_its_partner(parted: Parted) -> None:
    config = replace(PAPER, merge="attention", exchange=2.0)
    decoder = decoder_of(config)
    loss, parts = SlotLoss(config)(decoder, parted, 0)
    pictures, _ = decoder(parted.slots[[2, 3, 0, 1]])
    wanted = F.avg_pool2d(parted.images, 2)
    exchanged = (merge_pictures(pictures, parted.masks) - wanted).square().mean()
    torch.testing.assert_close(parts["exchange"], exchanged)
    torch.testing.assert_close(loss, parts["reconstruction"] + 2 * exchanged)


def test_entropy_is_that_of_the_masks_and_zero_where_they_are_hard() -> None:
    even = torch.full((2, 4, 3, 3), 0.25)
    hard = F.one_hot(torch.tensor([[[0, 1], [2, 3]]]), 4).permute(0, 3, 1, 2).float()
    assert pixel_entropy(even).item() == pytest.approx(math.log(4))
    assert pixel_entropy(hard).item() == pytest.approx(0, abs=1e-5)


def test_boundary_counts_the_borders_of_hard_masks() -> None:
    halves = torch.zeros(1, 2, 4, 4)
    halves[:, 0, :, :2] = halves[:, 1, :, 2:] = 1
    assert boundary_length(halves).item() == pytest.approx(2 * 4 / 12)  # both masks, 4 of 12 steps
    assert boundary_length(torch.ones(1, 1, 4, 4)).item() == 0


def test_usage_is_zero_where_even_and_log_slots_where_one_takes_all() -> None:
    one = torch.zeros(1, 4, 2, 2)
    one[:, 2] = 1
    assert uneven_usage(torch.full((1, 4, 2, 2), 0.25)).item() == pytest.approx(0, abs=1e-6)
    assert uneven_usage(one).item() == pytest.approx(math.log(4), abs=1e-5)


def test_entropy_and_boundary_grow_over_the_ramp(parted: Parted) -> None:
    config = replace(PAPER, entropy=1.0, boundary=1.0, usage=1.0, ramp_steps=10)
    decoder = decoder_of(config)
    for step, share in ((0, 0.1), (4, 0.5), (9, 1.0), (500, 1.0)):
        loss, parts = SlotLoss(config)(decoder, parted, step)
        ramped = share * (parts["entropy"] + parts["boundary"])
        torch.testing.assert_close(loss, parts["reconstruction"] + ramped + parts["usage"])


def test_a_global_token_has_no_slot_metrics() -> None:
    assert slot_metrics(torch.ones(2, 1, 4, 4), torch.ones(2, 1, 4, 4)) == {}


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A region encoder trained on the tiny run's few pairs and their labels, and these.

    Without labels what slots come to mean on so few pictures is luck: on one CPU regions of tone,
    on another the left and the right half.
    """

    encoder: RegionEncoder
    source: Tensor
    driver: Tensor

    def masks(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            masks: Tensor = self.encoder(images)[1]
        return masks


@pytest.fixture(scope="module")
def learned(
    tiny_run: Run, tmp_path_factory: pytest.TempPathFactory, run_command: Callable[..., None]
) -> Learned:
    folder, labels = tmp_path_factory.mktemp("regions"), tmp_path_factory.mktemp("labels")
    run_command(region_labels.main, str(tiny_run.pairs), str(labels))
    settings = {"num_steps": NUM_STEPS, "batch_size": 8, "warmup_steps": 20, "ema_decay": 0.9}
    given = [word for name, value in settings.items() for word in (f"--trainer.{name}", str(value))]
    given += ["--training.region_labels", str(labels), "--training.loss.mask_supervision", "1"]
    status, said = tiny_run.train("regions", "--run-directory", str(folder), *given)
    assert status == 0, said
    config = read_config(tiny_run.config)
    encoder = RegionEncoder(config.model.region_encoder)
    load_module(encoder, folder / "regions" / "region_encoder.safetensors")
    stage = RegionsStage(config, folder)
    batch = stage.batch(np.arange(stage.num_samples()), np.random.default_rng(0))
    return Learned(encoder=encoder.eval(), source=batch["source"], driver=batch["target"])


def test_slots_part_and_keep_their_regions_from_source_to_driver(learned: Learned) -> None:
    figures = slot_figures(learned.masks(learned.source), learned.masks(learned.driver))
    assert figures.same_iou > 0.5
    assert figures.other_iou < 0.1
    assert figures.largest_share < 0.8
    assert figures.num_live >= 2
    assert figures.certainty > 0.5


def test_slots_do_not_change_places_in_a_mirrored_picture(learned: Learned) -> None:
    mirrored = learned.masks(learned.source.flip(-1)).flip(-1)
    figures = slot_figures(learned.masks(learned.source), mirrored)
    assert figures.same_iou > 0.5
    assert figures.same_iou > 5 * figures.other_iou


def test_a_global_token_learns_to_paint_too(tiny_run: Run, tmp_path: Path) -> None:
    settings = {"num_steps": 4, "batch_size": 2, "log_every_steps": 1}
    given = [word for name, value in settings.items() for word in (f"--trainer.{name}", str(value))]
    place = ("--run-directory", str(tmp_path), "--model.region_encoder.tokens", "global")
    status, said = tiny_run.train("regions", *place, *given)
    assert status == 0, said
    lines = (tmp_path / "regions" / "metrics.jsonl").read_text("utf-8").splitlines()
    assert not [name for name in json.loads(lines[-1]) if name.startswith("slot_")]
    assert json.loads(lines[-1])["reconstruction"] < json.loads(lines[0])["reconstruction"]
