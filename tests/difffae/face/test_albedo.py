"""Albedo spaces against torch's own resizing of the same arrays."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from difffae.face.albedo import MEAN_SKIN, load_albedo, mean_albedo
from difffae.face.licensed import LicensedFileError
from licensed_head import EYE_V, synthetic_flame
from licensed_media import write_bfm_albedo, write_flame_texture


def random_space(path: Path, side: int, layout: str) -> tuple[np.ndarray, np.ndarray]:
    """Write a space of random numbers with as many components as published; 50 count."""
    rng = np.random.default_rng(0)
    count = 199 if layout == "BFM" else 200
    mean = rng.random((side, side, 3), np.float32) * 0.4 + 0.3
    components = np.zeros((side, side, 3, count), np.float32)
    components[..., :51] = rng.normal(size=(side, side, 3, 51)) * 0.01
    if layout == "BFM":
        np.savez(path, MU=mean.reshape(1, -1), PC=components.reshape(-1, count))
    else:
        np.savez(path, mean=255 * mean, tex_dir=255 * components)
    return mean, components


def as_deca(mean: np.ndarray, components: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """DECA's order of things: sum, nearest resize to 256, channels turned round."""
    texture = torch.from_numpy(mean + components[..., : len(codes)] @ codes)
    small = torch.nn.functional.interpolate(texture.permute(2, 0, 1)[None], [256, 256])
    return small[0, [2, 1, 0]].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("layout", ["BFM", "FLAME"])
@pytest.mark.parametrize("side", [64, 128])
def test_textures_are_those_of_deca(layout: str, side: int, tmp_path: Path) -> None:
    path = tmp_path / "space.npz"
    mean, components = random_space(path, side, layout)
    codes = np.random.default_rng(1).normal(size=50).astype(np.float32)
    model = load_albedo(path)
    got = model.texture(codes)
    expected = as_deca(mean, components, codes)
    assert (got.dtype, got.shape, model.space) == (np.float32, (256, 256, 3), layout)
    np.testing.assert_allclose(got, np.clip(expected, 0, 1), atol=1e-6)


def test_textures_stay_between_0_and_1(tmp_path: Path) -> None:
    model = load_albedo(write_bfm_albedo(tmp_path / "bfm.npz"))
    codes = np.zeros(50, np.float32)
    codes[0] = 100
    assert model.texture(codes).min() == 0
    assert model.texture(-codes).max() == 1


def test_row_0_is_the_crown_and_red_comes_first(tmp_path: Path) -> None:
    for write in (write_bfm_albedo, write_flame_texture):
        texture = load_albedo(write(tmp_path / "space.npz")).texture(np.zeros(50, np.float32))
        np.testing.assert_allclose(texture[::4, ::4], synthetic_flame().albedo(64), atol=1e-6)
        cheek = texture[int(256 * (1 - 0.45)), 90]
        assert cheek[0] > cheek[1] > cheek[2]  # skin
        assert texture[2].mean() < 0.2  # hair
        assert texture[-2, 40].min() > 0.8  # the white of an eye
        assert EYE_V > 2 / 256


def test_each_code_does_the_same_in_its_own_space_only(tmp_path: Path) -> None:
    bfm = load_albedo(write_bfm_albedo(tmp_path / "bfm.npz"))
    codes = np.zeros(50, np.float32)
    codes[3] = 1  # red alone
    change = bfm.texture(codes) - bfm.texture(np.zeros(50, np.float32))
    np.testing.assert_allclose(change.reshape(-1, 3).mean(0), [0.015, 0, 0], atol=1e-4)


def test_flames_own_space_says_that_decas_codes_are_not_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        load_albedo(write_bfm_albedo(tmp_path / "bfm.npz"))
        assert caplog.text == ""
        load_albedo(write_flame_texture(tmp_path / "tex.npz"))
    assert "DECA's codes were trained in BFM's" in caplog.text


def test_without_a_file_everybody_has_one_skin_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        model = mean_albedo()
    assert "model.face.licensed.albedo is not set" in caplog.text
    assert model.space == "mean"
    for codes in (np.zeros(50, np.float32), np.ones(50, np.float32)):
        texture = model.texture(codes)
        np.testing.assert_array_equal(texture.reshape(-1, 3)[[0, -1]], [np.float32(MEAN_SKIN)] * 2)
        assert texture.shape == (256, 256, 3)


def test_more_codes_than_components_are_named(tmp_path: Path) -> None:
    model = load_albedo(write_bfm_albedo(tmp_path / "bfm.npz"))
    with pytest.raises(ValueError, match="got 51 texture codes, expected at most 50"):
        model.texture(np.zeros(51, np.float32))


def test_other_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.npz"
    np.savez(path, MU=np.zeros((1, 48)), PC=np.zeros((48, 80)))
    with pytest.raises(
        LicensedFileError, match=r"its PC is of shape \(48, 80\), expected \(…, 199"
    ):
        load_albedo(path)
    np.savez(path, MU=np.zeros((1, 48)), PC=np.zeros((60, 199)))
    with pytest.raises(LicensedFileError, match="got 48 values and 60 rows"):
        load_albedo(path)
    np.savez(path, vertices=np.zeros(3))
    with pytest.raises(LicensedFileError, match=r"got 1 entries \(vertices\), expected MU"):
        load_albedo(path)
    data = write_bfm_albedo(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(LicensedFileError, match="damaged"):
        load_albedo(path)
    np.savez(path, MU=np.array({"a": 1}, object), PC=np.zeros((48, 199)))
    with pytest.raises(LicensedFileError, match="cannot be read"):
        load_albedo(path)
