"""The paper's rig: codes to parameters in the picture, source and driver kept apart, the files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deca_media import NoFeatures, planted_deca, published_checkpoint
from difffae.face.config import FaceConfig
from difffae.face.crop import CropBox
from difffae.face.deca import Codes
from difffae.face.deca_crop import deca_box
from difffae.face.flame_renderer import FlameRenderer
from difffae.face.flame_rig import FlameRig, lighting_of, load_flame_rig, parameters_of
from difffae.face.licensed import LicensedFileError, LicensedFiles
from difffae.face.lighting import basis
from difffae.face.rig import Rig, Sighting
from flame_media import BOX, SIZE, constant_light, flame_model, flame_parts, head_codes
from licensed_media import (
    write_displacement,
    write_flame,
    write_landmarks,
    write_template,
    write_uv_mask,
)

Array = NDArray[np.float32]


def sighting(left: float, top: float, size: float, side: int = 300) -> Sighting:
    """A picture with mesh points in a square of it."""
    rng = np.random.default_rng(0)
    points = np.zeros((478, 3), np.float32)
    points[:, :2] = rng.uniform(0, 1, (478, 2)) * size + (left, top)
    image = rng.integers(0, 256, (side, side, 3), np.uint8)
    return Sighting(image=image, points=points)


def published(codes: Codes) -> dict[str, Array]:
    """Codes under the names DECA gives them."""
    return {
        "shape": codes.shape,
        "tex": codes.albedo,
        "exp": codes.expression,
        "pose": codes.pose,
        "cam": codes.camera,
        "light": codes.lighting,
    }


def rig_that_says(codes: Codes, detail: float = 0.25) -> FlameRig:
    """A rig whose DECA says the same of every face."""
    deca = planted_deca(published(codes), detail)
    return FlameRig(deca, FlameRenderer(flame_parts(deca), SIZE))


LIGHT = constant_light(h1=0.4, h2=-0.3, h3=0.3, h4=0.1, h5=0.12, h6=-0.15, h7=0.1, h8=0.05)
CODES = head_codes(yaw=0.4, pitch=-0.2, roll=0.3, jaw=0.2, lighting=LIGHT, seed=3)


def decas_pixels(codes: Codes) -> Array:
    """DECA's own projection into its crop [px]: s * (X + t), then y and z negated."""
    pose = np.zeros((5, 3), np.float32)
    pose[0], pose[2] = codes.pose[:3], codes.pose[3:]
    vertices = flame_model().with_shape(codes.shape).vertices(codes.expression, pose)
    scale, right, up = codes.camera.astype(np.float64)
    x = scale * (vertices[:, 0] + right)
    y = -scale * (vertices[:, 1] + up)
    z = -scale * vertices[:, 2]
    return (np.stack([x, y, z], -1) * 112 + np.array([112, 112, 0])).astype(np.float32)


def test_vertices_lie_in_the_crop_where_deca_projects_them() -> None:
    rig, seen = rig_that_says(CODES), sighting(40, 60, 150)
    parameters = rig.read(seen)
    renderer = rig.renderer
    in_picture = renderer.project(renderer.surface(parameters), parameters)
    in_crop = deca_box(seen.points).to_crop(in_picture, 224)
    expected = decas_pixels(CODES)
    np.testing.assert_allclose(in_crop[:, :2], expected[:, :2], atol=1e-3)
    depth = in_picture[:, 2] * 224 / deca_box(seen.points).size
    np.testing.assert_allclose(depth, expected[:, 2], atol=1e-3)


def test_parameters_are_the_codes_in_our_terms() -> None:
    parameters = rig_that_says(CODES).read(sighting(40, 60, 150))
    np.testing.assert_array_equal(parameters.shape, CODES.shape)
    np.testing.assert_array_equal(parameters.expression[:50], CODES.expression)
    np.testing.assert_array_equal(parameters.expression[50:], CODES.pose[3:])
    np.testing.assert_allclose(parameters.rotation, CODES.pose[:3] * np.array([1, -1, -1]))
    np.testing.assert_array_equal(parameters.gaze, np.zeros(4))


def test_the_head_unit_is_the_radius_of_the_face() -> None:
    """Filters and thresholds of the motion are set for this unit."""
    parameters = parameters_of(head_codes(), BOX)
    vertices = flame_model().template
    face = vertices[:3960][(vertices[:3960, 2] > 0.03) & (vertices[:3960, 1] > -0.1)]
    radius_m = float(np.sqrt(((face - face.mean(0)) ** 2).sum(-1).mean()))
    pixels_per_metre = 8.0 * BOX.size / 2
    assert parameters.scale / pixels_per_metre == pytest.approx(radius_m, rel=0.15)


