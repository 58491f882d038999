"""A lamp blended into a light: where it shines from, its colour, its exposure, its presets."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.arrays import Lighting, Normals
from difffae.face.lamp import (
    NAMED_STRENGTH,
    NEUTRAL_K,
    PRESETS,
    Lamp,
    add_lamp,
    lamp_of,
    temperature_gains,
    with_contrast,
)
from difffae.face.lighting import SHADING_RANGE, basis, shade, uniform_lighting

EIGHT = [(0, 45), (45, 30), (90, 0), (45, -30), (0, -45), (-45, -30), (-90, 0), (-45, 30)]


def seen_normals() -> Normals:
    """Normals of a ball as a picture shows it: evenly over its disc."""
    y, x = np.mgrid[-1:1:101j, -1:1:101j]
    inside = x**2 + y**2 < 1
    z = -np.sqrt(1 - (x**2 + y**2)[inside])
    return np.asarray(np.stack([x[inside], y[inside], z], -1), np.float32)


def side_light(x: float, y: float) -> Lighting:
    """Light from all around and more from one side, warmer in red."""
    lighting = uniform_lighting()
    lighting[1] = 0.35 * x * np.array([1.0, 0.8, 0.6])
    lighting[2] = 0.35 * y * np.array([1.0, 0.8, 0.6])
    return lighting


def test_a_lamp_of_strength_zero_is_no_lamp() -> None:
    lighting = side_light(1, 0)
    assert add_lamp(lighting, Lamp(azimuth_deg=40, elevation_deg=-50)) is lighting


def test_directions_are_the_viewers() -> None:
    """x right, y down, z away from the camera."""
    np.testing.assert_allclose(Lamp().towards, [0, 0, -1], atol=1e-9)
    np.testing.assert_allclose(Lamp(azimuth_deg=90).towards, [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(Lamp(azimuth_deg=180).towards, [0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(Lamp(elevation_deg=90).towards, [0, -1, 0], atol=1e-9)
    half = np.sqrt(0.5)
    tilted = Lamp(azimuth_deg=-90, elevation_deg=45).towards
    np.testing.assert_allclose(tilted, [-half, -half, 0], atol=1e-9)


@pytest.mark.parametrize(("azimuth", "elevation"), EIGHT)
def test_the_place_that_faces_the_lamp_is_the_brightest(azimuth: float, elevation: float) -> None:
    lamp = Lamp(azimuth_deg=azimuth, elevation_deg=elevation, strength=1)
    normals = seen_normals()
    for lighting in (uniform_lighting(), side_light(-np.sign(azimuth), np.sign(elevation))):
        shading = (basis(normals) @ add_lamp(lighting, lamp)).mean(-1)
        assert normals[shading.argmax()] @ lamp.towards > 0.97


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 45), (0, 0), (30, -20), (-45, 0)])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_a_lamp_before_the_face_keeps_mean_brightness_and_colour(
    azimuth: float, elevation: float, strength: float
) -> None:
    lighting = side_light(0.5, 0.5)
    lamp = Lamp(azimuth_deg=azimuth, elevation_deg=elevation, strength=strength)
    before, after = (
        (basis(seen_normals()) @ light).mean(0) for light in (lighting, add_lamp(lighting, lamp))
    )
    np.testing.assert_allclose(after, before, rtol=0.04)


@pytest.mark.parametrize("azimuth", [-90, 60, 90])
def test_a_lamp_beside_the_face_is_exposed_for_the_lit_side(azimuth: float) -> None:
    lamp = Lamp(azimuth_deg=azimuth, strength=1, ambient=0.2)
    shading = (basis(seen_normals()) @ add_lamp(uniform_lighting(), lamp)).mean(-1)
    assert 1.4 < shading.max() < 1.9
    assert shading.mean() < 0.9


def test_a_lamp_behind_the_head_leaves_the_face_dark_and_lights_its_edge() -> None:
    lamp = Lamp(azimuth_deg=-140, elevation_deg=0, strength=1)
    normals = seen_normals()
    shading = (basis(normals) @ add_lamp(uniform_lighting(), lamp)).mean(-1)
    assert 0.3 < shading[normals[:, 2] < -0.8].mean() < 0.5
    assert shading[normals[:, 0] < -0.97].mean() > 0.85


def test_less_ambient_is_harder_light() -> None:
    def span(ambient: float) -> float:
        lamp = Lamp(azimuth_deg=60, strength=1, ambient=ambient)
        return float(np.ptp(basis(seen_normals()) @ add_lamp(uniform_lighting(), lamp)))

    assert span(1.0) == pytest.approx(0, abs=1e-5)
    assert span(0.0) == pytest.approx(2 * span(0.5), rel=1e-4)
    assert span(0.4) > 0.8


def test_the_lamp_is_the_clamped_cosine_of_its_direction() -> None:
    """Up to the second order of a clamped cosine, which is off by 1/16 at most."""
    normals = seen_normals()
    lamp = Lamp(azimuth_deg=31, elevation_deg=-19, strength=1)
    direct = basis(normals) @ add_lamp(uniform_lighting(), lamp)
    cosine = np.maximum(normals @ lamp.towards, 0)
    expected = 0.4 + 0.6 * cosine / max(cosine.mean(), 0.5)
    np.testing.assert_allclose(direct[:, 0], expected, atol=0.11)


def test_colour_temperature_goes_from_orange_to_blue_and_keeps_luminance() -> None:
    np.testing.assert_allclose(temperature_gains(NEUTRAL_K), 1, atol=1e-6)
    ratios = [gains[2] / gains[0] for gains in map(temperature_gains, range(1700, 15000, 100))]
    assert (np.diff(ratios) > -1e-9).all()
    red, green, blue = temperature_gains(3200)
    assert red > 1.1 > green > blue
    assert temperature_gains(12000)[2] > 1.05 > 0.98 > temperature_gains(12000)[0]
    decoded = temperature_gains(3200) ** (2.2 / 0.6)
    assert decoded @ [0.2126, 0.7152, 0.0722] == pytest.approx(1, abs=0.01)


def test_black_bodies_have_the_colour_of_plancks_law() -> None:
    """Chromaticities of the Planckian locus under CIE 1931, in linear sRGB against 6500 K's."""
    to_rgb = np.linalg.inv(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    locus = {3000: (0.4369, 0.4041), 6500: (0.3135, 0.3237), 10000: (0.2807, 0.2884)}
    linear = {t: to_rgb @ [x / y, 1, (1 - x - y) / y] for t, (x, y) in locus.items()}
    for kelvin in (3000, 10000):
        found = temperature_gains(kelvin) ** (2.2 / 0.6)
        expected = linear[kelvin] / linear[6500]
        np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=0.02)


