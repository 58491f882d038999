"""The settings of one training stage: how long, how fast, how carefully kept."""

from dataclasses import dataclass
from typing import Literal

RUN_TIME_SETTINGS = frozenset(
    {
        "num_steps",
        "max_minutes",
        "checkpoint_every_s",
        "sample_every_s",
        "log_every_steps",
        "num_loader_threads",
        "report_to",
        "sharding",
        "has_gradient_checkpointing",
    }
)
"""Settings that may differ when a run is resumed: they leave what is learned as it is, or, as
`num_steps` does, say how long it goes on."""


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Settings of `difffae.training.trainer.fit`.

    An optimizer step sees `batch_size` x `accumulation_steps` x processes samples.

    Attributes:
        batch_size: Samples per process and micro-step: what a device holds at a time.
        accumulation_steps: Micro-steps whose gradients are averaged into one optimizer step.
        num_steps: Optimizer steps of the whole run, also the length of the cosine decay.
        learning_rate: Peak rate, reached after `warmup_steps` of linear warm-up.
        warmup_steps: Optimizer steps of linear warm-up; 0 starts at the peak.
        decay: "cosine" falls to zero at `num_steps`, "constant" stays at the peak.
        weight_decay: AdamW's, on tensors of two axes and more (not on biases and gains).
        betas: AdamW's moment decays.
        clip_norm: Largest gradient norm over all networks; `inf` never clips.
        ema_decay: Decay of the averaged weights; ramps up as (1 + n) / (10 + n).
        precision: "bf16" runs the loss under bfloat16 autocast; weights stay float32.
        has_gradient_checkpointing: Networks that can compute their blocks again in the backward
            pass instead of keeping what is inside them: less memory, about a third more time.
        sharding: "none" keeps all weights in every process (DDP); "full_shard" spreads weights,
            gradients, moments and averaged weights over the processes (FSDP).
        checkpoint_every_s: Seconds between checkpoints: the most that a kill can lose.
        sample_every_s: Seconds between sample grids.
        log_every_steps: Optimizer steps averaged into one logged row.
        report_to: Where rows go beside `metrics.jsonl`.
        max_minutes: Stop cleanly after so many minutes of this call; None runs to the end.
        seed: With the step number it fixes every batch and every draw of noise.
        num_loader_threads: Threads preparing batches ahead; 0 prepares them in the loop.
    """

    batch_size: int = 32
    accumulation_steps: int = 1
    num_steps: int = 100_000
    learning_rate: float = 2e-4
    warmup_steps: int = 500
    decay: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    precision: Literal["bf16", "fp32"] = "bf16"
    has_gradient_checkpointing: bool = False
    sharding: Literal["none", "full_shard"] = "none"
    checkpoint_every_s: float = 120.0
    sample_every_s: float = 300.0
    log_every_steps: int = 20
    report_to: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    max_minutes: float | None = None
    seed: int = 0
    num_loader_threads: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with.

        Raises:
            ValueError: A setting is out of its range.
        """
        for name in ("batch_size", "accumulation_steps", "num_steps", "log_every_steps"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("warmup_steps", "weight_decay", "num_loader_threads", "seed"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("learning_rate", "clip_norm", "checkpoint_every_s", "sample_every_s"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        _require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "in [0, 1)")
        _require(all(0 <= beta < 1 for beta in self.betas), "betas", self.betas, "in [0, 1)")
        for name, known in _CHOICES.items():
            _require(getattr(self, name) in known, name, getattr(self, name), " or ".join(known))
        if self.max_minutes is not None:
            _require(self.max_minutes > 0, "max_minutes", self.max_minutes, "more than 0")


_CHOICES = {
    "decay": ("cosine", "constant"),
    "precision": ("bf16", "fp32"),
    "sharding": ("none", "full_shard"),
    "report_to": ("tensorboard", "wandb", "none"),
}


def _require(holds: bool, name: str, got: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"trainer.{name}: got {got}, expected {expected}; change the setting")
