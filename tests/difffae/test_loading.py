"""Loading a model's folder: what is there, what is wrong, and what the ledger says."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from difffae import loading
from difffae.checkpoint import LEDGER_NAME, WeightsError, sha256
from difffae.controls import Controls
from difffae.loading import load_pipeline
from face_media import read_picture
from random_model import write_random_model

FILES = (
    "decoder",
    "denoiser",
    "encoder",
    "head_model",
    "identity_encoder",
    "region_encoder",
)
_NEW_LOOPS = """
import sys
import numba.core.registry
import cv2, numpy as np
from difffae import Controls, load_pipeline

def loops():
    owners = [m for n, m in list(sys.modules.items()) if n.startswith("difffae.")]
    found = [(n, f) for m in owners for n, f in vars(m).items()]
    kind = numba.core.registry.CPUDispatcher
    return {(n, str(s)) for n, f in found if isinstance(f, kind) for s in f.signatures}

pipeline, controls = load_pipeline(sys.argv[1], runtime="eager"), Controls(light="driver")
picture = cv2.cvtColor(cv2.imread(sys.argv[2]), cv2.COLOR_BGR2RGB)
portraits = [cv2.resize(picture, (size, size)) for size in (256, 300, 800)]
sources = [pipeline.encode_source(portrait) for portrait in portraits]
before = loops()
assert before
for portrait, source in zip(portraits, sources):
    state = pipeline.open_stream(source, controls)
    _, state = pipeline.reenact(portrait, source, state, controls)
    moved = np.roll(portrait, 5, 1)
    pipeline.reenact(moved, source, state, controls)
print(sorted(loops() - before))
"""


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with nothing missing."""
    return write_random_model(tmp_path_factory.mktemp("complete"))


@pytest.fixture
def folder(complete: Path, tmp_path: Path) -> Path:
    """A copy of the complete folder, to be damaged."""
    return Path(shutil.copytree(complete, tmp_path / "mine"))


@pytest.fixture
def bundled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as a bundled model called mine, with its ledger."""
    monkeypatch.setattr(loading, "BUNDLED", folder.parent)
    rows = [
        f"| mine/{name}.safetensors | {sha256(folder / f'{name}.safetensors')} | "
        f"{(folder / f'{name}.safetensors').stat().st_size} | MIT | noise | none | none |"
        for name in FILES
    ]
    header = "| file | sha256 | bytes | licence | trained on | command | figures |"
    lines = [header, "| --- " * 7 + "|", *rows]
    (folder.parent / LEDGER_NAME).write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def test_a_folder_becomes_a_pipeline_that_finds_faces(complete: Path, portrait: Path) -> None:
    pipeline = load_pipeline(complete, runtime="eager")
    image = read_picture(portrait, 300)
    source = pipeline.encode_source(image)
    state = pipeline.open_stream(source, Controls())
    output, _ = pipeline.reenact(image, source, state, Controls())
    assert output.is_tracked
    assert output.image.shape == image.shape
    assert np.abs(output.image.astype(int) - image).mean() > 0.5


def test_frames_ask_for_no_loop_that_loading_did_not(complete: Path, portrait: Path) -> None:
    """Two painters that ask numba for a loop the first time at once have failed."""
    command = [sys.executable, "-c", _NEW_LOOPS, str(complete), str(portrait)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_loading_imports_nothing_that_only_training_and_metrics_need() -> None:
    """SciPy's optimizers alone once delayed every start by half a second."""
    told = "import sys, difffae.loading; print(*sys.modules)"
    command = [sys.executable, "-c", told]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    unwanted = ("scipy.optimize", "scipy.spatial", "skimage", "matplotlib.pyplot", "torchvision")
    assert not set(unwanted) & set(done.stdout.split())


def test_a_model_that_is_neither_bundled_nor_a_folder_is_refused(bundled: Path) -> None:
    with pytest.raises(WeightsError, match=r"no model yours: .* bundled models: mine$"):
        load_pipeline("yours")


def test_a_folder_without_a_configuration_is_refused(folder: Path) -> None:
    (folder / "config.yaml").unlink()
    with pytest.raises(WeightsError, match=r"config\.yaml"):
        load_pipeline(folder, runtime="eager")


def test_a_configuration_whose_parts_do_not_fit_is_refused(folder: Path) -> None:
    text = (folder / "config.yaml").read_text("utf-8")
    assert "latent_size: 32" in text
    wrong = text.replace("latent_size: 32", "latent_size: 16")
    (folder / "config.yaml").write_text(wrong, "utf-8")
    with pytest.raises(WeightsError, match="latent_size is 16; the other parts need 32"):
        load_pipeline(folder, runtime="eager")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / f"{name}.safetensors").unlink()
    with pytest.raises(WeightsError, match=rf"no weights at .*{name}\.safetensors"):
        load_pipeline(folder, runtime="eager")


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    shutil.copyfile(folder / "encoder.safetensors", folder / "decoder.safetensors")
    with pytest.raises(WeightsError, match="does not fit Decoder"):
        load_pipeline(folder, runtime="eager")


@pytest.mark.parametrize(
    ("name", "what"), [("mouth_interior", "mouths"), ("teeth_relief", "teeth")]
)
def test_what_another_version_learned_of_mouths_is_refused(
    folder: Path, name: str, what: str
) -> None:
    path = folder / "head_model.safetensors"
    tensors = load_file(path)
    tensors[name] = tensors[name][:, :3].copy()
    save_file(tensors, path)
    with pytest.raises(WeightsError, match=rf"the {what} of .*head_model.* learn them anew"):
        load_pipeline(folder, runtime="eager")


@pytest.mark.parametrize("name", ["encoder", "head_model"])
def test_a_bundled_file_that_the_ledger_does_not_know_is_refused(bundled: Path, name: str) -> None:
    path = bundled / f"{name}.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="is not the file the ledger describes"):
        load_pipeline("mine", runtime="eager")


def test_a_users_own_folder_needs_no_ledger(folder: Path) -> None:
    path = folder / "encoder.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert load_pipeline(folder, runtime="eager").config.image_size == 256
