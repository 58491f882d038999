"""The order of samples by shards."""

import numpy as np
import pytest

from difffae.data.shard_order import ShardOrder

SIZES = [30, 50, 20, 40, 60]


def order(num_processes: int = 1, window: int = 8, seed: int = 0) -> ShardOrder:
    return ShardOrder(SIZES, num_processes=num_processes, window=window, seed=seed)


def drawn(source: ShardOrder, steps: range, batch_size: int = 10) -> list[int]:
    return [int(index) for step in steps for index in source.indices(step, batch_size)]


def shard_of(index: int) -> int:
    return int(np.searchsorted(np.cumsum(SIZES), index, side="right"))


def test_a_pass_shows_every_sample_once_and_the_next_in_another_order() -> None:
    first, second = drawn(order(), range(20)), drawn(order(), range(20, 40))
    assert sorted(first) == sorted(second) == list(range(200))
    assert first != second


def test_any_step_is_the_same_after_a_resume_and_differs_by_seed() -> None:
    whole = drawn(order(), range(35))
    assert drawn(order(), range(27, 35)) == whole[270:]
    assert drawn(order(seed=1), range(35)) != whole


def test_processes_share_a_pass_without_meeting_mostly_in_shards_of_their_own() -> None:
    source = order(num_processes=4)
    own: list[list[int]] = [[], [], [], []]
    for step in range(25):
        for rank, indices in enumerate(source.indices(step, 8).reshape(4, 2)):
            own[rank] += [int(index) for index in indices]
    assert sorted(index for indices in own for index in indices) == list(range(200))
    for indices in own:
        assert len({shard_of(index) for index in indices}) <= 3


def test_no_sample_moves_farther_than_the_window() -> None:
    source = ShardOrder([500], num_processes=1, window=16, seed=0)
    indices = np.array(drawn(source, range(50)))
    moved = np.abs(indices - np.arange(500))
    assert moved.max() <= 16
    assert (moved > 0).mean() > 0.8
    unmoved = ShardOrder([500], num_processes=1, window=1, seed=0)
    assert drawn(unmoved, range(50)) == list(range(500))


def test_a_rest_too_small_to_share_waits_for_another_pass() -> None:
    source = ShardOrder([7, 4], num_processes=2, window=4, seed=0)
    passes = [drawn(source, range(5 * k, 5 * k + 5), 2) for k in range(12)]
    assert all(len(set(each)) == 10 for each in passes)
    assert {index for each in passes for index in each} == set(range(11))


def test_what_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match="3 samples for 4 processes"):
        ShardOrder([3], num_processes=4, window=8, seed=0)
    with pytest.raises(ValueError, match="window of 0"):
        ShardOrder([3], num_processes=1, window=0, seed=0)
    with pytest.raises(ValueError, match="batch of 9 for 4 processes"):
        order(num_processes=4).indices(0, 9)
