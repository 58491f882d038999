"""How hair, neck and background follow the head."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.arrays import MapF32
from difffae.face.parameters import FaceParameters
from difffae.face.surroundings import (
    SurroundingsConfig,
    follow_border,
    head_map,
)

SIZE = 96
CONFIG = SurroundingsConfig()


def face(
    rotation: tuple[float, float, float] = (0, 0, 0),
    scale: float = 14,
    place: tuple[float, float] = (48, 44),
) -> FaceParameters:
    return FaceParameters(
        shape=np.zeros(2, np.float32),
        expression=np.zeros(2, np.float32),
        gaze=np.zeros(4, np.float32),
        rotation=np.array(rotation, np.float32),
        scale=scale,
        translation=np.array(place, np.float32),
    )


def identity_map() -> MapF32:
    rows, columns = np.indices((SIZE, SIZE))
    return np.stack([columns, rows], -1).astype(np.float32)


@pytest.mark.parametrize(
    "given", [face(), face((0.2, -0.5, 0.1)), face((0, 0.9, 0), 30, (20, 80)), face(place=(90, 5))]
)
def test_a_head_that_does_not_move_maps_every_pixel_to_itself(given: FaceParameters) -> None:
    positions = head_map(given, given, CONFIG, SIZE)
    np.testing.assert_allclose(positions, identity_map(), atol=1e-3)


def test_hair_is_shifted_with_the_head() -> None:
    moved = head_map(face(), face(place=(53, 41)), CONFIG, SIZE)
    change = moved - identity_map()
    hair = change[10:40, 25:70]
    np.testing.assert_allclose(hair, np.broadcast_to([-5, 3], hair.shape), atol=1e-3)


@pytest.mark.parametrize(
    ("scale", "head_scale"),
    [pytest.param(28, 27.75, id="a head that comes near"), pytest.param(14.5, 14.1, id="a doubt")],
)
def test_hair_grows_with_the_head_once_its_growth_is_certain(
    scale: float, head_scale: float
) -> None:
    positions = head_map(face(), face(scale=scale), CONFIG, SIZE)
    column = 48 + 10
    expected = 48 + (column + 0.5 - 48) * 14 / head_scale - 0.5
    assert positions[20, column, 0] == pytest.approx(expected, abs=0.05)


def test_a_roll_turns_hair_about_the_heads_place() -> None:
    positions = head_map(face(), face((0, 0, np.pi / 2)), CONFIG, SIZE)
    # A quarter turn clockwise in the picture: what is right of the head came from above it.
    np.testing.assert_allclose(positions[43, 62], [48 - 0.5 - 0.5, 44 - 14.5 - 0.5], atol=1e-2)


def test_a_turned_head_turns_in_depth_about_its_own_centre() -> None:
    """The ball's front is where a rotation takes it; a shift would move all pixels alike."""
    turned = head_map(face(), face((0, 0.3, 0)), CONFIG, SIZE)
    x, y = 53.5 - 48, 34.5 - 44
    depth, radius = CONFIG.depth * 14, CONFIG.radius * 14
    cosine, sine = np.cos(0.3), np.sin(0.3)
    across = x - depth * sine
    z = -np.sqrt(radius**2 - across**2 - y**2)
    expected = [cosine * across - sine * z + 48 - 0.5, 34]
    np.testing.assert_allclose(turned[34, 53], expected, atol=1e-3)
    assert np.ptp((turned - identity_map())[34, 40:56, 0]) > 0.5


@pytest.mark.parametrize("yaw", [-0.75, -0.3, 0.3, 0.75])
def test_no_turn_shows_anything_twice(yaw: float) -> None:
    turned = head_map(face(), face((0, yaw, 0)), CONFIG, SIZE)
    steps = np.diff(turned[20:50, 10:86, 0], axis=1)
    assert steps.min() > 0


def test_what_lies_far_below_the_chin_or_far_away_stays() -> None:
    positions = head_map(face(scale=8), face(scale=8, place=(51, 44)), CONFIG, SIZE)
    change = np.abs(positions - identity_map())
    chin, neck = CONFIG.chin + 2 * CONFIG.slope, CONFIG.neck + CONFIG.lean * 3 / 8
    below = int(44 + 8 * (chin + neck)) + 2
    assert change[below:].max() < 1e-3
    away = int(48 - 8 * (CONFIG.reach + CONFIG.fade)) - 2
    assert change[:, :away].max() < 1e-3
    assert change[30:40, 40:56].min(axis=(0, 1))[0] > 2.9


def test_motion_fades_along_the_neck_without_a_step() -> None:
    change = (head_map(face(), face(place=(54, 44)), CONFIG, SIZE) - identity_map())[:, 48, 0]
    steps = np.diff(change[44:])
    assert (steps >= -1e-3).all()
    assert steps.max() < 0.6
    assert change[44] == pytest.approx(-6, abs=1e-3)


def test_the_map_meets_the_face_at_its_border() -> None:
    angle = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    circle = np.stack([48 + 20 * np.cos(angle), 44 + 22 * np.sin(angle)], -1).astype(np.float32)
    after = circle + np.float32([3, -2])
    corrected = follow_border(identity_map(), circle, after, reach=7.0)
    at = np.rint(after - 0.5).astype(int)
    missed = corrected[at[:, 1], at[:, 0]] - (at - np.float32([3, -2]))
    assert np.abs(missed).max() < 0.8
    np.testing.assert_allclose(corrected[90:, 90:], identity_map()[90:, 90:], atol=0.05)


def test_no_correction_turns_the_map_back() -> None:
    angle = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    circle = np.stack([48 + 16 * np.cos(angle), 44 + 16 * np.sin(angle)], -1).astype(np.float32)
    corrected = follow_border(identity_map(), circle, circle + np.float32([12, 0]), reach=4.0)
    assert np.diff(corrected[44, :, 0]).min() > 0


def test_a_border_already_met_is_left_alone() -> None:
    at = np.random.default_rng(0).uniform(-4, SIZE + 4, (30, 2)).astype(np.float32)
    positions = identity_map()
    same = follow_border(positions, at, at, reach=9.0)
    np.testing.assert_allclose(same, positions, atol=1e-3)


def test_a_head_that_moves_far_bends_a_longer_neck() -> None:
    def length(shift: float) -> int:
        moved = head_map(
            face(), replace(face(), translation=np.float32([48 + shift, 44])), CONFIG, SIZE
        )
        change = np.abs((moved - identity_map())[44:, 48, 0])
        return int(((change > 0.02 * shift) & (change < 0.98 * shift)).sum())

    assert length(14) > length(2)
