"""Batches by step number: (seed, step) in, the same batch out in every run and after any resume."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MakeBatch = Callable[[NDArray[np.int64], np.random.Generator], dict[str, Tensor]]

_ORDER_STREAM, _DRAW_STREAM, _BATCH_STREAM, _NOISE_STREAM, _SAMPLE_STREAM = range(5)


def generator_at(seed: int, *path: int) -> np.random.Generator:
    """An independent generator for each seed and path of numbers."""
    return np.random.default_rng(np.random.SeedSequence([seed, *path]))


def noise_seed_at(seed: int, step: int, share: int) -> int:
    """Seed of the loss's own random draws in one step's share: see `LoaderConfig.share`."""
    return int(generator_at(seed, _NOISE_STREAM, step, share).integers(2**62))


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
    """How a step's samples are shared out: this process's place among them and its threads.

    Attributes:
        batch_size: samples per process and micro-step.
        num_micro_steps: micro-steps of an optimizer step.
        draws: shapes for one sample of standard normal numbers that come with each batch, by name.
        rank, num_processes: this process among those that train together.
        seed, num_threads, is_pinned: of all draws; preparing ahead; pinned memory for a GPU.
    """

    batch_size: int
    seed: int
    num_threads: int
    rank: int
    num_processes: int
    is_pinned: bool
    num_micro_steps: int = 1
    draws: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def num_shares(self) -> int:
        """Into how many batches the samples of one optimizer step are shared out."""
        return self.num_processes * self.num_micro_steps

    def share(self, micro_step: int) -> int:
        """Which of the step's shares this process has in a micro-step."""
        return micro_step * self.num_processes + self.rank


class BatchLoader:
    """Prepares the batches of coming steps in threads, in order."""

    def __init__(self, make_batch: MakeBatch, order: SampleOrder, config: LoaderConfig) -> None:
        """Remember what makes a batch."""
        self._make_batch = make_batch
        self._order = order
        self._config = config

    @contextmanager
    def batches(self, first_step: int, last_step: int) -> Iterator[Iterator[dict[str, Tensor]]]:
        """Batches of steps `first_step` to `last_step` - 1, one a micro-step, while inside."""
        places = product(range(first_step, last_step), range(self._config.num_micro_steps))
        if not self._config.num_threads:
            yield (self.batch_at(*place) for place in places)
            return
        threads = ThreadPoolExecutor(self._config.num_threads, thread_name_prefix="batch")
        try:
            yield self._ahead(threads, places)
        finally:
            threads.shutdown(wait=True, cancel_futures=True)

    def _ahead(
        self, threads: ThreadPoolExecutor, places: Iterator[tuple[int, int]]
    ) -> Iterator[dict[str, Tensor]]:
        waiting: deque[Future[dict[str, Tensor]]] = deque()
        depth = 2 * self._config.num_threads
        while True:
            for place in islice(places, depth - len(waiting)):
                waiting.append(threads.submit(self.batch_at, *place))
            if not waiting:
                return
            yield waiting.popleft().result()

    def batch_at(self, step: int, micro_step: int = 0) -> dict[str, Tensor]:
        """This process's batch of a micro-step: 4-D tensors channels-last, pinned for a GPU.

        A step's samples are dealt out in turn, so that the first part of the whole batch is the
        first part of every share too.
        """
        config = self._config
        share = config.share(micro_step)
        together = self._order.indices(step, config.batch_size * config.num_shares)
        positions = range(share, len(together), config.num_shares)
        generator = generator_at(config.seed, _BATCH_STREAM, step, share)
        batch = self._make_batch(together[share :: config.num_shares], generator)
        drawn = self._drawn(step, positions)
        return {name: self._laid_out(tensor) for name, tensor in (batch | drawn).items()}

    def _drawn(self, step: int, positions: range) -> dict[str, Tensor]:
        """Standard normal numbers that each position of the step's whole batch has of its own."""
        shapes = self._config.draws
        if not shapes:
            return {}
        generators = [
            generator_at(self._config.seed, _SAMPLE_STREAM, step, position)
            for position in positions
        ]
        return {
            name: torch.from_numpy(
                np.stack([g.standard_normal(shape, np.float32) for g in generators])
            )
            for name, shape in shapes.items()
        }

    def _laid_out(self, tensor: Tensor) -> Tensor:
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor.pin_memory() if self._config.is_pinned else tensor
