"""What a clip's meter makes of outputs whose parameters are known exactly: bars of grey."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from difffae.arrays import Images
from difffae.face.tracker import FaceNotFoundError
from difffae.metrics.meter import ClipMeter, Instruments, Moment, moment
from difffae.metrics.motion import HeadReference
from difffae.metrics.parameter_meter import Asked, ParameterMeter
from difffae.metrics.scores import Scores
from edited_media import RADIANS, STEP, BarEmbedder, BarLandmarks, BarRig, Bars

SOURCE = Bars(rotation=60, expression=80, light=90, identity=50)
FIRST = Bars(rotation=20, expression=100, light=150, identity=150)
DRIVER = [
    replace(FIRST, rotation=30, expression=110),
    replace(FIRST, rotation=50, expression=140),
]
BLACK = Bars(rotation=0, expression=0, light=0, shape=0, identity=0)


def mean_level(images: Images, targets: Images) -> torch.Tensor:
    """Stands in for LPIPS: half the mean absolute difference of pictures in [-1, 1]."""
    return (images - targets).abs().mean((1, 2, 3)) / 2


def instruments(*, lpips: bool = True) -> Instruments:
    return Instruments(
        BarLandmarks(),  # type: ignore[arg-type]
        embedder=BarEmbedder(),
        lpips=mean_level if lpips else None,
        parameters=ParameterMeter(BarRig(), name="bars", num_jaw=1),
    )


def measure(
    outputs: list[Bars], *, motion: str = "absolute", has_truth: bool = True, is_lit: bool = True
) -> Scores:
    """Outputs for DRIVER, made of SOURCE."""
    measuring = instruments()
    source, first = (measuring.look(bars.drawn()) for bars in (SOURCE, FIRST))
    assert first.points is not None
    own, reference = measuring.read(source), measuring.read(first)
    assert own is not None
    assert reference is not None
    asked = Asked(
        source=own,
        reference=reference.parameters,
        motion=motion,  # type: ignore[arg-type]
        is_lit_by_driver=is_lit,
    )
    meter = ClipMeter(measuring, source, has_truth=has_truth, asked=asked)
    start = HeadReference(first.points)
    previous: Moment | None = None
    for index, (output, bars) in enumerate(zip(outputs, DRIVER, strict=True), start=1):
        looks = measuring.look(bars.drawn())
        shown = moment(index, looks, start, measuring.read(looks, reference.parameters))
        if previous is not None:
            shown = replace(shown, change=measuring.change(looks, previous.looks))
        meter.add(output.drawn(), shown)
        previous = shown
    return meter.scores()


def test_the_driver_itself_is_at_no_distance_and_a_stranger_to_the_source() -> None:
    scores = measure(DRIVER)
    assert (scores.apd_rad, scores.aed, scores.ald) == pytest.approx((0, 0, 0), abs=1e-6)
    assert scores.csim == pytest.approx(0, abs=1e-6)  # a quarter turn from the source
    assert scores.identity == pytest.approx(1)  # to the true frame
    assert scores.lpips == 0
    assert scores.temporal == pytest.approx(0)


def test_every_attribute_is_a_mean_over_the_frames() -> None:
    outputs = [
        replace(DRIVER[0], rotation=36, light=160),
        replace(DRIVER[1], rotation=50, expression=150),
    ]
    scores = measure(outputs)
    assert scores.apd_rad == pytest.approx(6 * RADIANS / 3 / 2, abs=1e-6)
    assert scores.apd_deg == pytest.approx(np.degrees(6 * RADIANS) / 2, abs=1e-4)
    assert scores.aed == pytest.approx(10 * STEP / 2, abs=1e-6)
    assert scores.aed_jaw == pytest.approx(10 * STEP / 2, abs=1e-6)
    assert scores.ald == pytest.approx(10 * RADIANS / 2, abs=1e-6)


def test_relative_motion_is_measured_from_the_sources_own_and_in_its_light() -> None:
    outputs = [
        replace(SOURCE, rotation=60 + 10, expression=80 + 10),
        replace(SOURCE, rotation=60 + 30, expression=80 + 40),
    ]
    scores = measure(outputs, motion="relative", has_truth=False, is_lit=False)
    assert (scores.apd_rad, scores.aed, scores.ald) == pytest.approx((0, 0, 0), abs=1e-5)
    assert scores.csim == pytest.approx(1)
    assert math.isnan(scores.lpips)
    absolute = measure(outputs, has_truth=False)
    assert absolute.apd_rad == pytest.approx(40 * RADIANS / 3, abs=1e-5)
    assert absolute.ald == pytest.approx(60 * RADIANS, abs=1e-5)


def test_outputs_without_a_face_count_as_the_source_unmoved_and_unlit_and_nobody() -> None:
    scores, unmoved = measure([BLACK, BLACK]), measure([SOURCE, SOURCE])
    assert scores.apd_rad == pytest.approx(unmoved.apd_rad)
    assert scores.apd_rad == pytest.approx((30 + 10) * RADIANS / 3 / 2, abs=1e-6)
    assert scores.aed == pytest.approx(unmoved.aed)
    assert scores.ald == pytest.approx(60 * RADIANS, abs=1e-6)
    assert (scores.csim, scores.tracked) == (0, 0)


def test_tlp_is_the_difference_of_the_changes_of_output_and_truth() -> None:
    scores = measure([DRIVER[0], DRIVER[0]])
    first, second = (bars.drawn().astype(float) for bars in DRIVER)
    assert scores.temporal == pytest.approx(100 * np.abs(first - second).mean() / 255, rel=1e-5)


def test_the_change_bears_the_name_of_its_distance() -> None:
    assert instruments().temporal_name == "tLP"
    assert instruments(lpips=False).temporal_name == "tFD"


def test_a_source_without_a_face_is_refused() -> None:
    measuring = instruments()
    with pytest.raises(FaceNotFoundError, match="without a face"):
        ClipMeter(measuring, measuring.look(BLACK.drawn()), has_truth=True)
