"""Runs for two processes at once, started by accelerate: `parallel_runs.py FOLDER`."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from toy_stage import DrawnStage, ToyStage

from difffae.model.denoiser import Denoiser, DenoiserConfig
from difffae.training.parallel import Processes
from difffae.training.run_directory import RunDirectory
from difffae.training.trainer import fit
from difffae.training.trainer_config import TrainerConfig

SIZE = 16


def settings(**changes: Any) -> TrainerConfig:
    values: dict[str, Any] = {
        "batch_size": 8,
        "num_steps": 8,
        "warmup_steps": 2,
        "decay": "constant",
        "learning_rate": 1e-3,
        "precision": "fp32",
        "log_every_steps": 1,
        "checkpoint_every_s": 1e6,
        "sample_every_s": 1e6,
        "report_to": "none",
    }
    return TrainerConfig(**{**values, **changes})


class DenoiserStage:
    """The tiny denoiser on random latents, with the paper's two losses (eq. 1 and 8)."""

    name = "denoiser"

    def __init__(self) -> None:
        torch.manual_seed(3)
        config = DenoiserConfig(
            channels=8,
            multipliers=(1, 2),
            num_blocks=1,
            num_heads=2,
            attention_sizes=(8,),
            latent_size=SIZE,
            slot_width=16,
            identity_width=16,
            groups=4,
        )
        self.denoiser = Denoiser(config)
        for weight in self.denoiser.parameters():  # the branches that start at zero too
            nn.init.normal_(weight, std=0.1)
        self.modules = nn.ModuleDict({"denoiser": self.denoiser})

    def num_samples(self) -> int:
        return 24

    def sample_weights(self) -> None:
        return None

    def draws(self) -> dict[str, tuple[int, ...]]:
        return {"noise": (4, SIZE, SIZE), "log_sigma": ()}

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        shapes = {"x0": (4, SIZE, SIZE), "render": (4, SIZE, SIZE), "slots": (4, 16), "face": (16,)}
        rows = [np.random.default_rng(int(index)) for index in indices]
        return {
            name: torch.from_numpy(
                np.stack([row.standard_normal(shape, np.float32) for row in rows])
            )
            for name, shape in shapes.items()
        }

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        sigma = batch["log_sigma"].exp()[:, None, None, None]
        x_t = (batch["x0"] + sigma * batch["noise"]) / (1 + sigma.square()).sqrt()
        timesteps = 100 + 100 * batch["log_sigma"].tanh()
        given = (batch["render"], batch["slots"], batch["face"])
        predicted, attention = self.denoiser(x_t, timesteps, *given)
        consistency = (attention[:, 0] - 0.7).square().mean()
        error = (predicted - batch["noise"]).square().mean() + 0.1 * consistency
        return error, {"attention": consistency.detach()}

    def sample_grid(self) -> NDArray[np.uint8]:
        batch = self.batch(np.arange(1), np.random.default_rng(0))
        given = (batch["render"], batch["slots"], batch["face"])
        picture, _ = self.denoiser(batch["x0"], torch.full((1,), 9.0), *given)
        return (255 * picture[0, :3].sigmoid()).byte().permute(1, 2, 0).numpy()


class FailingStage(DrawnStage):
    """The loss of one process becomes NaN in the second micro-step of the third step."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.num_calls = 0

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, float]]:
        self.num_calls += 1
        error, metrics = super().loss(batch, step)
        is_bad = step == 2 and self.num_calls % 2 == 0 and self.rank == 1
        return (error * float("nan") if is_bad else error), metrics


def tell(path: Path, act: Callable[[], Any]) -> None:
    """Write the kind and the words of what `act` raises."""
    try:
        act()
        path.write_text("nothing", "utf-8")
    except ValueError as error:
        path.write_text(f"{type(error).__name__}: {error}", "utf-8")


def train(folder: Path) -> None:
    """All that learns something."""
    fit(DrawnStage(), settings(batch_size=4), folder / "two")
    fit(DrawnStage(), settings(batch_size=2, accumulation_steps=2), folder / "accumulated")
    fit(ToyStage(noise=0.0), settings(batch_size=4), folder / "plain")
    sharded = {"batch_size": 4, "sharding": "full_shard"}
    fit(DrawnStage(), settings(**sharded, num_steps=3), folder / "sharded")
    fit(DrawnStage(), settings(**sharded), folder / "sharded")
    fit(DrawnStage(), settings(batch_size=4, num_steps=3), folder / "then_one")
    fit(DrawnStage(), settings(**sharded, num_steps=3), folder / "sharded_then_one")
    fit(DenoiserStage(), settings(batch_size=4), folder / "denoiser")
    less = settings(
        batch_size=2,
        accumulation_steps=2,
        sharding="full_shard",
        has_gradient_checkpointing=True,
    )
    fit(DenoiserStage(), less, folder / "denoiser_sharded")


def fail(folder: Path, rank: int) -> None:
    """All that stops; each process tells why."""
    accumulating = settings(batch_size=2, accumulation_steps=2, checkpoint_every_s=1e-9)
    stage = FailingStage(rank)
    tell(folder / f"nan-{rank}.txt", lambda: fit(stage, accumulating, folder / "nan"))
    full = OSError(errno.ENOSPC, "No space left on device")
    with mock.patch.object(RunDirectory, "save", side_effect=full):
        config = settings(batch_size=4)
        tell(folder / f"full-{rank}.txt", lambda: fit(DrawnStage(), config, folder / "full"))
    if rank == 0:
        (folder / "file").write_text("no folder", "utf-8")
    where = folder / "file" / "run"
    tell(folder / f"file-{rank}.txt", lambda: fit(DrawnStage(), settings(), where))


def main() -> None:
    """Join the other process and run everything."""
    processes = Processes()
    assert processes.count == 2
    train(Path(sys.argv[1]))
    fail(Path(sys.argv[1]), processes.rank)
    torch.distributed.barrier()
    sys.stderr.flush()
    os._exit(0)  # gloo's threads may end the interpreter's own ending by std::terminate


if __name__ == "__main__":
    main()
