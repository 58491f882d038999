"""The training loop that every stage shares: a stage and its settings in, trained weights out."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.checkpoint import WeightsError
from difffae.training.ema import AveragedWeights
from difffae.training.interruption import Interruption, noticed_interruption
from difffae.training.layout import place
from difffae.training.loader import BatchLoader, LoaderConfig, SampleOrder, noise_seed_at
from difffae.training.optimizer import (
    build_optimizer,
    learning_rate_at,
    optimizer_tensors,
    restore_optimizer,
)
from difffae.training.progress import (
    Display,
    LogRow,
    MetricsLog,
    OpenDisplay,
    open_log_lines,
)
from difffae.training.run_directory import Checkpoint, RunDirectory
from difffae.training.trainer_config import TrainerConfig

__all__ = ["NonFiniteLossError", "Stage", "TrainerConfig", "fit"]

_LOGGER = logging.getLogger(__name__)

Metric = float | Tensor


class NonFiniteLossError(ValueError):
    """The loss or its gradient became NaN or infinite; the last good checkpoint is kept."""


@runtime_checkable
class Stage(Protocol):
    """What one stage trains, on what, and toward what.

    `loss` may draw from torch's global generators (seeded by the trainer in each step) and `batch`
    from the generator it is given, nothing else; then a resumed run repeats the interrupted one.
    Every `nn.Module` attribute of the stage moves to the training device with `modules`, frozen
    networks therefore too.
    """

    @property
    def name(self) -> str:
        """The stage's name, also its folder's."""

    @property
    def modules(self) -> nn.ModuleDict:
        """The networks trained, checkpointed, averaged and exported by name."""

    def num_samples(self) -> int:
        """How many samples `batch` can be asked for."""

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        """The samples as CPU tensors; called in loader threads, several at once."""

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, Mapping[str, Metric]]:
        """The mean loss over the batch, and metrics to log; detached tensors never stall a GPU."""

    def sample_weights(self) -> NDArray[np.float64] | None:
        """Each sample's share of the draws; None gives each the same, once per pass."""

    def sample_grid(self) -> NDArray[np.uint8] | None:
        """A picture (H, W, 3) RGB to judge by; called with averaged weights in eval mode."""


class _StageLoss(nn.Module):
    """A stage's loss as a module's forward, so that data-parallel wrapping sees its networks."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.networks = stage.modules
        self._loss = stage.loss

    def forward(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, Mapping[str, Metric]]:
        return self._loss(batch, step)


def fit(
    stage: Stage,
    config: TrainerConfig,
    run_directory: Path,
    *,
    resume: bool = True,
    open_display: OpenDisplay = open_log_lines,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Train a stage, keeping everything in `<run_directory>/<stage.name>/`.

    Goes on from the newest checkpoint there, unless `resume` is False, which sets an earlier run
    aside. SIGINT and SIGTERM save and then act. Under torchrun or `accelerate launch` the processes
    train data-parallel. Progress is logged, or shown on what `open_display` opens.

    Raises:
        NonFiniteLossError: Loss or gradient became NaN or infinite.
        WeightsError: The checkpoint does not fit the stage's networks.
    """
    trainer = _Trainer(stage, config, RunDirectory(run_directory, stage.name), clock)
    trainer.prepare(resume=resume)
    with noticed_interruption() as interruption:
        trainer.run(interruption, open_display)


def _build_accelerator() -> Any:
    from accelerate import Accelerator, DistributedDataParallelKwargs

    return Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])


