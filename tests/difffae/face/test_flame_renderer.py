"""The paper's R: what is rendered, under which light, and where."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from deca_media import planted_deca
from difffae.face.albedo import AlbedoModel
from difffae.face.deca import Codes
from difffae.face.detail import mesh_normals
from difffae.face.flame_renderer import FlameRenderer, sample_texture
from difffae.face.parameters import FaceParameters
from difffae.face.rasterizer import interpolate, rasterize
from flame_media import (
    BOX,
    SIZE,
    constant_light,
    detail_maps,
    flame_model,
    flame_parts,
    head_codes,
    shown,
    template,
)

Array = NDArray[np.float32]
DETAIL = np.linspace(-1, 1, 128, dtype=np.float32)


@pytest.fixture(scope="module")
def renderer() -> FlameRenderer:
    """Of the synthetic head with detail."""
    return FlameRenderer(flame_parts(), SIZE)


def with_white_skin(renderer: FlameRenderer) -> FlameRenderer:
    """The same head without a texture: what is rendered is the shading."""
    white = AlbedoModel(
        np.ones((256, 256, 3), np.float32), np.zeros((196608, 0), np.float32), "mean"
    )
    return FlameRenderer(replace(renderer._parts, albedo=white), SIZE)


def reference_picture(codes: Codes, displacement: Array | None) -> Array:
    """DECA's rendering of codes by its own formulas: FLAME's axes, its light, grid_sample.

    Only which triangle covers a pixel is taken from our rasterizer, which has its own tests.
    """
    mesh = template()
    pose = np.zeros((5, 3), np.float32)
    pose[0], pose[2] = codes.pose[:3], codes.pose[3:]
    vertices = flame_model().with_shape(codes.shape).vertices(codes.expression, pose)
    scale, shift = codes.camera[0], codes.camera[1:]
    ndc = scale * (vertices + np.array([*shift, 0], np.float32)) * np.array([1, -1, -1])
    pixels = (ndc + 1) / 2 * BOX.size + np.array([BOX.left, BOX.top, 0])
    fragments = rasterize(pixels.astype(np.float32), mesh.faces, SIZE)
    normals = mesh_normals(vertices, mesh.faces)
    at = interpolate(fragments, mesh.uv_faces, mesh.uv)
    grid = torch.from_numpy(np.stack([2 * at[..., 0] - 1, -(2 * at[..., 1] - 1)], -1))[None]
    albedo = flame_parts().albedo.texture(codes.albedo)
    if displacement is None:
        seen = interpolate(fragments, mesh.faces, normals)
        picture = sample(albedo, grid) * shade(seen, codes.lighting)
    else:
        dense = dense_normals(vertices, normals, displacement)
        picture = sample(albedo * shade(dense, codes.lighting), grid)
    return picture * (fragments.pix_to_face >= 0)[..., None]


def sample(texture: Array, grid: torch.Tensor) -> Array:
    """As DECA samples textures."""
    image = torch.from_numpy(texture.astype(np.float32)).permute(2, 0, 1)[None]
    return F.grid_sample(image, grid, align_corners=False)[0].permute(1, 2, 0).numpy()


def shade(normals: Array, lighting: Array) -> Array:
    """Spherical harmonics, written out (model.md 3.4)."""
    x, y, z = np.moveaxis(normals.astype(np.float64), -1, 0)
    pi = np.pi
    band1 = 2 * pi / 3 * np.sqrt(3 / (4 * pi))
    band2 = pi / 4 * 3 * np.sqrt(5 / (12 * pi))
    terms = [np.ones_like(x) / np.sqrt(4 * pi), band1 * x, band1 * y, band1 * z]
    terms += [band2 * x * y, band2 * x * z, band2 * y * z, band2 / 2 * (x**2 - y**2)]
    terms += [pi / 4 / 2 * np.sqrt(5 / (4 * pi)) * (3 * z**2 - 1)]
    return np.einsum("khw,kc->hwc", np.stack(terms), lighting)


def dense_normals(vertices: Array, normals: Array, displacement: Array) -> Array:
    """Normals of the displaced texture-space surface, by lists of triangles."""
    mesh, maps = template(), detail_maps()
    corners = np.concatenate([mesh.uv * 256, np.zeros((len(mesh.uv), 1))], -1)
    corners[:, 1] = 256 - corners[:, 1]
    fragments = rasterize(corners.astype(np.float32), mesh.uv_faces, 256)
    places, coarse = (interpolate(fragments, mesh.faces, v) for v in (vertices, normals))
    height = displacement * maps.mask + maps.displacement
    places = (places + height[..., None] * coarse).reshape(-1, 3).astype(np.float64)
    index = np.arange(256 * 256).reshape(256, 256)[5:-5, 2:-2]
    first, right, below = index[:-1, :-1], index[:-1, 1:], index[1:, :-1]
    cells = [(first, below, right), (right, below, index[1:, 1:])]
    faces = np.concatenate([np.stack([part.ravel() for part in cell], -1) for cell in cells])
    a, b, c = (places[faces[:, k]] for k in range(3))
    sums = np.zeros_like(places)
    for k in range(3):
        np.add.at(sums, faces[:, k], np.cross(b - a, c - a))
    sums /= np.maximum(np.linalg.norm(sums, axis=-1, keepdims=True), 1e-6)
    mask = maps.mask[..., None]
    return sums.reshape(256, 256, 3) * mask + coarse * (1 - mask)


LIGHT = constant_light(h1=0.4, h2=-0.3, h3=0.3, h4=0.1, h5=0.12, h6=-0.15, h7=0.1, h8=0.05)
LIGHT[:, 1] *= 0.9  # the light has a colour
LIGHT[1:4, 2] *= -0.8


@pytest.mark.parametrize("has_detail", [False, True], ids=["coarse", "detail"])
def test_the_picture_is_decas_own(renderer: FlameRenderer, has_detail: bool) -> None:
    codes = head_codes(yaw=0.4, pitch=-0.15, roll=0.2, jaw=0.15, lighting=LIGHT, seed=0)
    parameters, appearance = shown(codes, DETAIL if has_detail else None)
    displacement = None
    if has_detail:
        deca = renderer._parts.deca
        displacement = deca.displacement(codes.pose[3:], codes.expression, DETAIL)
    expected = np.clip(reference_picture(codes, displacement), 0, 1) * 255
    got = renderer.condition(parameters, appearance).composite
    is_face = expected.max(-1) > 0
    assert is_face.mean() > 0.15
    difference = np.abs(got - expected)
    assert np.quantile(difference, 0.99) < 1.5
    assert difference[is_face].mean() < 0.5


def test_under_constant_light_the_shading_is_1(renderer: FlameRenderer) -> None:
    for detail in (None, DETAIL):
        parameters, appearance = shown(head_codes(yaw=0.3), detail)
        condition = with_white_skin(renderer).condition(parameters, appearance)
        is_face = condition.face_mask > 0
        assert (condition.composite[is_face] >= 254).mean() > 0.99  # but at the texture's border


@pytest.mark.parametrize("detail", [None, DETAIL], ids=["coarse", "detail"])
def test_the_light_reaches_the_picture_on_the_face_and_nowhere_else(
    renderer: FlameRenderer, detail: Array | None
) -> None:
    left, right = (
        renderer.condition(*shown(head_codes(lighting=constant_light(h1=side)), detail))
        for side in (-0.5, 0.5)
    )
    is_face = left.face_mask > 0
    np.testing.assert_array_equal(left.face_mask, right.face_mask)
    change = np.abs(left.composite.astype(int) - right.composite).max(-1)
    assert change[~is_face].max() == 0
    assert (change[is_face] > 5).mean() > 0.8
    middle = SIZE // 2
    brightness = right.composite.astype(float).mean(-1)
    assert brightness[:, middle:].sum() > 1.3 * brightness[:, :middle].sum()  # from the right


def test_light_from_above_is_brighter_on_the_crown_than_under_the_chin(
    renderer: FlameRenderer,
) -> None:
    parameters, appearance = shown(head_codes(lighting=constant_light(h2=0.5)))
    shading = with_white_skin(renderer).condition(parameters, appearance).composite[..., 0]
    rows = np.flatnonzero(shading.max(1) > 0)
    column = shading[:, SIZE // 2]
    assert column[rows[0] + 2] > column[rows[0] + len(rows) // 2]


def test_the_light_stays_where_it_is_when_the_head_turns(renderer: FlameRenderer) -> None:
    """Normals are the turned head's: the shading of a ball does not change as it turns."""
    shading = []
    for yaw in (0.0, 0.5):
        lighting = constant_light(h1=0.5)
        condition = with_white_skin(renderer).condition(
            *shown(head_codes(yaw=yaw, lighting=lighting))
        )
        columns = condition.composite[..., 0].astype(float)
        shading.append(columns[:, : SIZE // 2].sum() / columns.sum())
    assert shading[0] == pytest.approx(shading[1], abs=0.06)
    assert shading[0] < 0.45


def test_around_the_head_all_is_black_and_masks_say_so(renderer: FlameRenderer) -> None:
    condition = renderer.condition(*shown(head_codes()))
    covered = condition.face_mask > 0
    assert set(np.unique(condition.face_mask)) == {0, 1}
    assert (condition.composite[~covered] == 0).all()
    assert (condition.composite[covered].max(-1) > 0).mean() > 0.99
    np.testing.assert_array_equal(condition.person_mask, condition.face_mask)
    assert condition.inside_mask.shape == (SIZE, SIZE)
    assert condition.inside_mask.max() == 0
    assert condition.warp is None


def painted(renderer: FlameRenderer, landmarks: list[int]) -> FlameRenderer:
    """The head in black with a dot of light where the surface carries each landmark."""
    model, mesh = renderer._parts.model, template()
    assert model._embedding is not None
    faces, weights = model._embedding.at(0.0)
    texture = np.zeros((256, 256, 3), np.float32)
    v, u = np.mgrid[:256, :256] + 0.5
    for landmark in landmarks:
        at = weights[landmark] @ mesh.uv[mesh.uv_faces[faces[landmark]]]
        dot = np.exp(-((u - at[0] * 256) ** 2 + (v - (1 - at[1]) * 256) ** 2) / 2)
        texture += dot[..., None].astype(np.float32)
    dots = AlbedoModel(texture, np.zeros((196608, 0), np.float32), "mean")
    return FlameRenderer(replace(renderer._parts, albedo=dots), SIZE)


@pytest.mark.parametrize("landmark", [17 + 2, 26 - 2, 30, 48, 54, 57])
@pytest.mark.parametrize("yaw", [-0.35, 0.0, 0.35])
def test_what_is_rendered_lies_on_the_landmarks(
    renderer: FlameRenderer, landmark: int, yaw: float
) -> None:
    """Model.md section 8, test 7: brows, nose and lips, drawn by texture and named by landmark."""
    parameters, appearance = shown(head_codes(yaw=yaw, pitch=0.1, seed=1))
    picture = painted(renderer, [landmark]).condition(parameters, appearance).composite
    weight = picture[..., 0].astype(float)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    assert weight.sum() > 100
    found = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
    np.testing.assert_allclose(renderer.landmarks(parameters)[landmark], found, atol=0.9)


def test_projection_is_scale_times_point_plus_shift_with_y_down(renderer: FlameRenderer) -> None:
    """Model.md 3.3: s * (X + t), not s * X + t; y flipped; z away from the camera."""
    parameters = shown(head_codes())[0]
    surface = np.array([[0.05, -0.02, -0.1], [0, 0, 0]], np.float32)  # y down, z into the picture
    got = renderer.project(surface, parameters)
    half = BOX.size / 2
    expected = [
        BOX.left + half + half * 8.0 * (0.05 + 0.004),
        BOX.top + half - half * 8.0 * (0.02 + 0.01),
    ]
    np.testing.assert_allclose(got[0, :2], expected, atol=1e-4)
    np.testing.assert_allclose(got[1, :2], [BOX.left + half * 1.032, BOX.top + half * 0.92])
    assert got[0, 2] < got[1, 2]  # the nose is nearer than the origin


def nose(renderer: FlameRenderer, parameters: FaceParameters) -> Array:
    """Where the tip of the nose is in the picture [px]."""
    return renderer.landmarks(parameters)[30]


def test_head_turns_and_jaw_opens_as_flame_says(renderer: FlameRenderer) -> None:
    front, turned, down = (
        shown(head_codes(**change))[0] for change in ({}, {"yaw": 0.5}, {"pitch": 0.4})
    )
    assert nose(renderer, turned)[0] > nose(renderer, front)[0] + 5
    assert nose(renderer, down)[1] > nose(renderer, front)[1] + 5
    opened = shown(head_codes(jaw=0.35))[0]
    lip, upper = 57, 51
    assert renderer.landmarks(opened)[lip, 1] > renderer.landmarks(front)[lip, 1] + 1.5
    np.testing.assert_allclose(
        renderer.surface(opened)[2500:2510], renderer.surface(front)[2500:2510], atol=1e-2
    )
    assert renderer.landmarks(front)[upper, 1] < renderer.landmarks(front)[lip, 1]


def test_the_near_side_hides_the_far_side(renderer: FlameRenderer) -> None:
    """Seen from the front there are eyes; from behind, hair and no eye."""
    front, behind = (
        renderer.condition(*shown(head_codes(yaw=yaw))).composite for yaw in (0.0, np.pi)
    )
    white = [(picture.min(-1) > 200).sum() for picture in (front, behind)]
    assert white[0] > 20
    assert white[1] == 0


def test_wrinkles_are_folded_by_the_shown_jaw_and_expression(renderer: FlameRenderer) -> None:
    """Section 4.2 and model.md 3.6: jaw and expression the driver's, detail code the source's."""
    calls: list[tuple[Array, ...]] = []
    deca = planted_deca({})
    decode = deca.displacement

    def spy(*codes: Array) -> Array:
        calls.append(codes)
        return decode(*codes)

    deca.displacement = spy  # type: ignore[method-assign]
    codes = head_codes(jaw=0.2, seed=2)
    FlameRenderer(flame_parts(deca), SIZE).condition(*shown(codes, DETAIL))
    ((jaw, expression, detail),) = calls
    np.testing.assert_array_equal(jaw, codes.pose[3:])
    np.testing.assert_array_equal(expression, codes.expression)
    np.testing.assert_array_equal(detail, DETAIL)


def test_without_a_code_or_without_maps_the_surface_is_coarse(renderer: FlameRenderer) -> None:
    light = constant_light(h1=0.5)
    parameters, fine = shown(head_codes(lighting=light), DETAIL)
    without_code = renderer.condition(parameters, replace(fine, detail=None)).composite
    coarse = FlameRenderer(flame_parts(has_detail=False), SIZE)
    np.testing.assert_array_equal(coarse.condition(parameters, fine).composite, without_code)
    change = np.abs(renderer.condition(parameters, fine).composite.astype(int) - without_code)
    assert (change.max(-1) > 3).mean() > 0.02
    assert renderer.has_detail
    assert not coarse.has_detail


def test_albedo_codes_change_the_colour_and_are_worked_out_once() -> None:
    asked: list[Array] = []

    class Counting(AlbedoModel):
        def texture(self, codes: Array) -> Array:
            asked.append(codes)
            return super().texture(codes)

    plain = flame_parts().albedo
    counting = Counting(plain._mean, plain._components, "BFM")
    renderer = FlameRenderer(replace(flame_parts(), albedo=counting), SIZE)
    parameters, appearance = shown(head_codes())
    darker = np.zeros(50, np.float32)
    darker[0] = 2
    pictures = [
        renderer.condition(parameters, replace(appearance, albedo=albedo)).composite.astype(float)
        for albedo in (np.zeros(50, np.float32), darker, darker.copy())
    ]
    assert len(asked) == 2
    assert pictures[1].sum() < 0.9 * pictures[0].sum()
    np.testing.assert_array_equal(pictures[1], pictures[2])


def test_textures_are_sampled_as_grid_sample_does_without_aligned_corners() -> None:
    texture = np.random.default_rng(4).random((256, 256, 3), np.float32)
    at = np.random.default_rng(5).random((40, 30, 2), np.float32)
    at[0, 0], at[0, 1] = (0, 0), (1, 1)
    grid = torch.from_numpy(np.stack([2 * at[..., 0] - 1, 1 - 2 * at[..., 1]], -1))[None]
    got = sample_texture(texture, at)
    assert np.abs(got - sample(texture, grid)).max() < 0.05  # places are rounded to 1/32 of a texel
    centre = np.array([[[(10 + 0.5) / 256, 1 - (20 + 0.5) / 256]]], np.float32)
    np.testing.assert_allclose(sample_texture(texture, centre)[0, 0], texture[20, 10], rtol=1e-5)
