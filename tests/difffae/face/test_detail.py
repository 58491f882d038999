"""Fine geometry: texture space, normals of a displaced surface, the lit texture, the files."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.face.detail import (
    DetailMaps,
    TextureSpace,
    lit_texture,
    load_detail_maps,
    mesh_normals,
)
from difffae.face.licensed import LicensedFileError
from difffae.face.lighting import basis
from difffae.face.template import Template
from flame_media import detail_maps, flame_model, template

Array = NDArray[np.float32]
SHEET_M = 0.2  # side of a flat sheet that fills the texture


def sheet() -> tuple[TextureSpace, Array, Array]:
    """A flat square, x along u and y along v, that looks along z: two triangles."""
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    vertices = np.concatenate([uv * SHEET_M, np.zeros((4, 1), np.float32)], -1)
    normals = mesh_normals(vertices, faces)
    return TextureSpace(Template(uv=uv, uv_faces=faces, faces=faces)), vertices, normals


def ripples() -> tuple[Array, Array]:
    """A displacement of the sheet [m], and its surface's normals by calculus."""
    u, v = np.meshgrid((np.arange(256) + 0.5) / 256, 1 - (np.arange(256) + 0.5) / 256)
    height = 2e-3 * np.sin(12 * u) * np.cos(7 * v)
    slope_u = 2e-3 * 12 * np.cos(12 * u) * np.cos(7 * v) / SHEET_M
    slope_v = -2e-3 * 7 * np.sin(12 * u) * np.sin(7 * v) / SHEET_M
    normals = np.stack([-slope_u, -slope_v, np.ones_like(u)], -1)
    return height.astype(np.float32), normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def maps(mask: float = 1.0) -> DetailMaps:
    """Detail everywhere, or nowhere; no fixed displacement."""
    return DetailMaps(
        mask=np.full((256, 256), mask, np.float32), displacement=np.zeros((256, 256), np.float32)
    )


INNER = (slice(6, -6), slice(6, -6))  # what the dense grid's margins leave


def test_normals_of_a_displaced_sheet_are_those_of_calculus() -> None:
    space, vertices, normals = sheet()
    height, expected = ripples()
    got = space.detailed_normals(vertices, normals, height, maps())
    assert np.ptp(expected[..., 0]) > 0.1
    np.testing.assert_allclose(got[INNER], expected[INNER], atol=2e-3)


def test_normals_turn_with_the_surface() -> None:
    space, vertices, normals = sheet()
    height, expected = ripples()
    turn = cv2.Rodrigues(np.array([0.4, -0.7, 0.2]))[0].astype(np.float32)
    got = space.detailed_normals(vertices @ turn.T, normals @ turn.T, height, maps())
    np.testing.assert_allclose(got[INNER], (expected @ turn.T)[INNER], atol=2e-3)


def test_the_mask_weighs_what_is_decoded_and_the_result_but_not_the_fixed_part() -> None:
    space, vertices, normals = sheet()
    height, _ = ripples()
    half = DetailMaps(mask=np.full((256, 256), 0.5, np.float32), displacement=0.5 * height)
    got = space.detailed_normals(vertices, normals, height, half)
    whole = space.detailed_normals(vertices, normals, height, maps())  # 0.5 + 0.5
    np.testing.assert_allclose(got[INNER], 0.5 * whole[INNER] + [0, 0, 0.5], atol=1e-5)
    left = np.zeros((256, 256), np.float32)
    left[:, :128] = 1
    cut = space.detailed_normals(
        vertices, normals, height, DetailMaps(mask=left, displacement=np.zeros_like(left))
    )
    np.testing.assert_allclose(cut[6:-6, 6:126], whole[6:-6, 6:126], atol=1e-6)
    np.testing.assert_allclose(cut[:, 128:], np.broadcast_to([0, 0, 1], (256, 128, 3)), atol=1e-6)


def test_the_border_of_the_dense_grid_has_no_normals() -> None:
    """DECA's grid leaves out two columns and five rows."""
    space, vertices, normals = sheet()
    got = space.detailed_normals(vertices, normals, ripples()[0], maps())
    is_empty = (got == 0).all(-1)
    expected = np.ones((256, 256), bool)
    expected[5:-5, 2:-2] = False
    np.testing.assert_array_equal(is_empty, expected)


