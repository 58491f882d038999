"""Figures of faces and the limits on them."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from difffae.data.quality import (
    ClipLimits,
    FaceFigures,
    first_shortfall,
    measure_face,
    yaw_deg,
)
from face_media import TrackedPortrait, tracked_portrait

GOOD = FaceFigures(side_px=120, sharpness=0.08, brightness=110, clipped=0.02, yaw_deg=5)
LIMITS = ClipLimits()


@pytest.fixture(scope="module")
def face(portrait: Path) -> TrackedPortrait:
    return tracked_portrait(portrait)


def figures(face: TrackedPortrait, image: np.ndarray | None = None) -> FaceFigures:
    found = measure_face(face.image if image is None else image, face.points)
    assert found is not None
    return found


def test_a_studio_portrait_holds_every_limit(face: TrackedPortrait) -> None:
    assert first_shortfall([figures(face)], 1, LIMITS) is None


def test_sharpness_is_the_laplacians_variance_relative_to_contrast(face: TrackedPortrait) -> None:
    sharp = figures(face).sharpness
    faint = np.rint(0.5 * face.image + 60).astype(np.uint8)
    assert figures(face, faint).sharpness == pytest.approx(sharp, rel=0.1)
    blurred = cv2.GaussianBlur(face.image, (0, 0), 3.0)
    assert figures(face, blurred).sharpness < LIMITS.min_sharpness < sharp
    shortfall = first_shortfall([figures(face, blurred)], 1, LIMITS)
    assert shortfall is not None
    assert shortfall.reason == "the face is blurred"
    assert shortfall.limit == 0.02


def test_dark_bright_and_clipped_faces_are_told(face: TrackedPortrait) -> None:
    dark = figures(face, (face.image * 0.15).astype(np.uint8))
    assert dark.brightness == pytest.approx(0.15 * figures(face).brightness, abs=1)
    bright = figures(face, np.full_like(face.image, 255))
    assert (bright.brightness, bright.clipped, bright.sharpness) == (255, 1, 0)
    for found, reason in ((dark, "too dark"), (bright, "blurred")):
        shortfall = first_shortfall([found], 1, LIMITS)
        assert shortfall is not None
        assert reason in shortfall.reason


def test_the_side_is_that_of_the_mesh(face: TrackedPortrait) -> None:
    low, high = face.points[:, :2].min(0), face.points[:, :2].max(0)
    assert figures(face).side_px == pytest.approx(float((high - low).max()))


def test_yaw_follows_a_turn_of_the_mesh(face: TrackedPortrait) -> None:
    start = yaw_deg(face.points)
    assert abs(start) < 12
    for angle in (-70.0, 30.0, 70.0):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        about_y = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        turned = (face.points @ about_y.T).astype(np.float32)
        assert yaw_deg(turned) == pytest.approx(start + angle, abs=1e-3)


def test_a_face_outside_the_picture_has_no_figures(face: TrackedPortrait) -> None:
    assert measure_face(face.image, face.points + np.float32(1000)) is None


@pytest.mark.parametrize(
    ("change", "reason", "value"),
    [
        ({"side_px": 63.0}, "too small", 63),
        ({"sharpness": 0.019}, "blurred", 0.019),
        ({"brightness": 34.0}, "too dark", 34),
        ({"brightness": 226.0}, "too bright", 226),
        ({"clipped": 0.26}, "over- or underexposed", 0.26),
        ({"yaw_deg": -61.0}, "turned away", 1),
    ],
)
def test_each_limit_is_reported_with_its_figure(
    change: dict[str, float], reason: str, value: float
) -> None:
    shortfall = first_shortfall([replace(GOOD, **change)], 1, LIMITS)
    assert shortfall is not None
    assert reason in shortfall.reason
    assert shortfall.value == value
    just_held = {name: at for name, at in change.items() if name != "yaw_deg"}
    limit = shortfall.limit
    held = replace(GOOD, **dict.fromkeys(just_held, limit))
    assert first_shortfall([held], 1, LIMITS) is None


def test_one_bad_frame_among_many_is_no_shortfall_but_a_third_of_turned_ones_is() -> None:
    away, blurred = replace(GOOD, yaw_deg=80), replace(GOOD, sharpness=0)
    assert first_shortfall([GOOD] * 8 + [away, blurred], 10, LIMITS) is None
    shortfall = first_shortfall([GOOD] * 7 + [away] * 3, 10, LIMITS)
    assert shortfall is not None
    assert shortfall.value == pytest.approx(0.3)


def test_a_face_lost_for_a_fifth_of_the_time_is_not_seen_throughout() -> None:
    assert first_shortfall([GOOD] * 9, 10, LIMITS) is None
    shortfall = first_shortfall([GOOD] * 8, 10, LIMITS)
    assert shortfall is not None
    assert (shortfall.reason, shortfall.value) == ("the face is not seen throughout", 0.8)
    none = first_shortfall([], 10, LIMITS)
    assert none is not None
    assert none.reason == "no face"


def test_limits_that_no_clip_could_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="--max-frames"):
        ClipLimits(min_frames=100, max_frames=50)