class _Trainer:
    """The state of one run."""

    def __init__(
        self,
        stage: Stage,
        config: TrainerConfig,
        files: RunDirectory,
        clock: Callable[[], float],
    ) -> None:
        self._stage = stage
        self._config = config
        self._files = files
        self._clock = clock
        self._accelerator = _build_accelerator()
        self._step = 0
        self._earlier_s = 0.0
        self._started = self._saved = self._sampled = self._shown = clock()
        self._shown_step = 0
        self._window: list[tuple[Tensor, Tensor, Mapping[str, Metric]]] = []
        self._metrics: MetricsLog | None = None
        self._display: Display | None = None

    def prepare(self, *, resume: bool) -> None:
        """Place the networks, restore or set aside an earlier run."""
        if self._accelerator.is_main_process:
            if not resume:
                self._files.set_aside()
            self._files.create()
        self._accelerator.wait_for_everyone()
        self._place()
        self._optimizer = build_optimizer(self._stage.modules, self._config)
        self._average = AveragedWeights(self._stage.modules, self._config.ema_decay)
        checkpoint = self._files.load_latest()
        if checkpoint is not None:
            self._restore(checkpoint)

    def _place(self) -> None:
        device = self._accelerator.device
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        held = [value for value in vars(self._stage).values() if isinstance(value, nn.Module)]
        for module in (self._stage.modules, *held):
            place(module, device)
        self._stage.modules.train()
        self._loss_module = self._accelerator.prepare_model(_StageLoss(self._stage))

    def _restore(self, checkpoint: Checkpoint) -> None:
        try:
            self._stage.modules.load_state_dict(_named(checkpoint.tensors, "modules."))
            self._average.average.load_state_dict(_named(checkpoint.tensors, "ema."))
        except RuntimeError as error:
            raise WeightsError(
                f"{checkpoint.path} holds other networks than stage {self._stage.name!r} has; "
                f"start afresh (--fresh) or give another run directory. {error}"
            ) from error
        state = _named(checkpoint.tensors, "optimizer.")
        restore_optimizer(self._optimizer, self._stage.modules, state)
        self._step = checkpoint.step
        self._earlier_s = float(checkpoint.state["seconds"])
        for name, value in self._settings().items():
            earlier = checkpoint.state["config"].get(name)
            if earlier != value:
                _LOGGER.warning("trainer.%s was %s, goes on with %s", name, earlier, value)
        _LOGGER.info("resuming %s at step %d", self._stage.name, self._step)

    def run(self, interruption: Interruption, open_display: OpenDisplay) -> None:
        """Train to the end, the time limit or an interruption; save in each case."""
        with ExitStack() as stack:
            if self._accelerator.is_main_process:
                self._open_outlets(stack, open_display)
            self._sample()
            self._shown, self._shown_step = self._clock(), self._step
            batches = stack.enter_context(
                self._loader().batches(self._step, self._config.num_steps)
            )
            for batch in batches:
                self._train_step(batch)
                if self._attend(interruption):
                    break
            self._save()
            self._sample()

    def _open_outlets(self, stack: ExitStack, open_display: OpenDisplay) -> None:
        name, num_steps = self._stage.name, self._config.num_steps
        self._display = stack.enter_context(open_display(name, self._step, num_steps))
        self._metrics = MetricsLog(self._files.metrics_path, self._step)
        stack.callback(self._metrics.close)

    def _loader(self) -> BatchLoader:
        stage, accelerator = self._stage, self._accelerator
        order = SampleOrder(stage.num_samples(), stage.sample_weights(), self._config.seed)
        config = LoaderConfig(
            batch_size=self._config.batch_size,
            seed=self._config.seed,
            num_threads=self._config.num_loader_threads,
            rank=accelerator.process_index,
            num_processes=accelerator.num_processes,
            is_pinned=accelerator.device.type == "cuda",
        )
        return BatchLoader(stage.batch, order, config)

    def _autocast(self) -> torch.autocast:
        is_bf16 = self._config.precision == "bf16"
        return torch.autocast(self._accelerator.device.type, torch.bfloat16, enabled=is_bf16)

    def _train_step(self, batch: dict[str, Tensor]) -> None:
        device = self._accelerator.device
        batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate_at(self._step, self._config)
        torch.manual_seed(
            noise_seed_at(self._config.seed, self._step, self._accelerator.process_index)
        )
        with self._autocast():
            loss, metrics = self._loss_module(batch, self._step)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        trained = self._stage.modules.parameters()
        norm = nn.utils.clip_grad_norm_(trained, self._config.clip_norm)
        self._optimizer.step()
        self._average.update(self._stage.modules, self._step)
        self._step += 1
        self._window.append((loss.detach().float(), norm, metrics))

    def _attend(self, interruption: Interruption) -> bool:
        """Log, save and sample when due; whether to stop now."""
        if self._display is not None:
            self._display.advance(self._step)
        if self._step % self._config.log_every_steps == 0:
            self._log()
        now = self._clock()
        minutes = self._config.max_minutes
        is_late = minutes is not None and now - self._started >= 60 * minutes
        is_stopping, is_saving = self._agreed(
            is_late or interruption.signal_number is not None,
            now - self._saved >= self._config.checkpoint_every_s,
        )
        if is_stopping or self._step == self._config.num_steps:
            return True
        if is_saving:
            self._save()
        if now - self._sampled >= self._config.sample_every_s:
            self._sample()
        return False

    def _agreed(self, *wishes: bool) -> list[bool]:
        """What any process wishes, so that all do the same."""
        if self._accelerator.num_processes == 1:
            return list(wishes)
        own = torch.tensor(wishes, dtype=torch.float32, device=self._accelerator.device)
        return [bool(value) for value in self._accelerator.reduce(own, reduction="sum").tolist()]

    def _log(self) -> None:
        """Check and report the steps since the last row."""
        values = self._drain()
        now = self._clock()
        num_steps = self._step - self._shown_step
        per_step = (now - self._shown) / num_steps if num_steps else 0.0
        self._shown, self._shown_step = now, self._step
        if self._metrics is None or self._display is None:
            return
        remaining = (self._config.num_steps - self._step) * per_step
        if self._config.max_minutes is not None:
            limit = 60 * self._config.max_minutes - (now - self._started)
            remaining = max(min(remaining, limit), 0.0)
        together = self._config.batch_size * self._accelerator.num_processes
        row = LogRow(
            step=self._step,
            values=values,
            samples_per_s=together / per_step if per_step > 0 else 0.0,
            remaining_s=remaining,
        )
        self._metrics.write(row)
        self._display.show(row)

    def _drain(self) -> dict[str, float]:
        """Means over the window and all processes.

        Raises:
            NonFiniteLossError: A loss or gradient norm in the window is NaN or infinite.
        """
        window, self._window = self._window, []
        pairs = torch.stack([torch.stack((loss, norm)) for loss, norm, _ in window])
        pairs = self._accelerator.reduce(pairs, reduction="mean").cpu()
        is_bad = ~torch.isfinite(pairs).all(dim=1)
        if bool(is_bad.any()):
            place = int(is_bad.nonzero()[0, 0])
            self._refuse(self._step - len(window) + place + 1, pairs[place])
        loss, norm = pairs.mean(dim=0).tolist()
        rate = learning_rate_at(self._step - 1, self._config)
        own = _means([metrics for _, _, metrics in window])
        return {"loss": loss, "grad_norm": norm, "learning_rate": rate, **own}

    def _refuse(self, step: int, pair: Tensor) -> None:
        paths = self._files.checkpoint_paths()
        kept = f"the last good checkpoint is {paths[-1]}" if paths else "no checkpoint exists yet"
        raise NonFiniteLossError(
            f"step {step} of {self._stage.name}: got loss {pair[0]:g} and gradient norm "
            f"{pair[1]:g}, expected finite numbers; {kept}. Lower learning_rate or clip_norm, or "
            "change seed, and run again"
        )

    def _save(self) -> None:
        """Write a checkpoint and the averaged weights, once the losses so far proved finite."""
        if self._window:
            self._log()
        self._saved = self._clock()
        if not self._accelerator.is_main_process:
            return
        modules = self._stage.modules
        kinds = {
            "modules.": modules.state_dict(),
            "ema.": self._average.average.state_dict(),
            "optimizer.": optimizer_tensors(self._optimizer, modules),
        }
        tensors = {prefix + key: t for prefix, kind in kinds.items() for key, t in kind.items()}
        path = self._files.save(tensors, self._state())
        exported = self._average.average
        assert isinstance(exported, nn.ModuleDict)
        self._files.export(exported)
        _LOGGER.info("saved %s", path)

    def _settings(self) -> dict[str, Any]:
        return {**asdict(self._config), "betas": list(self._config.betas)}

    def _state(self) -> dict[str, Any]:
        return {
            "stage": self._stage.name,
            "step": self._step,
            "seconds": self._earlier_s + self._clock() - self._started,
            "num_processes": self._accelerator.num_processes,
            "torch": torch.__version__,
            "config": self._settings(),
        }

    def _sample(self) -> None:
        """Write a sample grid with the averaged weights."""
        self._sampled = self._clock()
        if not self._accelerator.is_main_process:
            return
        with self._average.swapped_into(self._stage.modules), torch.no_grad(), self._autocast():
            picture = self._stage.sample_grid()
        if picture is not None:
            self._files.write_sample(self._step, picture)


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix)}


def _means(rows: list[Mapping[str, Metric]]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([float(r[name]) for r in rows if name in r])) for name in names}