def cross(a: Array, b: Array) -> Array:
    """Twice the areas between vectors of the plane."""
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def test_each_texel_holds_its_place_on_the_head() -> None:
    """Against a search of the texture's triangles, for texels of face and eyes."""
    vertices, mesh = flame_model().template, template()
    unwrapped = TextureSpace(mesh).unwrap(vertices)
    corners = mesh.uv[mesh.uv_faces].astype(np.float64)
    is_real = np.abs(cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])) > 1e-9
    faces = mesh.faces[is_real]
    a, b, c = np.moveaxis(corners[is_real], 1, 0)
    area = cross(b - a, c - a)
    num_found = 0
    for row, column in np.random.default_rng(0).integers(4, 252, (60, 2)):
        at = np.array([(column + 0.5) / 256, 1 - (row + 0.5) / 256])
        second, third = cross(at - a, c - a) / area, cross(b - a, at - a) / area
        inside = np.minimum(np.minimum(second, third), 1 - second - third) > 1e-3
        if inside.sum() != 1:
            continue
        face = int(np.flatnonzero(inside)[0])
        shares = np.array([1 - second[face] - third[face], second[face], third[face]])
        expected = shares @ vertices[faces[face]]
        np.testing.assert_allclose(unwrapped[row, column], expected, atol=2e-5)
        num_found += 1
    assert num_found > 25


def test_mesh_normals_are_area_weighted_sums() -> None:
    vertices, faces = flame_model().template, template().faces
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    expected = np.zeros(vertices.shape)
    for k in range(3):
        np.add.at(expected, faces[:, k], np.cross(b - a, c - a))
    expected /= np.maximum(np.linalg.norm(expected, axis=-1, keepdims=True), 1e-6)
    got = mesh_normals(vertices, faces)
    np.testing.assert_allclose(got, expected, atol=1e-4)
    nose = int(vertices[:3960, 2].argmax())
    assert got[nose, 2] > 0.7  # out of the face


def test_the_lit_texture_is_albedo_times_light_and_is_not_limited() -> None:
    rng = np.random.default_rng(1)
    albedo = rng.random((256, 256, 3), np.float32)
    normals = rng.normal(size=(256, 256, 3))
    normals = (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).astype(np.float32)
    lighting = rng.normal(size=(9, 3)).astype(np.float32)
    got = lit_texture(albedo, normals, lighting)
    for row, column in ((0, 0), (17, 200), (255, 255)):
        shading = basis(normals[row, column][None])[0] @ lighting
        np.testing.assert_allclose(got[row, column], albedo[row, column] * shading, rtol=1e-4)
    assert got.min() < -0.5
    assert got.max() > 2


def test_maps_are_read_and_the_mask_takes_each_second_pixel(tmp_path: Path) -> None:
    large = np.random.default_rng(2).integers(0, 256, (512, 512), np.uint8)
    cv2.imwrite(str(tmp_path / "mask.png"), large)
    fixed = np.random.default_rng(3).normal(size=(256, 256)) * 1e-3
    np.save(tmp_path / "fixed.npy", fixed)
    read = load_detail_maps(tmp_path / "mask.png", tmp_path / "fixed.npy")
    np.testing.assert_allclose(read.mask, large[::2, ::2] / np.float32(255))
    np.testing.assert_allclose(read.displacement, fixed, rtol=1e-6)


@pytest.mark.parametrize(
    ("mask", "fixed", "reason"),
    [
        (None, np.zeros((256, 256)), "there is no picture"),
        (np.zeros((256, 200), np.uint8), np.zeros((256, 256)), "expected a square one"),
        (np.zeros((256, 256), np.uint8), np.zeros((128, 128)), r"\(256, 256\)"),
        (np.zeros((256, 256), np.uint8), np.full((256, 256), np.nan), "reaches nan metres"),
    ],
    ids=["no mask", "wide mask", "small displacement", "no numbers"],
)
def test_other_maps_are_refused_with_their_key(
    tmp_path: Path, mask: Array | None, fixed: Array, reason: str
) -> None:
    if mask is not None:
        cv2.imwrite(str(tmp_path / "mask.png"), mask)
    np.save(tmp_path / "fixed.npy", fixed)
    with pytest.raises(LicensedFileError, match=rf"model\.face\.licensed.*{reason}"):
        load_detail_maps(tmp_path / "mask.png", tmp_path / "fixed.npy")


def test_detail_changes_normals_on_the_mask_alone() -> None:
    vertices = flame_model().template
    normals = mesh_normals(vertices, template().faces)
    space = TextureSpace(template())
    flat = np.zeros((256, 256), np.float32)
    got = space.detailed_normals(vertices, normals, flat, detail_maps())
    change = np.abs(got - space.unwrap(normals)).max(-1)
    is_face = detail_maps().mask > 0
    assert change[~is_face].max() < 1e-6
    assert np.median(change[is_face]) > 0.02
    assert np.median(np.linalg.norm(got[is_face], axis=-1)) == pytest.approx(1, abs=1e-3)
