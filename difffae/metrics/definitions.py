"""What each figure of a report is: definition, unit, and the tracker or network it was read by."""

from difffae.metrics.kernel_distance import NUM_SUBSETS, SUBSET_SIZE
from difffae.metrics.report import InstrumentNames, Report

NONE = "none given"


def definitions(report: Report) -> list[str]:
    """A sentence or two for each figure of a report."""
    names = report.instruments
    return [
        *_attributes(names),
        *_identity(names),
        *_realism(report),
        *_pictures(names),
        *_protocols(report),
    ]


def _attributes(names: InstrumentNames) -> list[str]:
    jaw = " without the jaw, which is reported apart [rad]" if names.has_jaw else ""
    return [
        f"Tracker of APD, AED and ALD: {names.tracker or NONE}.",
        "APD: mean absolute difference of the three axis-angle components of the head's rotation "
        "[rad]; APD °: angle between the two rotations [degrees].",
        "AED: mean absolute difference of the expression coefficients [standard deviations of the "
        f"tracker's head model]{jaw}.",
        "ALD: mean absolute difference of the 27 spherical-harmonic coefficients of the light (9 x "
        "RGB), no unit.",
        "APD, AED, ALD: output against what was asked for, a mean over a video's frames, then over "
        "videos. Asked for is the driver's own pose and expression where motion is absolute (self "
        "always), the source's own moved by the driver's change since its first frame where it is "
        "relative; the driver's light in self and where light is driver, else the source's. An "
        "output without a face counts as the source, unmoved and unlit.",
    ]


def _identity(names: InstrumentNames) -> list[str]:
    return [
        f"CSIM: raw cosine of the face embeddings of output and SOURCE by {names.embedder or NONE},"
        " in [-1, 1], mean over frames, then videos; CSIM to target (self): of output and true "
        "frame. An output without a face counts 0.",
    ]


def _realism(report: Report) -> list[str]:
    names = report.instruments
    if names.realism is None:
        return ["FID and KID: not measured, for want of Inception's and SqueezeNet's weights."]
    frechet, kernel = names.realism_columns
    counts = "; ".join(
        f"{protocol} {row.num_outputs} outputs a row, {row.num_real} real"
        for protocol, rows in report.realism.items()
        for row in list(rows.values())[:1]
    )
    subsets = {row.num_subsets for rows in report.realism.values() for row in rows.values()}
    drawn = (
        f"{NUM_SUBSETS} random subsets of {SUBSET_SIZE}"
        if NUM_SUBSETS in subsets
        else f"both sets whole, being no larger than a subset of {SUBSET_SIZE}"
    )
    return [
        f"{frechet}: Fréchet distance |m1 - m2|² + Tr(C1 + C2 - 2 (C1 C2)^1/2) of all outputs of a "
        f"row and the real frames, on {names.realism}; no unit. N: {counts or 'none'}.",
        f"{kernel}: unbiased squared maximum mean discrepancy on the same features, kernel "
        f"(x·y / width + 1)³, times 1000, {drawn}.",
        f"Crop: {names.crop}",
    ]


def _pictures(names: InstrumentNames) -> list[str]:
    perceptual = names.perceptual or "not measured, for want of its weights"
    distance = "LPIPS" if names.perceptual else "the SqueezeNet feature distance"
    return [
        "PSNR: of each picture [dB], 255 the peak, at most 60, then averaged. SSIM: window of 11 x "
        "11, Gaussian of 1.5 px, 8 bits, mean over pixels and channels.",
        f"LPIPS: {perceptual}.",
        f"{names.temporal}: 100 x mean of |d(o(t-1), o(t)) - d(r(t-1), r(t))| over neighbouring "
        f"frames, d {distance}, o the output, r the truth (self) or the driver (cross).",
    ]


def _protocols(report: Report) -> list[str]:
    texts = {
        "self": "self: the source is the clip's first frame, the driver the same clip.",
        "cross": f"cross: a source of another person, {report.instruments.cross}.",
        "light": "light: the source, in its own pose, under the light of the first frame of "
        "another person's clip; ALD to that frame, APD and AED to the source.",
        "relight": "relight: the source's face is lit from the left, right, above and below by "
        "known spherical-harmonic light, and the model asked for its light as it was; the truth is "
        "the picture as it was, the unmoved source the relit one, and the shading ratio that of "
        "the model's two estimates of light times the relit one. face PSNR: where the known light "
        "is shown in full, inside the mesh.",
    }
    found = [text for protocol, text in texts.items() if protocol in report.rows]
    if report.edits is not None:
        found.append(
            "disentanglement: see the matrix; an output's pose, expression and light are read with "
            "the source's shape known, its own shape without."
        )
    return found
