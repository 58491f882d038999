"""Distances between two pictures of one size, pixel by pixel: PSNR, on a region too, and SSIM."""

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from difffae.arrays import ImageU8, MaskU8, Points3

PSNR_CEILING_DB = 60.0  # equal pictures count as this: rounding to 8 bits alone gives 58.9 dB
SSIM_SIGMA_PX = 1.5  # Wang et al. 2004: Gaussian window of 11 x 11


def psnr_db(output: ImageU8, truth: ImageU8, mask: MaskU8 | None = None) -> float:
    """Peak signal-to-noise ratio [dB] over all pixels, or those where the mask is not 0.

    Args:
        output: the picture to judge.
        truth: what it should be.
        mask: where to look; None for everywhere.

    Returns:
        10 log10(255^2 / mean squared error), at most `PSNR_CEILING_DB`; NaN for an empty mask.
    """
    difference = output.astype(np.float64) - truth
    if mask is not None:
        difference = difference[mask > 0]
    if not difference.size:
        return float("nan")
    error = float(np.square(difference).mean())
    if error == 0:
        return PSNR_CEILING_DB
    return min(10 * float(np.log10(255.0**2 / error)), PSNR_CEILING_DB)


def ssim(output: ImageU8, truth: ImageU8) -> float:
    """Structural similarity in [-1, 1], mean over pixels and channels (Wang et al. 2004)."""
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            output,
            truth,
            channel_axis=2,
            data_range=255,
            gaussian_weights=True,
            sigma=SSIM_SIGMA_PX,
            use_sample_covariance=False,
        )
    )


def face_hull(points: Points3, height: int, width: int) -> MaskU8:
    """255 inside the convex hull of the mesh points [px], 0 outside."""
    hull = np.asarray(cv2.convexHull(np.rint(points[:, :2]).astype(np.int32)))
    mask = np.zeros((height, width), np.uint8)
    return np.asarray(cv2.fillConvexPoly(mask, hull, (255,)), np.uint8)


def mean_change(image: ImageU8, previous: ImageU8) -> float:
    """Mean absolute difference of two neighbouring frames, in grey levels (0 to 255)."""
    return float(np.abs(image.astype(np.int16) - previous).mean())
