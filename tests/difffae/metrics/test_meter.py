import math
from pathlib import Path

import numpy as np
import pytest

from difffae.arrays import ImageU8
from difffae.metrics.identity import Embedder
from difffae.metrics.image import PSNR_CEILING_DB
from difffae.metrics.landmarks import LandmarkMeter
from difffae.metrics.meter import ClipMeter, Instruments, Moment, moment
from difffae.metrics.motion import SIGNALS, HeadReference
from difffae.metrics.perceptual import FeatureDistance
from difffae.metrics.scores import Scores
from evaluation_media import mirrored

BLACK = np.zeros((256, 256, 3), np.uint8)


@pytest.fixture(scope="module")
def instruments(landmarks: LandmarkMeter) -> Instruments:
    return Instruments(landmarks, features=FeatureDistance())


def drivers(instruments: Instruments, frames: list[ImageU8]) -> list[Moment]:
    first = instruments.look(frames[0])
    assert first.points is not None
    reference = HeadReference(first.points)
    return [moment(i, instruments.look(f), reference) for i, f in enumerate(frames) if i > 0]


@pytest.fixture(scope="module")
def driven(instruments: Instruments, rolled: list[ImageU8]) -> list[Moment]:
    """The rolled portrait as a driver, looked at once for all tests."""
    return drivers(instruments, rolled)


def measure(
    instruments: Instruments,
    source: ImageU8,
    moments: list[Moment],
    outputs: list[ImageU8],
    *,
    has_truth: bool,
) -> Scores:
    meter = ClipMeter(instruments, instruments.look(source), has_truth=has_truth)
    for output, driver in zip(outputs, moments, strict=True):
        meter.add(output, driver)
    return meter.scores()


def test_the_truth_itself_scores_perfectly(
    instruments: Instruments, driven: list[Moment], rolled: list[ImageU8]
) -> None:
    scores = measure(instruments, rolled[0], driven, [f.copy() for f in rolled[1:]], has_truth=True)
    assert scores.psnr_db == PSNR_CEILING_DB
    assert scores.face_psnr_db == PSNR_CEILING_DB
    assert scores.ssim == pytest.approx(1)
    assert scores.feature_distance == pytest.approx(0, abs=1e-6)
    assert scores.pose_error_deg == pytest.approx(0, abs=1e-3)
    assert scores.expression_error == pytest.approx(0, abs=1e-6)
    assert scores.correlation == pytest.approx(1)
    assert scores.change == pytest.approx(1)
    assert scores.tracked == 1
    assert math.isnan(scores.identity)  # no embedder


def test_the_unmoved_source_neither_follows_nor_changes(
    instruments: Instruments, driven: list[Moment], rolled: list[ImageU8]
) -> None:
    scores = measure(instruments, rolled[0], driven, [rolled[0]] * 8, has_truth=True)
    assert scores.correlation == 0
    assert scores.change == 0
    assert scores.pose_error_deg == pytest.approx(4, abs=0.5)
    assert scores.psnr_db < 35
    assert scores.feature_distance > 0


def test_the_roll_is_counted_among_the_signals(
    instruments: Instruments, driven: list[Moment], rolled: list[ImageU8]
) -> None:
    scores = measure(instruments, rolled[0], driven, rolled[1:], has_truth=True)
    assert scores.signals[SIGNALS.index("roll")] == pytest.approx(1)
    assert math.isnan(scores.signals[SIGNALS.index("mouth width")])


def test_an_output_without_a_face_counts_as_unmoved(
    instruments: Instruments, driven: list[Moment], rolled: list[ImageU8]
) -> None:
    outputs = [*rolled[1:-1], BLACK]
    scores = measure(instruments, rolled[0], driven, outputs, has_truth=True)
    assert scores.tracked == pytest.approx(7 / 8)
    assert measure(instruments, rolled[0], driven, [BLACK] * 8, has_truth=True).correlation == 0


def test_change_is_measured_between_neighbours_only(
    instruments: Instruments, driven: list[Moment], rolled: list[ImageU8]
) -> None:
    first, second, *_, last = driven
    meter = ClipMeter(instruments, instruments.look(rolled[0]), has_truth=True)
    meter.add(rolled[1], first)
    meter.add(rolled[2], second)
    meter.add(BLACK, last)
    assert meter.scores().change == pytest.approx(1)


def test_cross_has_no_pixel_figures(instruments: Instruments, rolled: list[ImageU8]) -> None:
    driver = mirrored(rolled)
    moments = drivers(instruments, driver)
    scores = measure(instruments, driver[0], moments, rolled[1:], has_truth=False)
    assert math.isnan(scores.psnr_db)
    assert math.isnan(scores.feature_distance)
    assert scores.pose_error_deg == pytest.approx(8, abs=2.5)
    assert scores.signals[SIGNALS.index("roll")] == pytest.approx(-1, abs=0.01)


def test_identity_is_to_the_truth_in_self_and_to_the_source_in_cross(
    landmarks: LandmarkMeter, rolled: list[ImageU8], data_root: Path
) -> None:
    embedder = Embedder(data_root / "weights" / "MobileFaceNet.onnx")
    instruments = Instruments(landmarks, embedder=embedder)
    driven = drivers(instruments, rolled)  # looks hold what this embedder sees
    mine = measure(instruments, rolled[0], driven, rolled[1:], has_truth=True)
    assert mine.identity == pytest.approx(1, abs=1e-4)
    to_source = measure(instruments, rolled[0], driven, rolled[1:], has_truth=False)
    assert 0.7 < to_source.identity < 0.9999
    assert measure(instruments, rolled[0], driven, [BLACK] * 8, has_truth=True).identity == 0


def test_a_source_without_a_face_is_refused(instruments: Instruments) -> None:
    with pytest.raises(ValueError, match="without a face"):
        ClipMeter(instruments, instruments.look(BLACK), has_truth=True)
