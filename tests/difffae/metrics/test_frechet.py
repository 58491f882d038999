import numpy as np
import pytest
from scipy.linalg import sqrtm

from difffae.metrics.frechet import frechet_distance, moments

RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(300, 20))
SECOND = RNG.normal(size=(250, 20)) @ np.diag(np.linspace(0.5, 1.5, 20)) + 0.2
PYTORCH_FID = 4.025821487961337  # calculate_frechet_distance of pytorch-fid 0.3.0 on these arrays


def test_the_distance_is_pytorch_fids() -> None:
    got = frechet_distance(moments(FIRST), moments(SECOND))
    assert got == pytest.approx(PYTORCH_FID, abs=1e-9)


def test_the_distance_is_that_of_a_general_matrix_root() -> None:
    one, other = moments(FIRST), moments(SECOND)
    root = np.real(sqrtm(one.covariance @ other.covariance))
    expected = np.square(one.mean - other.mean).sum()
    expected += np.trace(one.covariance + other.covariance - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(expected, abs=1e-9)


def test_moments_are_numpys() -> None:
    got = moments(FIRST.astype(np.float32))
    assert got.covariance == pytest.approx(np.cov(FIRST, rowvar=False), abs=1e-6)
    assert got.mean == pytest.approx(FIRST.mean(0), abs=1e-6)
    assert got.num == 300


def test_normals_along_one_axis_follow_the_closed_form() -> None:
    narrow = np.array([[-1.0], [0.0], [1.0]])
    wide = 3 * narrow + 5
    assert frechet_distance(moments(narrow), moments(wide)) == pytest.approx(25 + (3 - 1) ** 2)


def test_sets_smaller_than_their_width_have_a_finite_distance() -> None:
    few = RNG.normal(size=(5, 40))
    assert frechet_distance(moments(few), moments(few)) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(frechet_distance(moments(few), moments(few[:3] + 1)))


def test_one_picture_and_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="Got 1 pictures"):
        moments(FIRST[:1])
    with pytest.raises(ValueError, match="not finite"):
        moments(np.array([[1.0, np.nan], [0.0, 1.0]]))
