"""Spherical-harmonic light: its constants, its shading, and its way back from colours."""

import numpy as np
import pytest

from difffae.arrays import Lighting, Normals
from difffae.face.lighting import (
    SHADING_RANGE,
    basis,
    estimate_lighting,
    shade,
    uniform_lighting,
)

SKIN = np.array([200.0, 150.0, 120.0], np.float32)


def facing_normals(count: int = 800, seed: int = 0) -> Normals:
    """Normals of a ball's half that faces the camera (z < 0)."""
    raw = np.random.default_rng(seed).normal(size=(count, 3))
    raw[:, 2] = -np.abs(raw[:, 2])
    return (raw / np.linalg.norm(raw, axis=-1, keepdims=True)).astype(np.float32)


def side_light(x: float, y: float, strength: float = 0.35) -> Lighting:
    """Light from all around and more from one side, warmer in red."""
    lighting = uniform_lighting()
    lighting[1] = strength * x * np.array([1.0, 0.8, 0.6])
    lighting[2] = strength * y * np.array([1.0, 0.8, 0.6])
    return lighting


def test_harmonics_carry_the_constants_of_lambertian_reflection() -> None:
    """Ramamoorthi & Hanrahan 2001: Y_lm scaled by 1, 2/3 and 1/4 of pi by its order."""
    normals = np.array(
        [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.8, 0), (0.6, 0, 0.8), (0, 0.6, 0.8)], np.float32
    )
    x, y, z = normals.astype(np.float64).T
    first = 2 * np.pi / 3 * np.sqrt(3 / (4 * np.pi))
    second = np.pi / 4 * 3 * np.sqrt(5 / (12 * np.pi))
    expected = [
        np.full(6, np.sqrt(1 / (4 * np.pi))),
        *(first * x, first * y, first * z),
        *(second * x * y, second * x * z, second * y * z),
        second / 2 * (x**2 - y**2),
        np.pi / 4 / 2 * np.sqrt(5 / (4 * np.pi)) * (3 * z**2 - 1),
    ]
    np.testing.assert_allclose(basis(normals), np.stack(expected, -1), atol=2e-6)


def test_uniform_light_shades_everything_by_one() -> None:
    np.testing.assert_allclose(shade(facing_normals(), uniform_lighting()), 1, atol=1e-6)


def test_light_from_the_right_brightens_what_looks_right() -> None:
    normals = np.array([(0.8, 0, -0.6), (-0.8, 0, -0.6)], np.float32)
    shading = shade(normals, side_light(1, 0))
    assert (shading[0] > 1.15).all()
    assert (shading[1] < 0.85).all()
    assert shading[0, 0] > shading[0, 2]


def test_shading_stays_in_what_skin_can_show() -> None:
    shading = shade(facing_normals(), side_light(1, -1, strength=5))
    assert shading.min() == pytest.approx(SHADING_RANGE[0])
    assert shading.max() == pytest.approx(SHADING_RANGE[1])


@pytest.mark.parametrize("direction", [(1, 0), (-0.7, 0.7), (0, -1)])
def test_the_light_on_a_ball_of_one_colour_comes_back(direction: tuple[float, float]) -> None:
    normals = facing_normals()
    lighting = side_light(*direction)
    true = basis(normals) @ lighting
    estimated = basis(normals) @ estimate_lighting(normals, SKIN * true)
    relative = true / true.mean(0)
    np.testing.assert_allclose(estimated, relative, atol=0.05)
    assert np.corrcoef(estimated.ravel(), relative.ravel())[0, 1] > 0.99


def test_a_ball_evenly_lit_gives_uniform_light_whatever_its_colour() -> None:
    normals = facing_normals()
    colours = np.tile(SKIN, (len(normals), 1))
    np.testing.assert_allclose(estimate_lighting(normals, colours), uniform_lighting(), atol=1e-4)


def test_mean_shading_of_the_estimate_is_one() -> None:
    normals = facing_normals()
    colours = SKIN * (basis(normals) @ side_light(1, 0.5))
    shading = basis(normals) @ estimate_lighting(normals, colours.astype(np.float32))
    np.testing.assert_allclose(shading.mean(0), 1, atol=1e-4)


def test_brows_and_beard_hardly_change_the_estimate() -> None:
    normals = facing_normals()
    colours = (SKIN * (basis(normals) @ side_light(1, 0))).astype(np.float32)
    clean = basis(normals) @ estimate_lighting(normals, colours)
    colours[normals[:, 1] > 0.75] = 25
    spotted = basis(normals) @ estimate_lighting(normals, colours)
    is_skin = normals[:, 1] <= 0.75
    slope = (spotted / spotted[is_skin].mean(0) - clean / clean[is_skin].mean(0))[is_skin]
    assert np.abs(slope).mean() < 0.03


def test_a_black_picture_gives_finite_light() -> None:
    lighting = estimate_lighting(facing_normals(), np.zeros((800, 3), np.float32))
    assert np.isfinite(lighting).all()
