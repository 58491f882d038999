"""One pair fitted: samples of any number of steps near the true latent's own picture."""

import json
import math
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from difffae.data.shards import ShardContents, ShardReader, write_shard
from difffae.training.config import read_config
from difffae.training.overfit import NUM_STEPS, Overfit, OverfitConfig, main, overfit_pair
from difffae.training.pictures import pair_batch
from prepared_run import prepare_run

FACTOR = 8
FITTED, UNFITTED = OverfitConfig(num_steps=90, learning_rate=5e-3), OverfitConfig(num_steps=1)


class Run(Protocol):
    """What the fixture of the tiny run says of it."""

    config: Path


@pytest.fixture(scope="module")
def prepared(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared run whose latents are small pictures, as smooth as a trained encoder's."""
    folder, config = tmp_path_factory.mktemp("overfit"), read_config(tiny_run.config)
    prepare_run(config, folder)
    pairs = ShardReader(config.training.pairs, "pairs")
    batch = pair_batch(pairs, np.arange(len(pairs)))
    names = ("target", "composite", "source")
    arrays = {name: _small(batch[name]).half().numpy() for name in names}
    masks = (255 * F.avg_pool2d(batch["masks"], FACTOR)).round().to(torch.uint8).numpy()
    contents = ShardContents(pictures={}, arrays={**arrays, "masks": masks}, labels={})
    (stored,) = (folder / "latents").glob("latents-*.safetensors")
    write_shard(stored, contents)
    return folder


def _small(images: Tensor) -> Tensor:
    colours = 8 * F.avg_pool2d(images, FACTOR)
    return torch.cat([colours, colours.mean(1, keepdim=True)], 1)


@pytest.fixture(scope="module")
def fitted(tiny_run: Run, prepared: Path) -> Overfit:
    return overfit_pair(read_config(tiny_run.config), prepared, FITTED)


def error_to_ceiling(result: Overfit) -> dict[int, float]:
    """Mean square between the samples' pictures and the true latent's, by number of steps."""
    ceiling: Tensor = result.pictures[-1]
    samples = result.pictures[2:-1]
    errors = [float((sample - ceiling).square().mean()) for sample in samples]
    return dict(zip(NUM_STEPS, errors, strict=True))


def test_all_numbers_of_steps_give_finite_figures(fitted: Overfit) -> None:
    names = [row.name for row in fitted.rows]
    assert names == ["composite", *(f"{count} steps" for count in (1, 2, 4, 8, 25)), "ceiling"]
    assert all(math.isfinite(row.psnr_db) and math.isfinite(row.ssim) for row in fitted.rows)


def test_fitted_samples_of_any_number_of_steps_are_nearer_the_ceiling(
    tiny_run: Run, prepared: Path, fitted: Overfit
) -> None:
    before = overfit_pair(read_config(tiny_run.config), prepared, UNFITTED)
    fresh, learned = error_to_ceiling(before), error_to_ceiling(fitted)
    assert all(learned[count] < 0.8 * fresh[count] for count in NUM_STEPS)


def test_the_command_writes_figures_and_a_sheet_or_one_line(
    tiny_run: Run, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tiny_run.config), str(prepared), "--num-steps", "1"]) == 0
    rows = json.loads((prepared / "overfit.json").read_text("utf-8"))
    assert rows[-1]["name"] == "ceiling"
    assert f"{rows[-1]['psnr_db']:.2f} dB" in capsys.readouterr().out
    assert cv2.imread(str(prepared / "overfit.png")).shape == (256, 8 * 256, 3)
    assert main([str(tiny_run.config), str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
