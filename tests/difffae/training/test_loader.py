"""Batches by step number."""

import threading
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from difffae.training.loader import BatchLoader, LoaderConfig, SampleOrder, noise_seed_at


def tell_indices(indices: NDArray[np.int64], generator: np.random.Generator) -> dict[str, Tensor]:
    draws = generator.standard_normal(len(indices))
    return {"indices": torch.from_numpy(indices), "draws": torch.from_numpy(draws)}


def settings(**changes: Any) -> LoaderConfig:
    values: dict[str, Any] = {
        "batch_size": 4,
        "num_threads": 2,
        "rank": 0,
        "num_processes": 1,
        "seed": 3,
        "is_pinned": False,
    }
    return LoaderConfig(**{**values, **changes})


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


SHAPES = {"noise": (2, 3), "level": ()}


def shared_out(num_processes: int, num_micro_steps: int) -> list[dict[str, Tensor]]:
    """Batches of step 5 of 8 samples in all, by micro-step and process."""
    order = SampleOrder(50, None, seed=2)
    batch_size = 8 // (num_processes * num_micro_steps)
    loaders = [
        BatchLoader(
            tell_indices,
            order,
            settings(
                batch_size=batch_size,
                rank=rank,
                num_processes=num_processes,
                num_micro_steps=num_micro_steps,
                draws=SHAPES,
            ),
        )
        for rank in range(num_processes)
    ]
    return [loader.batch_at(5, micro) for micro in range(num_micro_steps) for loader in loaders]


@pytest.mark.parametrize(("num_processes", "num_micro_steps"), [(2, 1), (1, 2), (2, 2), (4, 2)])
def test_processes_and_micro_steps_are_dealt_the_batch_of_one(
    num_processes: int, num_micro_steps: int
) -> None:
    (whole,) = shared_out(1, 1)
    parts = shared_out(num_processes, num_micro_steps)
    for name in ("indices", "noise", "level"):
        dealt = torch.stack([part[name] for part in parts], 1).flatten(0, 1)
        assert torch.equal(dealt, whole[name]), name
    assert whole["noise"].shape == (8, 2, 3)
    assert whole["noise"].dtype == torch.float32


def test_the_first_half_of_a_batch_is_the_first_half_of_every_share() -> None:
    (whole,) = shared_out(1, 1)
    firsts = [part["indices"][: len(part["indices"]) // 2] for part in shared_out(2, 2)]
    assert sorted(torch.cat(firsts).tolist()) == sorted(whole["indices"][:4].tolist())


def test_shares_make_their_batches_with_draws_of_their_own() -> None:
    draws = {tuple(part["draws"].tolist()) for part in shared_out(2, 2)}
    assert len(draws) == 4


def test_noise_is_standard_normal_and_no_two_samples_or_steps_have_the_same() -> None:
    order = SampleOrder(50, None, seed=2)
    config = settings(batch_size=64, draws={"noise": (50,), "other": (50,)})
    loader = BatchLoader(tell_indices, order, config)
    drawn = [loader.batch_at(step)[name] for step in (0, 1) for name in ("noise", "other")]
    together = torch.cat(drawn)
    assert len(torch.unique(together[:, 0])) == 256
    assert together.mean().item() == pytest.approx(0, abs=0.03)
    assert together.std().item() == pytest.approx(1, abs=0.03)


def test_micro_steps_come_in_turn() -> None:
    order = SampleOrder(50, None, seed=2)
    loader = BatchLoader(tell_indices, order, settings(num_micro_steps=2))
    with loader.batches(3, 5) as batches:
        got = [batch["indices"].tolist() for batch in batches]
    places = [(3, 0), (3, 1), (4, 0), (4, 1)]
    assert got == [loader.batch_at(*place)["indices"].tolist() for place in places]


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
