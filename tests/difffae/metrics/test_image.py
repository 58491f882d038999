import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio

from difffae.arrays import ImageU8, Points3
from difffae.metrics.image import PSNR_CEILING_DB, face_hull, mean_change, psnr_db, ssim


def grey(level: int) -> ImageU8:
    return np.full((32, 48, 3), level, np.uint8)


def test_psnr_of_pictures_ten_levels_apart_is_28_13_db() -> None:
    assert psnr_db(grey(110), grey(100)) == pytest.approx(20 * math.log10(25.5))
    assert psnr_db(grey(110), grey(100)) == pytest.approx(28.1308, abs=1e-4)


def test_psnr_is_skimages(portrait: ImageU8) -> None:
    noise = np.random.default_rng(1).integers(-20, 20, portrait.shape)
    noisy = np.clip(portrait + noise, 0, 255).astype(np.uint8)
    expected = peak_signal_noise_ratio(portrait, noisy, data_range=255)
    assert psnr_db(noisy, portrait) == pytest.approx(expected)


def test_psnr_does_not_wrap_around_at_dark_pixels() -> None:
    assert psnr_db(grey(0), grey(255)) == pytest.approx(0)
    assert psnr_db(grey(255), grey(0)) == pytest.approx(0)


def test_psnr_of_equal_pictures_is_the_ceiling() -> None:
    assert psnr_db(grey(7), grey(7)) == PSNR_CEILING_DB


def test_psnr_on_a_mask_sees_that_region_alone() -> None:
    output = grey(100)
    output[:, :24] = 120
    mask = np.zeros((32, 48), np.uint8)
    mask[:, 24:] = 255
    assert psnr_db(output, grey(100), mask) == PSNR_CEILING_DB
    assert psnr_db(output, grey(100), 255 - mask) == pytest.approx(20 * math.log10(255 / 20))


def test_psnr_on_an_empty_mask_is_not_a_number() -> None:
    assert math.isnan(psnr_db(grey(1), grey(2), np.zeros((32, 48), np.uint8)))


def test_ssim_of_flat_pictures_is_the_luminance_term() -> None:
    c1 = (0.01 * 255) ** 2
    wanted = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert ssim(grey(100), grey(150)) == pytest.approx(wanted, abs=1e-6)


def test_ssim_follows_the_formula_of_wang_et_al(portrait: ImageU8) -> None:
    noise = np.random.default_rng(0).normal(0, 12, portrait.shape)
    noisy = np.clip(portrait + noise, 0, 255).astype(np.uint8)
    channels = [reference_ssim(noisy[..., c], portrait[..., c]) for c in range(3)]
    assert ssim(noisy, portrait) == pytest.approx(float(np.mean(channels)), abs=1e-6)
    assert ssim(portrait, portrait) == pytest.approx(1)


def reference_ssim(image: np.ndarray, other: np.ndarray) -> float:
    """Gaussian window sigma 1.5 of 11 x 11; the border of half a window is left out."""

    def blur(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, 1.5, truncate=3.5)

    a, b = image.astype(np.float64), other.astype(np.float64)
    mean_a, mean_b = blur(a), blur(b)
    variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return float((structure * luminance)[5:-5, 5:-5].mean())


def test_face_hull_covers_the_points_and_no_more(face_points: Points3) -> None:
    square = np.array([[10, 5, 0], [30, 5, 9], [30, 25, 0], [10, 25, 0], [20, 9, 0]], np.float32)
    mask = face_hull(square, 40, 50)
    assert mask.shape == (40, 50)
    assert set(np.unique(mask)) == {0, 255}
    assert (mask > 0).sum() == 21 * 21
    assert mask[5, 10] == 255
    assert mask[4, 10] == 0
    assert 0.05 < (face_hull(face_points, 256, 256) > 0).mean() < 0.5


def test_mean_change_counts_both_directions() -> None:
    image, previous = grey(100), grey(100)
    image[:16] = 104
    image[16:] = 98
    assert mean_change(image, previous) == pytest.approx(3)
