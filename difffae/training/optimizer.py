"""AdamW for named networks: settings in, an optimizer whose state is named tensors out."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from difffae.training.parallel import laid_out_as
from difffae.training.trainer_config import TrainerConfig

_STATE_NAMES = ("step", "exp_avg", "exp_avg_sq")


def learning_rate_at(step: int, config: TrainerConfig) -> float:
    """Learning rate of the step with this number, counted from 0."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.decay == "constant":
        return config.learning_rate
    num_decaying = max(config.num_steps - config.warmup_steps, 1)
    progress = min((step - config.warmup_steps) / num_decaying, 1.0)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def build_optimizer(modules: nn.Module, config: TrainerConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over the trainable parameters, gains and biases undecayed.

    Raises:
        ValueError: Nothing in `modules` is trainable.
    """
    trainable = [weight for weight in modules.parameters() if weight.requires_grad]
    if not trainable:
        raise ValueError("got modules without trainable parameters, expected at least one")
    groups = [
        {"params": [w for w in trainable if w.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [w for w in trainable if w.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=config.betas,
        fused=True,
    )


def optimizer_tensors(optimizer: torch.optim.Optimizer, modules: nn.Module) -> dict[str, Tensor]:
    """The optimizer's state as tensors named `<kind>.<parameter name>`."""
    tensors: dict[str, Tensor] = {}
    for name, weight in modules.named_parameters():
        for kind in _STATE_NAMES:
            if kind in optimizer.state.get(weight, {}):
                tensors[f"{kind}.{name}"] = optimizer.state[weight][kind]
    return tensors


def restore_optimizer(
    optimizer: torch.optim.Optimizer, modules: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `optimizer_tensors` returned, laid out and sharded as each parameter is."""
    for name, weight in modules.named_parameters():
        if f"step.{name}" not in tensors:
            continue
        optimizer.state[weight] = {
            "step": tensors[f"step.{name}"].to(weight.device, copy=True),
            "exp_avg": laid_out_as(weight, tensors[f"exp_avg.{name}"]),
            "exp_avg_sq": laid_out_as(weight, tensors[f"exp_avg_sq.{name}"]),
        }
