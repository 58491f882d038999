"""Batches by step number: (seed, step) in, the same batch out in every run and after any resume."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MakeBatch = Callable[[NDArray[np.int64], np.random.Generator], dict[str, Tensor]]

_ORDER_STREAM, _DRAW_STREAM, _BATCH_STREAM, _NOISE_STREAM = range(4)


def generator_at(seed: int, *path: int) -> np.random.Generator:
    """An independent generator for each seed and path of numbers."""
    return np.random.default_rng(np.random.SeedSequence([seed, *path]))


def noise_seed_at(seed: int, step: int, rank: int) -> int:
    """Seed of the loss's own random draws in one step of one process."""
    return int(generator_at(seed, _NOISE_STREAM, step, rank).integers(2**62))


class SampleOrder:
    """Which samples each step sees.

    Without weights every sample comes once per pass, in a new order each pass; with weights each
    sample is drawn independently, with replacement.
    """

    def __init__(self, num_samples: int, weights: NDArray[np.float64] | None, seed: int) -> None:
        """Check the weights and prepare their cumulative sum.

        Raises:
            ValueError: No samples, or weights that are no distribution over them.
        """
        if num_samples < 1:
            raise ValueError(f"got {num_samples} samples, expected at least 1; prepare data first")
        self._num_samples = num_samples
        self._seed = seed
        self._cumulative = None if weights is None else _cumulative(weights, num_samples)
        self._pass_order = lru_cache(maxsize=4)(self._draw_pass_order)

    def indices(self, step: int, batch_size: int) -> NDArray[np.int64]:
        """The `batch_size` sample indices of a step."""
        if self._cumulative is not None:
            draws = generator_at(self._seed, _DRAW_STREAM, step).random(batch_size)
            chosen = np.searchsorted(self._cumulative, draws, side="right")
            return np.minimum(chosen, self._num_samples - 1).astype(np.int64)
        positions = step * batch_size + np.arange(batch_size)
        passes, places = np.divmod(positions, self._num_samples)
        return np.array(
            [self._pass_order(int(p))[q] for p, q in zip(passes, places, strict=True)], np.int64
        )

    def _draw_pass_order(self, number: int) -> NDArray[np.int64]:
        return generator_at(self._seed, _ORDER_STREAM, number).permutation(self._num_samples)


def _cumulative(weights: NDArray[np.float64], num_samples: int) -> NDArray[np.float64]:
    if weights.shape != (num_samples,):
        raise ValueError(f"got sample weights of shape {weights.shape}, expected ({num_samples},)")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError("got negative, infinite or all-zero sample weights, expected a share each")
    total = np.cumsum(weights, dtype=np.float64)
    return np.asarray(total / total[-1])


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How batches are shared out: this process's place among them and its threads."""

    batch_size: int
    seed: int
    num_threads: int
    rank: int
    num_processes: int
    is_pinned: bool


class BatchLoader:
    """Makes this process's batch of each step, some steps ahead, in threads."""

    def __init__(self, make_batch: MakeBatch, order: SampleOrder, config: LoaderConfig) -> None:
        """Keep what is needed; nothing starts before `batches`."""
        self._make_batch = make_batch
        self._order = order
        self._config = config

    @contextmanager
    def batches(self, first_step: int, last_step: int) -> Iterator[Iterator[dict[str, Tensor]]]:
        """Iterate over the batches of steps `first_step` up to, without, `last_step`."""
        if self._config.num_threads == 0:
            yield map(self.batch_at, range(first_step, last_step))
            return
        threads = ThreadPoolExecutor(self._config.num_threads, thread_name_prefix="loader")
        try:
            yield self._ahead(threads, first_step, last_step)
        finally:
            threads.shutdown(wait=True, cancel_futures=True)

    def _ahead(
        self, threads: ThreadPoolExecutor, first_step: int, last_step: int
    ) -> Iterator[dict[str, Tensor]]:
        waiting: deque[Future[dict[str, Tensor]]] = deque()
        next_step = first_step
        depth = 2 * self._config.num_threads
        while next_step < last_step or waiting:
            while next_step < last_step and len(waiting) < depth:
                waiting.append(threads.submit(self.batch_at, next_step))
                next_step += 1
            yield waiting.popleft().result()

    def batch_at(self, step: int) -> dict[str, Tensor]:
        """This process's batch of one step: 4-D tensors channels-last, pinned for a GPU."""
        config = self._config
        together = self._order.indices(step, config.batch_size * config.num_processes)
        own = together[config.rank * config.batch_size :][: config.batch_size]
        generator = generator_at(config.seed, _BATCH_STREAM, step, config.rank)
        batch = self._make_batch(own, generator)
        return {name: self._laid_out(tensor) for name, tensor in batch.items()}

    def _laid_out(self, tensor: Tensor) -> Tensor:
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor.pin_memory() if self._config.is_pinned else tensor
