import numpy as np
import pytest

from difffae.metrics.kernel_distance import kernel_distance, squared_mmd

RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(300, 20))
SECOND = RNG.normal(size=(250, 20)) @ np.diag(np.linspace(0.5, 1.5, 20)) + 0.2
# kid_features_to_metric of torch-fidelity 0.4.0: 250 and 250 pictures, one subset
TORCH_FIDELITY = 0.23709478015868735


def by_hand(xs: np.ndarray, ys: np.ndarray) -> float:
    """The unbiased estimate, pair by pair."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / len(x) + 1) ** 3)

    within = np.mean([kernel(x, o) for i, x in enumerate(xs) for j, o in enumerate(xs) if i != j])
    others = np.mean([kernel(y, o) for i, y in enumerate(ys) for j, o in enumerate(ys) if i != j])
    return float(within + others - 2 * np.mean([kernel(x, y) for x in xs for y in ys]))


def test_whole_sets_give_torch_fidelitys_value() -> None:
    got = kernel_distance(FIRST[:250], SECOND)
    assert got.mean == pytest.approx(TORCH_FIDELITY, abs=1e-12)
    assert (got.num_subsets, got.subset_size, got.std) == (1, 250, 0)


def test_sets_of_different_sizes_give_the_mean_over_pairs() -> None:
    assert squared_mmd(FIRST[:7], SECOND[:4]) == pytest.approx(by_hand(FIRST[:7], SECOND[:4]))


def test_subsets_scatter_around_the_whole_and_follow_the_seed() -> None:
    got = kernel_distance(FIRST, SECOND, subset_size=100)
    assert got.mean == pytest.approx(squared_mmd(FIRST, SECOND), abs=0.015)
    assert 0.02 < got.std < 0.08
    assert got.num_subsets == 100
    again = kernel_distance(FIRST, SECOND, subset_size=100)
    assert again == got
    assert kernel_distance(FIRST, SECOND, subset_size=100, seed=1) != got


def test_halves_of_one_set_are_at_zero_on_average() -> None:
    got = kernel_distance(FIRST[::2], FIRST[1::2], subset_size=100)
    assert abs(got.mean) < 0.05 < squared_mmd(FIRST, SECOND)


def test_one_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="Got 1 and 250 pictures"):
        kernel_distance(FIRST[:1], SECOND)
