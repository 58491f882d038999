"""The training loop that every stage shares: a stage and its settings in, trained weights out."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from difffae.training.ema import AveragedWeights
from difffae.training.errors import NonFiniteLossError, RunDirectoryError
from difffae.training.interruption import Interruption, noticed_interruption
from difffae.training.layout import place
from difffae.training.loader import BatchLoader, LoaderConfig, SampleOrder, noise_seed_at
from difffae.training.optimizer import build_optimizer, learning_rate_at, restore_optimizer
from difffae.training.parallel import Processes, held_gradients, whole
from difffae.training.progress import Display, LogRow, MetricsLog, OpenDisplay, open_log_lines
from difffae.training.record import describe_trainer, require_same, to_json
from difffae.training.run_directory import Checkpoint, RunDirectory
from difffae.training.snapshot import (
    averaged_tensors,
    optimizer_state,
    restore_average,
    restore_networks,
    take_snapshot,
)
from difffae.training.stage import DrawingStage, Metric, Stage
from difffae.training.trackers import TrackedRun, open_tracker
from difffae.training.trainer_config import TrainerConfig
from difffae.training.window import BadStep, LossWindow

__all__ = ["NonFiniteLossError", "Stage", "TrainerConfig", "Watch", "fit"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Watch:
    """How a run is watched.

    Attributes:
        open_display: Opens what progress is shown on; by default it is logged.
        clock: Seconds, for intervals and the time limit.
    """

    open_display: OpenDisplay = open_log_lines
    clock: Callable[[], float] = time.monotonic


@dataclass(kw_only=True)
class _Times:
    """When things last happened, by the run's clock."""

    started: float
    saved: float
    sampled: float
    shown: float
    shown_step: int = 0


def fit(
    stage: Stage,
    config: TrainerConfig,
    run_directory: Path,
    *,
    resume: bool = True,
    run_config: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
) -> int:
    """Train a stage, keeping everything in `<run_directory>/<stage.name>/`.

    Goes on from the newest checkpoint there, unless `resume` is False, which sets an earlier run
    aside. SIGINT and SIGTERM save and then act. Under torchrun or `accelerate launch` the processes
    train together.

    Args:
        stage: What to train.
        config: How.
        run_directory: Folder of the whole run.
        resume: Go on from the newest checkpoint.
        run_config: What else decides the result (`record.describe_run`); it is kept in the
            checkpoints, and a run with another one is not resumed.
        watch: How progress is shown.

    Returns:
        Finished optimizer steps.

    Raises:
        NonFiniteLossError: Loss or gradient became NaN or infinite.
        RunDirectoryError: A file of the run cannot be written.
        ConfigMismatchError: The checkpoint was trained with another configuration.
        WeightsError: The checkpoint does not fit the stage's networks.
    """
    files = RunDirectory(run_directory, stage.name)
    trainer = _Trainer(stage, config, files, run_config or {}, watch or Watch())
    trainer.prepare(resume=resume)
    with noticed_interruption() as interruption:
        return trainer.run(interruption)


