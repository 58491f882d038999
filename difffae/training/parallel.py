"""Processes that train together: a stage's networks in, the same networks kept in step out."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from difffae.training.errors import MainProcessError, TrainingError
from difffae.training.stage import Metric, Stage

_LONGEST_WAIT = timedelta(days=1)  # others wait while the main process encodes a whole data set


class Processes:
    """This process and those that accelerate or torchrun started with it; one is enough."""

    def __init__(self) -> None:
        """Join the others.

        Raises:
            TrainingError: The launcher was asked to shard, which is `trainer.sharding`'s to say.
        """
        from accelerate import (
            Accelerator,
            DistributedDataParallelKwargs,
            DistributedType,
            InitProcessGroupKwargs,
        )

        self._accelerator: Any = Accelerator(
            cpu=not torch.accelerator.is_available(),  # else torchrun on a CPU joins nothing
            kwargs_handlers=[
                DistributedDataParallelKwargs(find_unused_parameters=True),
                InitProcessGroupKwargs(timeout=_LONGEST_WAIT),
            ],
        )
        if self._accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
            raise TrainingError(
                f"got a launch with {self._accelerator.distributed_type.value}, expected a plain "
                "multi-process one; leave that out of the launch and set trainer.sharding "
                "to full_shard"
            )
        self.device: torch.device = self._accelerator.device
        self.rank: int = self._accelerator.process_index
        self.count: int = self._accelerator.num_processes
        self.is_main: bool = self._accelerator.is_main_process

    def wrapped(self, stage: Stage) -> nn.Module:
        """The stage's loss as a module whose backward pass averages gradients over processes."""
        prepared: nn.Module = self._accelerator.prepare_model(_StageLoss(stage))
        return prepared

    def shard(self, networks: nn.ModuleDict) -> None:
        """Spread every network's weights over the processes (FSDP), in place.

        A network is gathered piece by piece as it runs: an element of its module lists at a time.
        Its own `forward` has to be what is called.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device.type, (self.count,))
        for tensor in (*networks.parameters(), *networks.buffers()):
            torch.distributed.broadcast(tensor.data, src=0)
        for network in networks.values():
            lists = [part for part in network.modules() if isinstance(part, nn.ModuleList)]
            for piece in (*(element for each in lists for element in each), network):
                if any(True for _ in piece.parameters()):
                    fully_shard(piece, mesh=mesh, reshard_after_forward=True)

    def agreed(self, *wishes: bool) -> list[bool]:
        """What any process wishes, so that all do the same."""
        if self.count == 1:
            return list(wishes)
        own = torch.tensor(wishes, dtype=torch.float32, device=self.device)
        return [bool(value) for value in self._accelerator.reduce(own, reduction="sum").tolist()]

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, on the CPU."""
        mean: Tensor = self._accelerator.reduce(values, reduction="mean")
        return mean.cpu()

    def on_main(self, act: Callable[[], object]) -> None:
        """Let the main process act while the others wait; what it raises stops them all.

        Raises:
            ValueError, OSError: In the main process, what `act` raised.
            MainProcessError: In the others, after the main process failed.
        """
        failure: ValueError | OSError | None = None
        if self.is_main:
            try:
                act()
            except (ValueError, OSError) as error:
                failure = error
        (has_failed,) = self.agreed(failure is not None)
        if failure is not None:
            raise failure
        if has_failed:
            raise MainProcessError("stopped with the main process, which failed and said why")


@contextmanager
def held_gradients(loss: Callable[..., Any], *, is_held: bool) -> Iterator[None]:
    """While held, gradients of a data-parallel module add up in each process unaveraged."""
    from torch.nn.parallel import DistributedDataParallel

    if is_held and isinstance(loss, DistributedDataParallel):
        with loss.no_sync():
            yield
    else:
        yield


def whole(tensor: Tensor) -> Tensor:
    """A tensor gathered from all processes, where it is sharded; all of them have to ask."""
    sharded = _sharded(tensor)
    gathered: Tensor = tensor if sharded is None else sharded.full_tensor()
    return gathered


def own_part(tensor: Tensor) -> Tensor:
    """This process's part of a sharded tensor, sharing its memory; any other as it is."""
    sharded = _sharded(tensor)
    part: Tensor = tensor if sharded is None else sharded.to_local()
    return part


def laid_out_as(weight: Tensor, values: Tensor) -> Tensor:
    """A copy of whole values, on the weight's device, in its memory layout, sharded as it is."""
    sharded = _sharded(weight)
    if sharded is None:
        return torch.empty_like(weight.data).copy_(values)
    from torch.distributed.tensor import distribute_tensor

    moved = values.to(weight.device)
    return distribute_tensor(moved, sharded.device_mesh, sharded.placements)


def _sharded(tensor: Tensor) -> Any:
    """The tensor as the DTensor that it is, or None."""
    if not torch.distributed.is_available():
        return None
    from torch.distributed.tensor import DTensor

    return tensor if isinstance(tensor, DTensor) else None


class _StageLoss(nn.Module):
    """A stage's loss as a module's forward, so that data-parallel wrapping sees its networks."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.networks = stage.modules
        self._loss = stage.loss

    def forward(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, Mapping[str, Metric]]:
        return self._loss(batch, step)
