"""The paper's whole path behind licensed files: loaded from a folder, a portrait reenacted."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from deca_media import code_vector, published_checkpoint
from difffae.arrays import ImageU8
from difffae.controls import Controls
from difffae.face.config import FaceConfig
from difffae.face.flame_rig import load_flame_rig
from difffae.face.licensed import LicensedFileError, LicensedFiles
from difffae.loading import load_pipeline
from difffae.pipeline import Pipeline, Source
from face_media import read_picture
from licensed_media import write_licensed_files
from random_model import write_random_networks

SIDE = 384
CODES = {
    "exp": np.linspace(-0.5, 0.5, 50, dtype=np.float32),
    "pose": np.float32([0.1, 0.2, 0, 0.15, 0, 0]),
    "cam": np.float32([7.5, 0, 0.01]),
    "light": np.float32([[3.5] * 3, [0.4] * 3, *[[0.0] * 3] * 7]),
}


@pytest.fixture(scope="module")
def licensed(tmp_path_factory: pytest.TempPathFactory) -> LicensedFiles:
    """Synthetic files of the published layouts; this DECA says the same of every picture."""
    folder = tmp_path_factory.mktemp("licensed")
    checkpoint = published_checkpoint()
    checkpoint["E_flame"]["layers.2.bias"] = torch.from_numpy(code_vector(CODES))
    torch.save(checkpoint, folder / "deca_model.tar")
    return replace(write_licensed_files(folder), deca=folder / "deca_model.tar")


def write_config(folder: Path, repository: Path, licensed: LicensedFiles) -> Path:
    """`configs/tiny-paper.yaml` with FLAME for a rig."""
    content: dict[str, Any] = yaml.safe_load(
        (repository / "configs" / "tiny-paper.yaml").read_text("utf-8")
    )
    files = {name: str(path) for name, path in asdict(licensed).items() if path is not None}
    content["model"]["face"].update(rig="flame", licensed=files)
    (folder / "config.yaml").write_text(yaml.safe_dump(content), "utf-8")
    return folder


@pytest.fixture(scope="module")
def model(
    tmp_path_factory: pytest.TempPathFactory, repository: Path, licensed: LicensedFiles
) -> Path:
    """A folder of that configuration and random networks."""
    folder = write_config(tmp_path_factory.mktemp("model"), repository, licensed)
    write_random_networks(folder)
    return folder


@pytest.fixture(scope="module")
def pipeline(model: Path) -> Pipeline:
    return load_pipeline(model, runtime="eager")


@pytest.fixture
def same_networks(model: Path, tmp_path: Path) -> Path:
    """The model's networks, waiting for a configuration."""
    for path in model.glob("*.safetensors"):
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.fixture(scope="module")
def portrait_image(portrait: Path) -> ImageU8:
    return read_picture(portrait, SIDE)


@pytest.fixture(scope="module")
def source(pipeline: Pipeline, portrait_image: ImageU8) -> Source:
    return pipeline.encode_source(portrait_image)


def test_a_source_has_the_codes_that_deca_reads(source: Source) -> None:
    face = source.face
    np.testing.assert_allclose(face.fitted.parameters.expression[:50], CODES["exp"], atol=1e-6)
    np.testing.assert_allclose(face.fitted.parameters.expression[50:], [0.15, 0, 0], atol=1e-6)
    assert face.appearance.albedo is not None
    assert face.appearance.detail is not None


def test_the_condition_is_a_lit_head_on_black_where_the_face_is(
    pipeline: Pipeline, source: Source, portrait_image: ImageU8
) -> None:
    controls = Controls(motion="absolute")
    start = pipeline.open_stream(source, controls)
    condition, _ = pipeline.condition(portrait_image, source, start, controls)
    is_head = condition.face_mask > 0
    assert (condition.composite[~is_head] == 0).all()
    assert condition.composite[is_head].mean() > 20
    own = source.face.layers.person > 0.5
    assert (is_head & own).sum() > 0.8 * is_head.sum()


def test_a_shifted_driver_shifts_the_head(
    pipeline: Pipeline, source: Source, portrait_image: ImageU8
) -> None:
    controls = Controls()
    state = pipeline.open_stream(source, controls)
    before, state = pipeline.condition(portrait_image, source, state, controls)
    shifted = np.roll(portrait_image, 12, axis=1)
    after = before
    for _ in range(20):  # smoothing comes to rest
        after, state = pipeline.condition(shifted, source, state, controls)
    places = [np.nonzero(shown.face_mask > 0)[1].mean() for shown in (before, after)]
    expected = 12 * 256 / source.crop_box.size
    assert places[1] - places[0] == pytest.approx(expected, abs=1.5)


def test_light_alone_changes_the_condition_and_the_output(
    pipeline: Pipeline, source: Source
) -> None:
    shown, own = source.face.fitted.parameters, source.face.appearance.lighting
    other = own.copy()
    other[1] = -other[1]
    conditions = [pipeline.render(source, shown, light) for light in (own, other)]
    is_head = conditions[0].face_mask > 0
    change = np.abs(np.subtract(*(c.composite.astype(int) for c in conditions)))
    assert change[is_head].mean() > 3
    assert (change[~is_head] == 0).all()
    outputs = [pipeline.generate(c, source, Controls(num_steps=2)) for c in conditions]
    assert np.abs(np.subtract(*(output.astype(int) for output in outputs))).mean() > 0.2


def test_a_frame_of_the_portraits_size_comes_out_with_the_whole_crop_generated(
    pipeline: Pipeline, source: Source, portrait_image: ImageU8
) -> None:
    controls = Controls(num_steps=4)
    state = pipeline.open_stream(source, controls)
    reenacted, _ = pipeline.reenact(portrait_image, source, state, controls)
    assert reenacted.image.shape == portrait_image.shape
    box = source.crop_box
    row, column = round(box.top + box.size / 2), round(box.left + box.size / 2)
    assert reenacted.mask[row, column] == 255
    assert (reenacted.mask > 0).mean() > 0.8 * (box.size / SIDE) ** 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("flame", "model.face.licensed.flame"),
        ("deca", "model.face.licensed.deca"),
        ("template", "model.face.licensed.template"),
    ],
)
def test_a_file_that_is_not_named_is_asked_for(
    repository: Path, licensed: LicensedFiles, same_networks: Path, name: str, said: str
) -> None:
    folder = write_config(same_networks, repository, replace(licensed, **{name: None}))
    with pytest.raises(LicensedFileError, match="http") as raised:
        load_pipeline(folder, runtime="eager")
    assert said in str(raised.value)


def test_a_truncated_file_is_refused_by_name(
    repository: Path, licensed: LicensedFiles, same_networks: Path, tmp_path: Path
) -> None:
    assert licensed.flame is not None
    broken = tmp_path / "generic_model.pkl"
    broken.write_bytes(licensed.flame.read_bytes()[:5000])
    folder = write_config(same_networks, repository, replace(licensed, flame=broken))
    with pytest.raises(LicensedFileError, match="generic_model"):
        load_pipeline(folder, runtime="eager")


@pytest.mark.parametrize(("version", "is_warned"), [("2023", True), ("2020", False), (None, False)])
def test_a_flame_that_decas_codes_do_not_fit_is_warned_of(
    licensed: LicensedFiles,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    version: str | None,
    is_warned: bool,
) -> None:
    monkeypatch.setattr("difffae.face.flame.publication", lambda key, path: version)
    load_flame_rig(FaceConfig(rig="flame", background="black", licensed=licensed), 64)
    assert ("DECA's codes are of FLAME 2020" in caplog.text) == is_warned
