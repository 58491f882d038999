"""Batches by step number."""

import threading

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from difffae.training.loader import BatchLoader, LoaderConfig, SampleOrder, noise_seed_at


def tell_indices(indices: NDArray[np.int64], generator: np.random.Generator) -> dict[str, Tensor]:
    draws = generator.standard_normal(len(indices))
    return {"indices": torch.from_numpy(indices), "draws": torch.from_numpy(draws)}


def settings(
    *, batch_size: int = 4, num_threads: int = 2, rank: int = 0, num_processes: int = 1
) -> LoaderConfig:
    return LoaderConfig(
        batch_size=batch_size,
        seed=3,
        num_threads=num_threads,
        rank=rank,
        num_processes=num_processes,
        is_pinned=False,
    )


def test_every_sample_comes_once_per_pass_in_a_new_order() -> None:
    order = SampleOrder(10, None, seed=1)
    together = np.concatenate([order.indices(step, 4) for step in range(5)])
    first, second = together[:10], together[10:]
    assert sorted(first) == list(range(10))
    assert sorted(second) == list(range(10))
    assert list(first) != list(second)


def test_a_batch_may_be_larger_than_the_data() -> None:
    assert np.bincount(SampleOrder(3, None, seed=0).indices(0, 9)).tolist() == [3, 3, 3]


def test_weights_set_how_often_a_sample_is_drawn() -> None:
    order = SampleOrder(3, np.array([1.0, 0.0, 3.0]), seed=1)
    counts = np.bincount(order.indices(0, 40_000), minlength=3) / 40_000
    assert counts[1] == 0
    assert counts[2] == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("weights", [[1.0, -1.0], [0.0, 0.0], [np.nan, 1.0], [1.0, 1.0, 1.0]])
def test_weights_that_are_no_distribution_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="sample weights"):
        SampleOrder(2, np.array(weights), seed=0)


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0 samples"):
        SampleOrder(0, None, seed=0)


def test_two_processes_share_out_the_batch_of_one() -> None:
    order = SampleOrder(50, None, seed=2)
    whole = BatchLoader(tell_indices, order, settings(batch_size=8)).batch_at(5)
    parts = [
        BatchLoader(tell_indices, order, settings(rank=rank, num_processes=2)).batch_at(5)
        for rank in (0, 1)
    ]
    assert torch.equal(torch.cat([part["indices"] for part in parts]), whole["indices"])
    assert not torch.equal(parts[0]["draws"], parts[1]["draws"])


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_batches_come_in_order_and_depend_on_the_step_only(num_threads: int) -> None:
    order = SampleOrder(50, None, seed=2)
    loader = BatchLoader(tell_indices, order, settings(num_threads=num_threads))
    with loader.batches(6, 12) as batches:
        got = list(batches)
    assert len(got) == 6
    for step, batch in zip(range(6, 12), got, strict=True):
        again = loader.batch_at(step)
        assert torch.equal(batch["indices"], again["indices"])
        assert torch.equal(batch["draws"], again["draws"])


def test_only_a_bounded_number_of_batches_is_made_ahead() -> None:
    made = []
    is_full = threading.Event()

    def count(indices: NDArray[np.int64], _: np.random.Generator) -> dict[str, Tensor]:
        made.append(len(indices))
        if len(made) == 4:
            is_full.set()
        return {}

    loader = BatchLoader(count, SampleOrder(50, None, seed=2), settings(num_threads=2))
    with loader.batches(0, 1000) as batches:
        next(batches)
        assert is_full.wait(30)
    assert len(made) == 4


def test_an_error_in_a_loader_thread_reaches_the_loop() -> None:
    def fail(_: NDArray[np.int64], __: np.random.Generator) -> dict[str, Tensor]:
        raise ValueError("unreadable shard")

    loader = BatchLoader(fail, SampleOrder(5, None, seed=2), settings())
    with loader.batches(0, 3) as batches, pytest.raises(ValueError, match="unreadable shard"):
        next(batches)


def test_pictures_are_laid_out_channels_last() -> None:
    def pictures(indices: NDArray[np.int64], _: np.random.Generator) -> dict[str, Tensor]:
        return {"picture": torch.zeros(len(indices), 3, 4, 5), "row": torch.zeros(2, 3)}

    batch = BatchLoader(pictures, SampleOrder(5, None, seed=2), settings()).batch_at(0)
    assert batch["picture"].is_contiguous(memory_format=torch.channels_last)
    assert batch["row"].shape == (2, 3)


def test_noise_seeds_differ_by_seed_step_and_process() -> None:
    seeds = {noise_seed_at(s, t, r) for s in (0, 1) for t in (0, 1, 2) for r in (0, 1)}
    assert len(seeds) == 12
    assert noise_seed_at(1, 2, 0) == noise_seed_at(1, 2, 0)
