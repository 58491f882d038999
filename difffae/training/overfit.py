"""Can the networks learn at all: `python -m difffae.training.overfit CONFIG RUN` fits one pair.

Takes a run whose stages before `joint` are trained, trains denoiser and region encoder on one pair
alone, and says how near the samples of 1 to 25 steps come to the true latent's own picture, which
no denoiser passes (model.md section 8, tests 10 and 12).
"""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from difffae.checkpoint import write_atomically
from difffae.metrics.image import psnr_db, ssim
from difffae.metrics.perceptual import load_feature_distance
from difffae.training.config import Config, read_config
from difffae.training.joint import JointStage
from difffae.training.pictures import sheet, to_pictures

NUM_STEPS = (1, 2, 4, 8, 25)  # of the sampler: its own evaluations of the denoiser
_COPIES = 8  # of the pair in a batch, each with its own noise and timestep
# One of the copies pays in pixels.
_PICTURES = ("target_image", "composite_image", "masks_image", "features_image")
_LOG_EVERY = 20
_USER_ERROR = 2
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Row:
    """How near a picture is to the target.

    Attributes:
        name: what the picture is.
        psnr_db, ssim: over all pixels.
        feature_distance: None where the configuration names no weights for it.
    """

    name: str
    psnr_db: float
    ssim: float
    feature_distance: float | None


@dataclass(frozen=True, kw_only=True)
class Overfit:
    """One pair, fitted: figures of what went in, of the samples and of the ceiling; a sheet."""

    rows: tuple[Row, ...]
    pictures: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class OverfitConfig:
    """What to fit, and for how long."""

    pair: int = 0
    num_steps: int = 400
    learning_rate: float = 2e-3
    seed: int = 0


def overfit_pair(config: Config, run_directory: Path, given: OverfitConfig) -> Overfit:
    """Fit one pair, then sample it.

    Raises:
        ValueError: an earlier stage of the run is not trained.
    """
    torch.manual_seed(given.seed)
    stage = JointStage(config, run_directory, pixel_share=1.0)
    generator = np.random.default_rng(given.seed)
    pair = stage.batch(np.full(1, given.pair), generator)
    copies = {
        name: tensor if name in _PICTURES else tensor.expand(_COPIES, *tensor.shape[1:])
        for name, tensor in pair.items()
    }
    weights = list(stage.modules.parameters())
    optimizer = torch.optim.Adam(weights, lr=given.learning_rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, given.num_steps)
    for step in range(given.num_steps):
        loss, shown = stage.loss(copies, step)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        decay.step()
        if step % _LOG_EVERY == 0:
            log.info("step %d: loss %.4f, latent %.4f", step, loss.detach(), shown["latent"])
    named = {"composite": pair["composite_image"]}
    for count in NUM_STEPS:
        named[f"{count} steps"] = stage.decode(stage.sample(pair, count), pair)[0]
    named["ceiling"] = stage.decode(pair["target_latent"], pair)[0]
    measure = _measure(config, pair["target_image"])
    rows = tuple(measure(name, picture) for name, picture in named.items())
    return Overfit(rows=rows, pictures=(pair["target_image"], *named.values()))


def _measure(config: Config, target: Tensor) -> Callable[[str, Tensor], Row]:
    weights = config.training.loss.feature_weights
    features = None if weights is None else load_feature_distance(weights)
    truth = to_pictures(target)[0]

    def measure(name: str, picture: Tensor) -> Row:
        shown = to_pictures(picture)[0]
        with torch.no_grad():
            distance = None if features is None else float(features(picture, target).mean())
        return Row(
            name=name,
            psnr_db=psnr_db(shown, truth),
            ssim=ssim(shown, truth),
            feature_distance=distance,
        )

    return measure


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, write overfit.json and overfit.png into the run, print; 0, or 2 after one line."""
    parser = argparse.ArgumentParser(prog="python -m difffae.training.overfit", description=__doc__)
    parser.add_argument("config", type=Path, help="the run's YAML configuration")
    parser.add_argument("run", type=Path, help="folder of the run, trained as far as `latents`")
    parser.add_argument("--pair", type=int, default=OverfitConfig.pair)
    parser.add_argument("--num-steps", type=int, default=OverfitConfig.num_steps)
    parser.add_argument("--learning-rate", type=float, default=OverfitConfig.learning_rate)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = OverfitConfig(
        pair=options.pair, num_steps=options.num_steps, learning_rate=options.learning_rate
    )
    try:
        result = overfit_pair(read_config(options.config), options.run, given)
    except ValueError as error:
        Console(stderr=True, soft_wrap=True).print(str(error), markup=False, highlight=False)
        return _USER_ERROR
    text = json.dumps([asdict(row) for row in result.rows], indent=1)
    write_atomically(options.run / "overfit.json", text.encode())
    cv2.imwrite(str(options.run / "overfit.png"), sheet(*result.pictures)[..., ::-1])
    console = Console(soft_wrap=True)
    for row in result.rows:
        feature = "" if row.feature_distance is None else f", features {row.feature_distance:.3f}"
        console.print(f"{row.name}: {row.psnr_db:.2f} dB, SSIM {row.ssim:.3f}{feature}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
