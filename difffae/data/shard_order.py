"""The order of samples for sets larger than memory: shards shuffled, then samples near one another.

Reading is then almost sequential, each process mostly in shards of its own. Like the order of
single samples in `difffae.training.loader` it is a function of seed and step: the same in every
run, and after a resume at any step.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


class ShardOrder:
    """Which samples each step sees; every sample once a pass, but for a rest under one a process.

    Raises:
        ValueError: fewer samples than processes, or a window that holds no sample.
    """

    def __init__(
        self, shard_sizes: Sequence[int], *, num_processes: int, window: int, seed: int
    ) -> None:
        """Prepare the order.

        Args:
            shard_sizes: how many samples each shard holds.
            num_processes: among how many processes each step's samples are divided.
            window: how far a sample may move from its place in its shard, in samples.
            seed: of all shuffling.
        """
        self._sizes = np.asarray(shard_sizes, np.int64)
        self._starts = np.cumsum([0, *self._sizes])
        self._span = int(self._sizes.sum()) // num_processes
        if not self._span or window < 1:
            raise ValueError(
                f"got {self._sizes.sum()} samples for {num_processes} processes and a window of "
                f"{window}, expected at least one sample each and a window of at least 1"
            )
        self._num_processes, self._window, self._seed = num_processes, window, seed
        self._pass_order = lru_cache(maxsize=2)(self._draw_pass_order)

    def indices(self, step: int, batch_size: int) -> NDArray[np.int64]:
        """The sample indices of a step, those of each process together, in the order of processes.

        Raises:
            ValueError: the batch does not divide among the processes.
        """
        own, rest = divmod(batch_size, self._num_processes)
        if rest:
            raise ValueError(
                f"got a batch of {batch_size} for {self._num_processes} processes, expected a "
                "multiple of them"
            )
        passes, places = np.divmod(step * own + np.arange(own), self._span)
        columns = [
            self._pass_order(int(number))[:, place]
            for number, place in zip(passes, places, strict=True)
        ]
        return np.stack(columns, -1).ravel() if columns else np.zeros(0, np.int64)

    def _draw_pass_order(self, number: int) -> NDArray[np.int64]:
        """Each process's samples of a pass, processes × span: shards in a row, then shuffled."""
        random = np.random.default_rng((self._seed, number))
        shards = random.permutation(len(self._sizes))
        runs = [np.arange(self._starts[shard], self._starts[shard + 1]) for shard in shards]
        spans = np.concatenate(runs)[: self._span * self._num_processes]
        spans = spans.reshape(self._num_processes, self._span)
        places = np.arange(self._span) + self._window * random.random(spans.shape)
        return np.asarray(np.take_along_axis(spans, np.argsort(places, axis=1), axis=1))