def test_a_known_person_keeps_the_shape_and_nothing_else() -> None:
    rig, seen = rig_that_says(CODES), sighting(40, 60, 150)
    person = replace(rig.read(seen), shape=np.full(100, 0.5, np.float32), scale=1.0)
    known, alone = rig.read(seen, person), rig.read(seen)
    np.testing.assert_array_equal(known.shape, person.shape)
    np.testing.assert_array_equal(known.motion_vector(), alone.motion_vector())


def test_the_same_face_reads_the_same_in_the_picture_and_in_its_crop() -> None:
    """What is rendered lies over the networks' crop, wherever DECA's own crop was."""
    rig, seen = rig_that_says(CODES), sighting(40, 60, 150)
    box = CropBox(left=20, top=30, size=256)
    in_crop = Sighting(image=seen.image, points=box.to_crop(seen.points, SIZE))
    whole, cropped = rig.read(seen), rig.read(in_crop)
    # DECA rounds the side of its crop to whole pixels, in each picture anew.
    size = deca_box(seen.points).size / 2 / deca_box(in_crop.points).size
    assert size == pytest.approx(1, abs=0.02)
    assert whole.scale / 2 / cropped.scale == pytest.approx(size, rel=1e-5)
    moved = box.to_crop(np.array([[*whole.translation, 0]], np.float32), SIZE)[0, :2]
    np.testing.assert_allclose(cropped.translation, moved, atol=1.0)


def test_light_is_turned_into_the_pictures_axes() -> None:
    normals = np.random.default_rng(1).normal(size=(50, 3))
    normals = (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).astype(np.float32)
    in_picture = normals * np.array([1, -1, -1], np.float32)
    lighting = np.random.default_rng(2).normal(size=(9, 3)).astype(np.float32)
    codes = replace(CODES, lighting=lighting)
    np.testing.assert_allclose(
        basis(in_picture) @ lighting_of(codes), basis(normals) @ lighting, atol=1e-5
    )
    np.testing.assert_array_equal(
        rig_that_says(codes).lighting(sighting(0, 0, 100)), lighting_of(codes)
    )


def test_a_source_is_taken_apart_into_its_codes_and_layers() -> None:
    rig, seen = rig_that_says(CODES, detail=0.25), sighting(20, 30, 60, side=SIZE)
    person = np.zeros((SIZE, SIZE), np.float32)
    person[30:, 40:90] = 1
    source = rig.take_apart(seen, person)
    assert source.fitted.residual.shape == (0, 3)
    np.testing.assert_array_equal(
        source.fitted.parameters.motion_vector(), rig.read(seen).motion_vector()
    )
    assert source.appearance.albedo is not None
    assert source.appearance.detail is not None
    np.testing.assert_array_equal(source.appearance.albedo, CODES.albedo)
    np.testing.assert_array_equal(source.appearance.detail, np.full(128, 0.25))
    np.testing.assert_array_equal(source.appearance.lighting, lighting_of(CODES))
    np.testing.assert_array_equal(source.layers.portrait, seen.image)
    np.testing.assert_array_equal(source.layers.person, person)
    assert source.layers.plate.shape == seen.image.shape


def test_without_maps_no_detail_is_read() -> None:
    deca = planted_deca(published(CODES))
    rig = FlameRig(deca, FlameRenderer(flame_parts(deca, has_detail=False), SIZE))
    source = rig.take_apart(sighting(20, 30, 60, side=SIZE), np.ones((SIZE, SIZE), np.float32))
    assert source.appearance.detail is None


def test_a_condition_has_the_sources_skin_the_drivers_motion_and_the_given_light() -> None:
    rig = rig_that_says(CODES)
    seen = sighting(20, 30, 60, side=SIZE)
    source = rig.take_apart(seen, np.ones((SIZE, SIZE), np.float32))
    driver = parameters_of(
        head_codes(yaw=-0.3, jaw=0.3, seed=5), BOX, source.fitted.parameters.shape
    )
    light = constant_light(h1=-0.4)
    got = rig.condition(source, driver, light)
    expected = rig.renderer.condition(driver, replace(source.appearance, lighting=light))
    np.testing.assert_array_equal(got.composite, expected.composite)
    for other in (
        rig.condition(source, driver, constant_light(h1=0.4)),
        rig.condition(source, source.fitted.parameters, light),
        rig.condition(
            replace(
                source, appearance=replace(source.appearance, albedo=-source.appearance.albedo)
            ),
            driver,
            light,
        ),
    ):
        change = np.abs(other.composite.astype(int) - got.composite).max(-1)
        assert (change > 2).mean() > 0.1


