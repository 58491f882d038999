"""A model with dense motion: its network is loaded with it, and its frames are moved by it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from difffae.arrays import ImageU8
from difffae.checkpoint import WeightsError, save_tensors
from difffae.config import read_model_config
from difffae.controls import Controls
from difffae.face.dense_motion import DenseMotionConfig, DenseMotionNetwork
from difffae.loading import load_dense_motion, load_pipeline
from difffae.pipeline import Pipeline


@pytest.fixture
def folder(moving_folder: Path, tmp_path: Path) -> Path:
    """A copy of a model's folder with dense motion, to be damaged."""
    return Path(shutil.copytree(moving_folder, tmp_path / "mine"))


def composites(
    pipeline: Pipeline, portrait: ImageU8, driver: list[ImageU8]
) -> list[tuple[ImageU8, ImageU8 | None]]:
    """Each frame's composite, and the one that no network has touched."""
    controls = Controls(motion="absolute", smoothing=0)
    source = pipeline.encode_source(portrait)
    state, shown = pipeline.open_stream(source, controls), []
    for frame in driver:
        condition, state = pipeline.condition(frame, source, state, controls)
        floor = pipeline.floor(source, state, controls)
        shown.append((condition.composite, None if floor is None else floor.composite))
    return shown


def test_frames_are_moved_by_the_network_of_the_folder(
    folder: Path, model_folder: Path, portrait_image: ImageU8
) -> None:
    turned = np.ascontiguousarray(portrait_image[:, ::-1])
    moving, plain = (load_pipeline(path, runtime="eager") for path in (folder, model_folder))
    moved, floor = composites(moving, portrait_image, [turned])[0]
    without, none = composites(plain, portrait_image, [turned])[0]
    assert none is None
    assert floor is not None
    np.testing.assert_array_equal(floor, without)
    assert np.abs(moved.astype(int) - without).mean() > 0.3


def test_the_compiled_network_moves_as_the_eager_one(folder: Path, portrait_image: ImageU8) -> None:
    turned = np.ascontiguousarray(portrait_image[:, ::-1])
    shown = [
        composites(load_pipeline(folder, runtime=name, precision="fp32"), portrait_image, [turned])[
            0
        ][0].astype(int)
        for name in ("eager", "openvino")
    ]
    assert np.abs(shown[0] - shown[1]).mean() < 0.1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, r"no weights at .*dense_motion\.safetensors"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), r"dense_motion\.safetensors"),
    ],
    ids=["missing", "cut short"],
)
def test_a_file_that_is_missing_or_damaged_is_named(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder / "dense_motion.safetensors")
    with pytest.raises(WeightsError, match=message):
        load_pipeline(folder, runtime="eager")


def test_weights_of_other_sizes_are_refused(folder: Path) -> None:
    other = DenseMotionNetwork(DenseMotionConfig(channels=16))
    save_tensors(folder / "dense_motion.safetensors", other.state_dict(), {})
    with pytest.raises(WeightsError, match="does not fit DenseMotionNetwork"):
        load_pipeline(folder, runtime="eager")


def test_pairs_of_a_model_with_dense_motion_need_its_file(folder: Path) -> None:
    config = read_model_config(folder / "config.yaml")
    with pytest.raises(WeightsError, match=r"name its dense_motion\.safetensors"):
        load_dense_motion(config.face, 256, None)
