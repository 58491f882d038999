"""Figures of slots on masks drawn by hand, and the command on the tiny run's media."""

import json
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
import torch
from torch import Tensor

from difffae.checkpoint import save_tensors
from difffae.config import read_model_config
from difffae.metrics.slots import (
    adjusted_rand_index,
    draw_clip_pairs,
    hard_masks,
    main,
    pairwise_iou,
    region_figures,
    slot_figures,
    taught_figures,
    taught_regions,
    tracked_regions,
)
from difffae.model.region_encoder import RegionEncoder


class Run(Protocol):
    """What the fixture of the tiny run says of it."""

    config: Path
    frames: Path


def masks_of(labels: list[list[int]], num_slots: int = 3) -> Tensor:
    """One-hot masks of one picture, from the slot of each pixel."""
    return torch.eye(num_slots)[torch.tensor(labels)].permute(2, 0, 1)[None]


LEFT_RIGHT = masks_of([[0, 0, 1, 1], [0, 0, 1, 1]])


def test_each_pixel_goes_to_its_largest_slot() -> None:
    soft = torch.tensor([[[[0.5, 0.2]], [[0.3, 0.7]], [[0.2, 0.1]]]])
    assert hard_masks(soft).tolist() == [[[[1, 0]], [[0, 1]], [[0, 0]]]]


def test_iou_of_all_slots_with_all_is_counted_by_hand() -> None:
    moved = masks_of([[0, 1, 1, 1], [0, 0, 0, 1]])
    ious = pairwise_iou(LEFT_RIGHT, moved)[0]
    assert ious[0, 0] == pytest.approx(3 / 5)  # four and four pixels, three of them shared
    assert ious[0, 1] == pytest.approx(1 / 7)
    assert ious[1, 1] == pytest.approx(3 / 5)
    assert ious[0, 2] == 0
    assert ious[2, 2].isnan()  # an empty slot says nothing


def test_figures_tell_exchanged_slots_from_slots_that_stay() -> None:
    stays = slot_figures(LEFT_RIGHT, LEFT_RIGHT)
    exchanged = slot_figures(LEFT_RIGHT, LEFT_RIGHT[:, [1, 0, 2]])
    assert (stays.same_iou, stays.other_iou) == (1, 0)
    assert exchanged.same_iou == 0
    assert exchanged.other_iou == pytest.approx(2 / 6)  # two of six ordered pairs are alike
    assert stays.shares == (0.5, 0.5, 0)
    assert (stays.num_live, stays.largest_share, stays.certainty) == (2, 0.5, 1)


def test_undecided_masks_are_told_by_their_certainty() -> None:
    even = torch.full((2, 4, 3, 3), 0.25) + torch.tensor([0.003, 0, 0, -0.003])[:, None, None]
    figures = slot_figures(even, even)
    assert figures.certainty == pytest.approx(0.253)
    assert (figures.largest_share, figures.num_live) == (1, 1)


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ([0, 0, 1, 2], [0, 0, 1, 1], 4 / 7),
        ([0, 0, 1, 1], [1, 1, 0, 0], 1.0),
        ([0, 0, 0, 0], [0, 1, 2, 2], 0.0),
        ([0, 0, 1, 1], [0, 1, 0, 1], -0.5),
    ],
)
def test_the_adjusted_rand_index_has_its_textbook_values(
    first: list[int], second: list[int], wanted: float
) -> None:
    a, b = masks_of([first])[0], masks_of([second])[0]
    assert adjusted_rand_index(a, b) == pytest.approx(wanted)


def discs(columns: list[int]) -> Tensor:
    """Pictures of a block of four columns on a ground of twelve, as two masks and an empty one."""
    labels = torch.zeros(len(columns), 6, 16, dtype=torch.long)
    for row, column in enumerate(columns):
        labels[row, :, column : column + 4] = 1
    return torch.eye(3)[labels].permute(0, 3, 1, 2)


def test_masks_at_a_fixed_place_agree_with_no_region_of_the_picture() -> None:
    regions = discs([0, 4, 8, 12])
    seeing = region_figures(regions, regions, [0, 1, 2, 3])
    stripes = region_figures(discs([6, 6, 6, 6]), regions, [0, 1, 2, 3])
    assert seeing.rand_index == pytest.approx(1)
    assert seeing.fixed_rand_index < 0.1
    assert seeing.stranger_iou < 0.5
    assert seeing.correlation[1][1] == pytest.approx(1)
    assert seeing.correlation[0][1] == pytest.approx(-1)
    assert stripes.stranger_iou == 1
    assert stripes.rand_index == pytest.approx(stripes.fixed_rand_index)
    assert np.abs(stripes.correlation).max() < 1e-6


def test_strangers_are_of_other_clips() -> None:
    masks = discs([0, 0, 8, 8])
    figures = region_figures(masks, masks, [0, 0, 1, 1])
    block, ground = 0.0, 8 / 16  # eight columns of ground are shared, all sixteen are either's
    assert figures.stranger_iou == pytest.approx((block + ground) / 2)


def test_tracked_regions_are_a_partition(tiny_run: Run) -> None:
    from difffae.data.shards import ShardReader

    reader = ShardReader(tiny_run.frames, "frames")
    regions = tracked_regions(reader.row("points", 0), reader.picture("person_mask", 0))
    torch.testing.assert_close(regions.sum(0), torch.ones(256, 256))
    shares = regions.mean((1, 2))
    assert shares.min() > 0.05
    pairs = draw_clip_pairs(reader, 64)
    assert len(pairs.sources) == len(pairs.drivers) == 20  # two clips, ten pairs each
    assert pairs.sources.shape[1:] == (3, 64, 64)
    assert not torch.equal(pairs.sources[0], pairs.drivers[0])


def test_each_slot_is_compared_with_the_region_of_its_number() -> None:
    taught = masks_of([[0, 1, 1, 3], [2, 2, 3, 3]], num_slots=4)
    late = masks_of([[0, 0, 1, 3], [2, 2, 3, 1]], num_slots=4)
    figures = taught_figures(late, taught)
    wanted = {
        "face": 1 / 2,
        "hair and head": 1 / 3,
        "clothes and body": 1.0,
        "background": 2 / 3,
    }
    assert figures.iou == pytest.approx(wanted)
    assert figures.mean_iou == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert taught_figures(taught.roll(1, 1), taught).mean_iou == 0


def test_taught_regions_are_a_partition_with_the_nose_in_the_face(tiny_run: Run) -> None:
    from difffae.data.shards import ShardReader

    reader = ShardReader(tiny_run.frames, "frames")
    points = reader.row("points", 0)
    regions = taught_regions(points, reader.picture("person_mask", 0))
    torch.testing.assert_close(regions.sum(0), torch.ones(256, 256))
    x, y = np.rint(points[1, :2]).astype(int)
    assert regions[0, y, x] == 1
    assert regions.mean((1, 2)).min() > 0.02


def test_the_command_prints_the_figures_or_one_line(
    tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    encoder = RegionEncoder(read_model_config(tiny_run.config).region_encoder)
    weights = tmp_path / "region_encoder.safetensors"
    save_tensors(weights, encoder.state_dict(), {})
    assert main([str(tiny_run.config), str(weights), str(tiny_run.frames)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert {"same_iou", "largest_share", "rand_index", "correlation"} <= figures.keys()
    assert 0 <= figures["same_iou"] <= 1
    assert 0 <= figures["mean_iou"] <= 1
    assert main([str(tiny_run.config), str(weights), str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err.replace("\n", "")