def test_a_warm_lamp_warms_what_it_lights_by_its_strength() -> None:
    def redness(strength: float) -> float:
        lamp = Lamp(temperature_k=2500, strength=strength)
        mean = (basis(seen_normals()) @ add_lamp(uniform_lighting(), lamp)).mean(0)
        return float(mean[0] / mean[2])

    assert redness(0) == pytest.approx(1, abs=1e-5)
    assert 1.1 < redness(0.5) < redness(1)


def test_contrast_scales_the_shadows_about_the_same_mean() -> None:
    lighting, normals = side_light(0.8, -0.4), seen_normals()
    assert with_contrast(lighting, 1) is lighting
    shading = basis(normals) @ lighting
    for contrast in (0.0, 0.5, 2.0):
        changed = basis(normals) @ with_contrast(lighting, contrast)
        np.testing.assert_allclose(changed.mean(0), shading.mean(0), rtol=0.01)
        expected = contrast * (shading - shading.mean(0))
        np.testing.assert_allclose(changed - changed.mean(0), expected, atol=2e-3)
    with pytest.raises(ValueError, match=r"^light_contrast is 2\.5; expected 0 to 2$"):
        with_contrast(lighting, 2.5)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_presets_light_differs_from_no_lamp_and_can_be_shown(name: str) -> None:
    shading = shade(seen_normals(), add_lamp(uniform_lighting(), PRESETS[name]))
    assert np.ptp(shading) > 0.25
    assert (shading < SHADING_RANGE[1]).mean() > 0.9


def test_presets_shine_from_where_portrait_photographers_place_them() -> None:
    assert PRESETS["butterfly"].azimuth_deg == 0 < PRESETS["butterfly"].elevation_deg
    assert abs(PRESETS["split"].azimuth_deg) == 90
    assert abs(PRESETS["rim"].azimuth_deg) > 90
    assert PRESETS["candle"].elevation_deg < 0
    assert PRESETS["candle"].temperature_k < 2500 < NEUTRAL_K < PRESETS["moonlight"].temperature_k


def test_numbers_replace_a_presets() -> None:
    assert lamp_of("split") == PRESETS["split"]
    lamp = lamp_of("split", azimuth_deg=70, strength=None, temperature_k=3000)
    assert lamp == replace(PRESETS["split"], azimuth_deg=70, temperature_k=3000)


def test_a_number_without_a_preset_makes_a_lamp_that_shines() -> None:
    assert lamp_of().strength == 0
    assert lamp_of(azimuth_deg=30, elevation_deg=None).strength == NAMED_STRENGTH
    assert lamp_of(azimuth_deg=30, strength=0.3).strength == 0.3


@pytest.mark.parametrize(
    "wrong",
    [
        {"azimuth_deg": 181.0},
        {"elevation_deg": -91.0},
        {"temperature_k": 1000.0},
        {"strength": -0.1},
        {"ambient": float("nan")},
    ],
)
def test_a_lamp_out_of_range_is_refused_in_one_sentence(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"^light_[a-z]+ is [^\n]*; expected -?\d+ to \d+$"):
        Lamp(**wrong)


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"^light preset is 'disco'; expected one of studio, "):
        lamp_of("disco")
