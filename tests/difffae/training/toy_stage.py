"""A stage that learns to shift the channels of small pictures, and a script that trains it."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.training.trainer import fit
from difffae.training.trainer_config import TrainerConfig


class ToyStage:
    """Two small convolutions; random batches and, with `noise`, a random loss."""

    name = "toy"

    def __init__(self, *, noise: float = 0.1) -> None:
        torch.manual_seed(7)
        layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 3, 1))
        self.modules = nn.ModuleDict({"mixer": layers})
        self.frozen = nn.Conv2d(3, 3, 1).requires_grad_(False)
        self.noise = noise

    def num_samples(self) -> int:
        return 24

    def sample_weights(self) -> NDArray[np.float64] | None:
        return None

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        grid = np.linspace(0, 1, 3 * 8 * 8).reshape(3, 8, 8)
        pictures = np.sin(grid * (1 + indices[:, None, None, None]))
        pictures += self.noise * generator.standard_normal(pictures.shape)
        return {"picture": torch.from_numpy(pictures.astype(np.float32))}

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, float]]:
        picture = batch["picture"]
        noisy = picture + self.noise * torch.randn_like(picture)
        error = (self.modules["mixer"](noisy) - picture.roll(1, 1)).square().mean()
        return error, {"root": float(error.detach().sqrt())}

    def sample_grid(self) -> NDArray[np.uint8] | None:
        return np.full((4, 6, 3), (250, 120, 10), np.uint8)


class DrawnStage(ToyStage):
    """Its noise comes with the batch, sample by sample."""

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        return super().batch(indices, np.random.default_rng(0)) | {
            "index": torch.from_numpy(indices)
        }

    def draws(self) -> dict[str, tuple[int, ...]]:
        return {"noise": (3, 8, 8), "level": ()}

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, float]]:
        picture = torch.sin(batch["index"].float())[:, None, None, None] + torch.zeros(3, 8, 8)
        level = batch["level"].exp()[:, None, None, None]
        error = (self.modules["mixer"](picture + level * batch["noise"]) - picture).square().mean()
        return error, {"root": float(error.detach().sqrt())}


class TellingStage(ToyStage):
    """Tells each step on standard output as it begins."""

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, float]]:
        sys.stdout.write(f"{step}\n")
        sys.stdout.flush()
        return super().loss(batch, step)


def main() -> None:
    """Train with settings given as JSON: `toy_stage.py FOLDER SETTINGS NOISE`."""
    settings = TrainerConfig(**json.loads(sys.argv[2]))
    fit(TellingStage(noise=float(sys.argv[3])), settings, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
