"""Everything a run needs to go on, as named tensors: networks, their average, the optimizer."""

import torch
from torch import Tensor, nn

from difffae.checkpoint import WeightsError
from difffae.training.ema import AveragedWeights
from difffae.training.optimizer import optimizer_tensors
from difffae.training.parallel import whole
from difffae.training.run_directory import Checkpoint

_MODULES, _AVERAGE, _OPTIMIZER = "modules.", "ema.", "optimizer."


def take_snapshot(
    modules: nn.ModuleDict,
    average: AveragedWeights,
    optimizer: torch.optim.Optimizer,
    *,
    is_kept: bool,
) -> dict[str, Tensor]:
    """All tensors whole, on the CPU where they were sharded; every process has to take part.

    Nothing is returned where `is_kept` is False: one process holds them all, no more.
    """
    kinds = {
        _MODULES: modules.state_dict(),
        _AVERAGE: average.average.state_dict(),
        _OPTIMIZER: optimizer_tensors(optimizer, modules),
    }
    named = {prefix + key: t for prefix, kind in kinds.items() for key, t in kind.items()}
    kept: dict[str, Tensor] = {}
    for name, tensor in named.items():
        gathered = whole(tensor)
        if is_kept:
            kept[name] = tensor if gathered is tensor else gathered.cpu()
    return kept


def averaged_tensors(snapshot: dict[str, Tensor]) -> dict[str, Tensor]:
    """The averaged weights of a snapshot, named `<network>.<weight>`."""
    return _named(snapshot, _AVERAGE)


def optimizer_state(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The optimizer's tensors of a checkpoint, for `restore_optimizer`."""
    return _named(checkpoint.tensors, _OPTIMIZER)


def restore_networks(checkpoint: Checkpoint, modules: nn.ModuleDict) -> None:
    """Fill the networks, not yet sharded, from a checkpoint.

    Raises:
        WeightsError: It holds other networks; the message names the first tensor that differs.
    """
    _fill(modules, _named(checkpoint.tensors, _MODULES), checkpoint)


def restore_average(checkpoint: Checkpoint, average: AveragedWeights) -> None:
    """Fill the averaged weights, not yet sharded, from a checkpoint.

    Raises:
        WeightsError: It holds other networks.
    """
    _fill(average.average, _named(checkpoint.tensors, _AVERAGE), checkpoint)


def _fill(module: nn.Module, tensors: dict[str, Tensor], checkpoint: Checkpoint) -> None:
    wanted = module.state_dict()
    for name in dict.fromkeys((*wanted, *tensors)):
        got = tuple(tensors[name].shape) if name in tensors else "nothing"
        expected = tuple(wanted[name].shape) if name in wanted else "nothing"
        if got != expected:
            raise WeightsError(
                f"{checkpoint.path} holds other networks than this configuration makes: got "
                f"{name} of {got}, expected {expected}; set the configuration back, start afresh "
                "(--fresh) or give another run directory"
            )
    module.load_state_dict(tensors)


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix)}