class _Trainer:
    """The state of one run."""

    def __init__(
        self,
        stage: Stage,
        config: TrainerConfig,
        files: RunDirectory,
        run_config: Mapping[str, Any],
        watch: Watch,
    ) -> None:
        self._stage, self._config, self._files = stage, config, files
        self._run_config, self._watch = run_config, watch
        self._processes = Processes()
        self._is_sharded = config.sharding == "full_shard" and self._processes.count > 1
        self._step = 0
        self._earlier_s = 0.0
        now = watch.clock()
        self._times = _Times(started=now, saved=now, sampled=now, shown=now)
        self._window = LossWindow()
        self._shares = LoaderConfig(
            batch_size=config.batch_size,
            seed=config.seed,
            num_threads=config.num_loader_threads,
            rank=self._processes.rank,
            num_processes=self._processes.count,
            num_micro_steps=config.accumulation_steps,
            is_pinned=self._processes.device.type == "cuda",
            draws=stage.draws() if isinstance(stage, DrawingStage) else {},
        )
        self._metrics: MetricsLog | None = None
        self._display: Display | None = None

    def prepare(self, *, resume: bool) -> None:
        """Place the networks, restore or set aside an earlier run."""
        self._write(lambda: self._open_files(resume=resume))
        stage, config = self._stage, self._config
        checkpoint = self._files.load_latest()
        if checkpoint is not None:
            self._check(checkpoint)
            restore_networks(checkpoint, stage.modules)
        self._place()
        self._average = AveragedWeights(stage.modules, config.ema_decay)
        if checkpoint is not None:
            restore_average(checkpoint, self._average)
        self._connect()
        self._optimizer = build_optimizer(stage.modules, config)
        if checkpoint is not None:
            restore_optimizer(self._optimizer, stage.modules, optimizer_state(checkpoint))
            self._step = checkpoint.step
            self._earlier_s = float(checkpoint.state["seconds"])
            _LOGGER.info("resuming %s at step %d", stage.name, self._step)

    def _open_files(self, *, resume: bool) -> None:
        if not resume:
            self._files.set_aside()
        self._files.create()

    def _check(self, checkpoint: Checkpoint) -> None:
        """Refuse a checkpoint of another configuration; tell what else has changed."""
        earlier = checkpoint.state
        count = int(earlier["num_processes"])
        names = {each.name for each in fields(TrainerConfig)}
        known = TrainerConfig(**{k: v for k, v in earlier["config"].items() if k in names})
        trainers = [describe_trainer(known, count)]
        trainers.append(describe_trainer(self._config, self._processes.count))
        parts = [earlier.get("run", {}), self._run_config]
        was, now = (
            {**part, "trainer": trainer} for part, trainer in zip(parts, trainers, strict=True)
        )
        require_same(to_json(was), now, where=checkpoint.path)
        for name, value in to_json(asdict(self._config)).items():
            if earlier["config"].get(name, value) != value:
                message = "trainer.%s was %s, goes on with %s"
                _LOGGER.warning(message, name, earlier["config"][name], value)

    def _place(self) -> None:
        device, stage = self._processes.device, self._stage
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        held = [value for value in vars(stage).values() if isinstance(value, nn.Module)]
        for module in (stage.modules, *held):
            place(module, device, is_channels_last=not self._is_sharded)
        stage.modules.train()
        if self._config.has_gradient_checkpointing:
            self._recompute()

    def _recompute(self) -> None:
        able = [part for part in self._stage.modules.modules() if hasattr(part, "is_recomputing")]
        for part in able:
            part.is_recomputing = True  # type: ignore[assignment]
        if not able:
            message = "trainer.has_gradient_checkpointing: no network of stage %s can; it has none"
            _LOGGER.warning(message, self._stage.name)

    def _connect(self) -> None:
        """Let the processes train the same networks."""
        if self._is_sharded:
            for networks in (self._stage.modules, self._average.average):
                assert isinstance(networks, nn.ModuleDict)
                self._processes.shard(networks)
            self._loss: Callable[..., Any] = self._stage.loss
        else:
            self._loss = self._processes.wrapped(self._stage)

    def run(self, interruption: Interruption) -> int:
        """Train to the end, the time limit or an interruption; save in each case."""
        with ExitStack() as stack:
            self._write(lambda: self._open_outlets(stack))
            self._sample()
            self._times.shown, self._times.shown_step = self._watch.clock(), self._step
            batches = stack.enter_context(
                self._loader().batches(self._step, self._config.num_steps)
            )
            while self._step < self._config.num_steps:
                self._train_step(islice(batches, self._config.accumulation_steps))
                if self._attend(interruption):
                    break
            self._save()
            self._sample()
        return self._step

    def _open_outlets(self, stack: ExitStack) -> None:
        name, num_steps = self._stage.name, self._config.num_steps
        settings = to_json({**self._run_config, "trainer": asdict(self._config)})
        run = TrackedRun(folder=self._files.folder, first_step=self._step, settings=settings)
        tracker = open_tracker(self._config.report_to, run)
        self._metrics = MetricsLog(self._files.metrics_path, self._step, tracker)
        stack.callback(self._metrics.close)
        self._display = stack.enter_context(self._watch.open_display(name, self._step, num_steps))

    def _loader(self) -> BatchLoader:
        stage, config = self._stage, self._config
        order = SampleOrder(stage.num_samples(), stage.sample_weights(), config.seed)
        return BatchLoader(stage.batch, order, self._shares)

    def _train_step(self, batches: Iterator[dict[str, Tensor]]) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate_at(self._step, self._config)
        self._optimizer.zero_grad(set_to_none=True)
        parts = [self._micro_step(number, batch) for number, batch in enumerate(batches)]
        loss = torch.stack([loss for loss, _ in parts]).mean()
        trained = self._stage.modules.parameters()
        norm = whole(nn.utils.clip_grad_norm_(trained, self._config.clip_norm))
        self._optimizer.step()
        self._average.update(self._stage.modules, self._step)
        self._step += 1
        self._window.add(loss, norm, [metrics for _, metrics in parts])

    def _micro_step(
        self, number: int, batch: dict[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Metric]]:
        """Add one micro-step's gradients; its loss and metrics."""
        config, device = self._config, self._processes.device
        batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
        torch.manual_seed(noise_seed_at(config.seed, self._step, self._shares.share(number)))
        is_last = number == config.accumulation_steps - 1
        with held_gradients(self._loss, is_held=not is_last):
            with self._autocast():
                loss, metrics = self._loss(batch, self._step)
            (loss / config.accumulation_steps).backward()
        return loss.detach().float(), metrics

    def _autocast(self) -> torch.autocast:
        is_bf16 = self._config.precision == "bf16"
        return torch.autocast(self._processes.device.type, torch.bfloat16, enabled=is_bf16)

    def _attend(self, interruption: Interruption) -> bool:
        """Log, save and sample when due; whether to stop now."""
        if self._display is not None:
            self._display.advance(self._step)
        if self._step % self._config.log_every_steps == 0:
            self._log()
        now, times, config = self._watch.clock(), self._times, self._config
        is_late = config.max_minutes is not None and now - times.started >= 60 * config.max_minutes
        is_stopping, is_saving, is_sampling = self._processes.agreed(
            is_late or interruption.signal_number is not None,
            now - times.saved >= config.checkpoint_every_s,
            now - times.sampled >= config.sample_every_s,
        )
        if is_stopping:
            return True
        if self._step < config.num_steps and is_saving:
            self._save()
        if self._step < config.num_steps and is_sampling:
            self._sample()
        return False

    def _log(self) -> None:
        """Check and report the steps since the last row."""
        num_steps = self._step - self._times.shown_step
        first = self._step - len(self._window) + 1
        values, bad = self._window.drain(self._processes.mean)
        if bad is not None:
            self._refuse(first + bad.place, bad)
        now = self._watch.clock()
        per_step = (now - self._times.shown) / num_steps if num_steps else 0.0
        self._times.shown, self._times.shown_step = now, self._step
        together = self._config.batch_size * self._shares.num_shares
        row = LogRow(
            step=self._step,
            values={**values, "learning_rate": learning_rate_at(self._step - 1, self._config)},
            samples_per_s=together / per_step if per_step > 0 else 0.0,
            remaining_s=self._remaining(per_step),
        )
        self._write(lambda: self._report(row))

    def _remaining(self, per_step: float) -> float:
        remaining = (self._config.num_steps - self._step) * per_step
        if self._config.max_minutes is None:
            return remaining
        passed = self._watch.clock() - self._times.started
        return max(min(remaining, 60 * self._config.max_minutes - passed), 0.0)

    def _report(self, row: LogRow) -> None:
        assert self._metrics is not None
        assert self._display is not None
        self._metrics.write(row)
        self._display.show(row)

    def _refuse(self, step: int, bad: BadStep) -> None:
        raise NonFiniteLossError(
            f"step {step} of {self._stage.name}: got loss {bad.loss:g} and gradient norm "
            f"{bad.norm:g}, expected finite numbers; {self._files.kept()}. Lower learning_rate or "
            "clip_norm, or change seed, and run again"
        )

    def _save(self) -> None:
        """Write a checkpoint and the averaged weights, once the losses so far proved finite."""
        if len(self._window):
            self._log()
        self._times.saved = self._watch.clock()
        tensors = take_snapshot(
            self._stage.modules,
            self._average,
            self._optimizer,
            is_kept=self._processes.is_main,
        )
        self._write(lambda: self._keep(tensors))

    def _keep(self, tensors: dict[str, Tensor]) -> None:
        path = self._files.save(tensors, self._state())
        self._files.export(averaged_tensors(tensors))
        _LOGGER.info("saved %s", path)

    def _state(self) -> dict[str, Any]:
        return {
            "stage": self._stage.name,
            "step": self._step,
            "seconds": self._earlier_s + self._watch.clock() - self._times.started,
            "num_processes": self._processes.count,
            "torch": torch.__version__,
            "config": to_json(asdict(self._config)),
            "run": to_json(self._run_config),
        }

    def _sample(self) -> None:
        """Write a sample grid with the averaged weights."""
        self._times.sampled = self._watch.clock()
        picture = None
        if self._processes.is_main or self._is_sharded:
            with self._average.swapped_into(self._stage.modules), torch.no_grad(), self._autocast():
                picture = self._stage.sample_grid()
        self._write(lambda: picture is None or self._files.write_sample(self._step, picture))

    def _write(self, act: Callable[[], object]) -> None:
        """Let the main process write.

        Raises:
            RunDirectoryError: It cannot.
        """
        try:
            self._processes.on_main(act)
        except OSError as error:
            raise RunDirectoryError(
                f"step {self._step} of {self._stage.name}: cannot write to {self._files.folder} "
                f"({error}); {self._files.kept()}. Make room or give another run directory, and "
                "run again"
            ) from error