def test_one_sighting_is_read_once_and_the_next_one_anew() -> None:
    deca = planted_deca(published(CODES))
    trunk = NoFeatures()
    deca._coarse.encoder = trunk
    rig = FlameRig(deca, FlameRenderer(flame_parts(deca), SIZE))
    first, second = sighting(20, 30, 60), sighting(20, 30, 60)
    rig.read(first)
    rig.lighting(first)
    rig.read(first, rig.read(first))
    assert len(trunk.seen) == 1
    rig.read(second)
    rig.read(first)
    assert len(trunk.seen) == 3


def test_there_are_no_lids_to_open() -> None:
    rig: Rig = rig_that_says(CODES)
    parameters = parameters_of(CODES, BOX)
    np.testing.assert_array_equal(rig.eye_openings(parameters), np.zeros(2))
    assert rig.open_eyes(parameters, np.ones(2, np.float32)) is parameters
    assert rig.mouth_opening(parameters) == 0
    assert rig.open_mouth(parameters, 1.0) is parameters


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> LicensedFiles:
    """Files of the published layouts; the albedo is left out for its size."""
    folder = tmp_path_factory.mktemp("licensed")
    torch.save(published_checkpoint(), folder / "deca_model.tar")
    return LicensedFiles(
        flame=write_flame(folder / "generic_model.pkl", "2023-open"),
        deca=folder / "deca_model.tar",
        template=write_template(folder / "head_template.obj"),
        landmarks=write_landmarks(folder / "landmark_embedding.npy"),
        uv_mask=write_uv_mask(folder / "uv_face_eye_mask.png"),
        displacement=write_displacement(folder / "fixed_displacement_256.npy"),
    )


def config(files: LicensedFiles) -> FaceConfig:
    """The paper's rig with these files."""
    return FaceConfig(rig="flame", background="black", licensed=files)


def test_the_rig_is_loaded_from_files_of_the_published_layouts(files: LicensedFiles) -> None:
    rig = load_flame_rig(config(files), SIZE)
    parameters = rig.read(sighting(40, 60, 150))
    np.testing.assert_array_equal(parameters.shape, np.arange(100))
    assert rig.renderer.has_detail
    source = rig.take_apart(sighting(20, 30, 60, side=SIZE), np.ones((SIZE, SIZE), np.float32))
    shown = parameters_of(head_codes(), BOX)
    condition = rig.condition(source, shown, constant_light())
    assert condition.composite.shape == (SIZE, SIZE, 3)
    assert condition.face_mask.mean() > 0.15
    np.testing.assert_allclose(
        condition.composite[SIZE // 2 + 10, SIZE // 2], [184, 140, 120], atol=3
    )  # the mean skin that stands in for a texture model
    assert rig.renderer.landmarks(shown).shape == (68, 2)


def test_without_the_maps_of_the_detail_the_surface_is_coarse(files: LicensedFiles) -> None:
    rig = load_flame_rig(config(replace(files, uv_mask=None, displacement=None)), SIZE)
    assert not rig.renderer.has_detail


@pytest.mark.parametrize("key", ["flame", "deca", "template", "uv_mask", "displacement"])
def test_each_file_that_is_not_set_is_named(files: LicensedFiles, key: str) -> None:
    with pytest.raises(LicensedFileError, match=rf"model\.face\.licensed\.{key} is not set"):
        load_flame_rig(config(replace(files, **{key: None})), SIZE)


@pytest.mark.parametrize("key", ["flame", "deca", "template", "landmarks", "albedo", "uv_mask"])
def test_each_file_that_is_not_there_is_named(
    files: LicensedFiles, tmp_path: Path, key: str
) -> None:
    changed = replace(files, **{key: tmp_path / "nowhere"})
    with pytest.raises(LicensedFileError, match=rf"model\.face\.licensed\.{key} is .*nowhere"):
        load_flame_rig(config(changed), SIZE)


def without_a_tensor(content: dict[str, dict[str, torch.Tensor]]) -> None:
    """Spoil a checkpoint."""
    del content["D_detail"]["conv_blocks.21.bias"]


@pytest.mark.parametrize("spoil", [without_a_tensor], ids=["no tensor"])
def test_another_models_weights_are_refused(
    files: LicensedFiles,
    tmp_path: Path,
    spoil: Callable[[dict[str, dict[str, torch.Tensor]]], None],
) -> None:
    content = published_checkpoint()
    spoil(content)
    torch.save(content, tmp_path / "deca_model.tar")
    changed = replace(files, deca=tmp_path / "deca_model.tar")
    with pytest.raises(LicensedFileError, match=r"no tensor D_detail\.conv_blocks\.21\.bias"):
        load_flame_rig(config(changed), SIZE)
