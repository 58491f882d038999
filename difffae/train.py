"""Train: `python -m difffae.train --config configs/lite-256.yaml --stage STAGE`.

Takes a configuration, overrides of any of its values and the name of a stage (or `all`), leaves
checkpoints, weights, losses and sample pictures in `<run directory>/<stage>/`, and what it was
trained with in `<run directory>/config.yaml`. Under `accelerate launch` or torchrun the processes
train together.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.logging import RichHandler

from difffae.checkpoint import WeightsError
from difffae.training import stages
from difffae.training.config import Config
from difffae.training.errors import TrainingError
from difffae.training.order import FinishedStages
from difffae.training.parallel import Processes
from difffae.training.progress import OpenDisplay, open_log_lines
from difffae.training.record import describe_run, keep_config
from difffae.training.request import Catalog, Request, read_request
from difffae.training.run_directory import RunDirectory
from difffae.training.stages import DirectRecipe, GradientRecipe
from difffae.training.terminal import open_bar
from difffae.training.trainer import Watch, fit
from difffae.training.trainer_config import TrainerConfig

_EXIT_MISUSE = 2
_EXIT_INTERRUPTED = 130
_LOGGER = logging.getLogger("difffae.train")  # __name__ is __main__ where it is run


def main(arguments: Sequence[str], console: Console, catalog: Catalog) -> int:
    """Run the command; its exit status is 0, 2 for a mistaken request, 130 after Ctrl-C."""
    rank = int(os.environ.get("RANK", "0"))
    _start_logging(console, is_quiet=rank > 0)
    try:
        request = read_request(arguments, catalog)
        _Command(request, catalog, console).run()
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except (TrainingError, WeightsError) as refusal:
        process = f" (process {rank})" if rank else ""
        said = f"difffae.train{process}: {refusal}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)
        return _EXIT_MISUSE
    return 0


class _Command:
    """One call of the command."""

    def __init__(self, request: Request, catalog: Catalog, console: Console) -> None:
        self._request = request
        self._console = console
        self._processes = Processes()
        self._finished = FinishedStages(request.run_directory, list(catalog.recipes))
        self._started = time.monotonic()

    def run(self) -> None:
        """Train what is asked for; a stage that its time limit stops is the last one."""
        self._on_main(self._keep_config)
        for name, recipe in self._request.stages.items():
            if self._is_finished(name, recipe):
                _LOGGER.info("%s is finished", name)
            elif isinstance(recipe, DirectRecipe):
                self._on_main(partial(self._learn, name, recipe))
            elif not self._train(name, recipe):
                _LOGGER.info("%s stopped before its end; run again to go on", name)
                return

    def _keep_config(self) -> None:
        request = self._request
        is_anew = request.is_whole and not request.is_resuming
        keep_config(request.config, request.run_directory, is_anew=is_anew)

    def _is_finished(self, name: str, recipe: DirectRecipe | GradientRecipe) -> bool:
        request = self._request
        if not (request.is_whole and request.is_resuming):
            return False
        if isinstance(recipe, DirectRecipe):
            return name in self._finished.names()
        done = RunDirectory(request.run_directory, name).latest_step()
        return done >= recipe.trainer(request.config).num_steps

    def _learn(self, name: str, recipe: DirectRecipe) -> None:
        self._finished.forget_from(name)
        recipe.learn(self._request.config, self._request.run_directory)
        self._finished.add(name)

    def _train(self, name: str, recipe: GradientRecipe) -> bool:
        """Whether the stage came to its end."""
        request = self._request
        trainer = self._limited(recipe.trainer(request.config))
        if trainer is None:
            return False
        self._on_main(partial(self._finished.forget_from, name))
        torch.manual_seed(trainer.seed)
        try:
            stage = recipe.build(request.config, request.run_directory)
        except ValueError as error:  # missing shards, an earlier stage not trained
            raise TrainingError(str(error)) from error
        done = fit(
            stage,
            trainer,
            request.run_directory,
            resume=request.is_resuming,
            run_config=describe_run(request.config),
            watch=Watch(open_display=_display_for(self._console)),
        )
        return done >= trainer.num_steps

    def _limited(self, trainer: TrainerConfig) -> TrainerConfig | None:
        """The trainer with what earlier stages of this call left of its minutes; None: nothing."""
        if trainer.max_minutes is None or not self._request.is_whole:
            return trainer
        left = trainer.max_minutes - (time.monotonic() - self._started) / 60
        return replace(trainer, max_minutes=left) if left > 0 else None

    def _on_main(self, act: Callable[[], Any]) -> None:
        try:
            self._processes.on_main(act)
        except OSError as error:
            raise TrainingError(
                f"cannot write to {self._request.run_directory} ({error}); make room or give "
                "another --run-directory"
            ) from error
        except ValueError as error:
            raise TrainingError(str(error)) from error


def _display_for(console: Console) -> OpenDisplay:
    return partial(open_bar, console=console) if console.is_terminal else open_log_lines


def _start_logging(console: Console, *, is_quiet: bool) -> None:
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_path=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(console.file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("difffae")
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING if is_quiet else logging.INFO)


if __name__ == "__main__":
    sys.exit(
        main(
            sys.argv[1:],
            Console(stderr=True),
            Catalog(schema=Config, recipes=stages.stage_recipes()),
        )
    )
