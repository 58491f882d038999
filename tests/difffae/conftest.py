"""A tiny data set of real media, prepared once, and the command that trains on it."""

import io
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
import yaml
from filelock import FileLock
from numpy.typing import NDArray
from rich.console import Console

from difffae.arrays import ImageU8, Points3
from difffae.checkpoint import save_tensors
from difffae.config import ModelConfig, read_model_config
from difffae.data import motions, pairs, prepare
from difffae.face.dense_motion import DenseMotionConfig, DenseMotionNetwork
from difffae.face.facemesh import FaceMeshModel
from difffae.face.facemesh_rig import FaceMeshRig
from difffae.face.mediapipe import PersonSegmenter
from difffae.generator import Generator, Placement
from difffae.networks import load_networks
from difffae.pipeline import Pipeline, Source
from difffae.train import main
from difffae.training.config import Config
from difffae.training.request import Catalog
from difffae.training.stages import stage_recipes
from face_media import load_head_model, read_picture, shared_tracker
from random_model import write_random_model
from scripted_pipeline import (
    DRIVER_SIDE,
    HEIGHT,
    MARGIN,
    WIDTH,
    ScriptedTracker,
    moved,
    speaking,
)

NUM_PAIRS = 16
NUM_MOTIONS = 16
CLIPS = ("man#carphone#000000#000024.mp4", "man#carphone#000060#000084.mp4")
NUM_STILLS = 3
STILL_SIDE = 512


@dataclass(frozen=True, kw_only=True)
class TinyRun:
    """A configuration with its data, and a folder to train in."""

    config: Path
    frames: Path
    motions: Path
    pairs: Path
    folder: Path

    def train(self, stage: str, *arguments: str) -> tuple[int, str]:
        """Train a stage by the command; its exit status and what it said."""
        console = Console(file=io.StringIO(), width=200)
        place = ("--config", str(self.config), "--run-directory", str(self.folder))
        catalog = Catalog(schema=Config, recipes=stage_recipes())
        status = main([*place, "--stage", stage, *arguments], console, catalog)
        assert isinstance(console.file, io.StringIO)
        return status, console.file.getvalue()


def run_in(folder: Path, frames: Path) -> TinyRun:
    """A run that lies in a folder."""
    return TinyRun(
        config=folder / "run.yaml",
        frames=frames,
        motions=folder / "motions",
        pairs=folder / "pairs",
        folder=folder / "run",
    )


def run_module(module_main: Callable[[], None], *arguments: str) -> None:
    """Run a command's main with these arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["command", *arguments])
        module_main()


def read_video(path: Path, first: int, end: int) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return decoded[first:end]


def write_fomm_folder(folder: Path, frames: list[NDArray[np.uint8]]) -> None:
    """Frames as FOMM's preprocessing leaves them: a folder named like a video, of numbered PNGs."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number:07d}.png"), frame[..., ::-1])


def write_mp4(path: Path, frames: list[NDArray[np.uint8]]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture(scope="session")
def mp4_writer() -> Callable[[Path, list[NDArray[np.uint8]]], None]:
    """Writes frames as an mp4 file."""
    return write_mp4


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a folder by a function of it, once for all processes that share the tests."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, write: Callable[[Path], None]) -> Path:
        folder, finished = base / name, base / f"{name}.finished"
        with FileLock(base / f"{name}.lock"):
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                write(folder)
                finished.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def media(make_once: Callable[..., Path], carphone: Path, openpeople: list[Path]) -> Path:
    """Two clips of one man, a folder of PNGs and an mp4 file, and three stills."""
    return make_once("media", lambda folder: _write_media(folder, carphone, openpeople))


def _write_media(folder: Path, carphone: Path, openpeople: list[Path]) -> None:
    write_fomm_folder(folder / CLIPS[0], read_video(carphone, 0, 24))
    write_mp4(folder / CLIPS[1], read_video(carphone, 60, 84))
    for path in openpeople[:NUM_STILLS]:
        image = cv2.imread(str(path))
        small = cv2.resize(image, (STILL_SIDE, STILL_SIDE), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{path.parents[1].name}.jpg"), small)


@pytest.fixture(scope="session")
def frames(media: Path, make_once: Callable[..., Path]) -> Path:
    """Frame shards of the media, every fourth frame of a clip."""
    return make_once(
        "frames",
        lambda folder: run_module(prepare.main, str(media), str(folder), "--stride", "4"),
    )


@pytest.fixture(scope="session")
def run_command() -> Callable[..., None]:
    """Runs a command's main with arguments."""
    return run_module


@pytest.fixture(scope="session")
def make_run(frames: Path) -> Callable[[dict[str, Any], Path], TinyRun]:
    """Makes a run of a configuration's content in a folder, on the media."""

    def make(content: dict[str, Any], folder: Path) -> TinyRun:
        folders = {name: str(folder / name) for name in ("motions", "pairs")}
        content["training"].update(frames=str(frames), **folders)
        (folder / "run.yaml").write_text(yaml.safe_dump(content), "utf-8")
        return run_in(folder, frames)

    return make


@pytest.fixture(scope="session")
def tiny_run(
    frames: Path,
    repository: Path,
    make_once: Callable[..., Path],
    make_run: Callable[[dict[str, Any], Path], TinyRun],
) -> TinyRun:
    """`configs/tiny.yaml` on the media: head model and dense motion are learned, pairs are made."""
    content = yaml.safe_load((repository / "configs" / "tiny.yaml").read_text("utf-8"))
    return run_in(make_once("tiny", lambda folder: _prepare(make_run(content, folder))), frames)


def _prepare(run: TinyRun) -> None:
    status, said = run.train("head_model")
    assert status == 0, said
    head_model = run.folder / "head_model" / "head_model.safetensors"
    dense_motion = run.folder / "dense_motion" / "dense_motion.safetensors"
    config = ("--config", str(run.config), "--head-model", str(head_model))
    where = (str(run.frames), str(run.motions))
    run_module(motions.main, *where, *config, "--num-samples", str(NUM_MOTIONS))
    status, said = run.train("dense_motion", "--training.dense_motion.num_steps", "3")
    assert status == 0, said
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "PAIRS_PER_SHARD", NUM_PAIRS // 2)
        where = (str(run.frames), str(run.pairs))
        arguments = ("--dense-motion", str(dense_motion), "--num-pairs", str(NUM_PAIRS))
        run_module(pairs.main, *where, *config, *arguments)


@pytest.fixture(scope="session")
def head_model() -> FaceMeshModel:
    return load_head_model()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def moving_folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with dense motion of random weights."""
    folder = Path(shutil.copytree(model_folder, tmp_path_factory.mktemp("moving") / "model"))
    content = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    sizes = DenseMotionConfig(channels=8)
    content["model"]["face"] = {"dense_motion": {"channels": sizes.channels}}
    (folder / "config.yaml").write_text(yaml.safe_dump(content), "utf-8")
    torch.manual_seed(3)
    network = DenseMotionNetwork(sizes)
    torch.nn.init.normal_(network.out.weight, std=0.1)
    save_tensors(folder / "dense_motion.safetensors", network.state_dict(), {})
    return folder


@pytest.fixture(scope="session")
def config(model_folder: Path) -> ModelConfig:
    return read_model_config(model_folder / "config.yaml")


@pytest.fixture(scope="session")
def generator(model_folder: Path, config: ModelConfig) -> Generator:
    return Generator(
        config, load_networks(model_folder, config, {}), placement=Placement(runtime="eager")
    )


@pytest.fixture(scope="session")
def portrait_image(portrait: Path) -> ImageU8:
    """A portrait that is wider than high."""
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    image[:, MARGIN : MARGIN + HEIGHT] = read_picture(portrait, HEIGHT)
    return image


@pytest.fixture(scope="session")
def portrait_points(portrait_image: ImageU8) -> Points3:
    return shared_tracker().find_faces(portrait_image)[0]


@pytest.fixture(scope="session")
def script(portrait_points: Points3) -> dict[int, Points3 | None]:
    """Points of the driver's frames by number; frame 9 shows no face."""
    driver = ((portrait_points - [WIDTH / 2, HEIGHT / 2, 0]) * 0.5).astype(np.float32)
    driver += np.float32([DRIVER_SIDE / 2, DRIVER_SIDE / 2, 0])
    return {
        0: driver,
        1: moved(driver, shift=(6, -4)),
        2: moved(driver, turn=0.35),
        3: speaking(driver, 7),
        9: None,
    }


@pytest.fixture(scope="session")
def make(
    config: ModelConfig,
    head_model: FaceMeshModel,
    portrait_points: Points3,
    script: dict[int, Points3 | None],
) -> Callable[[Generator], Pipeline]:
    segmenter = PersonSegmenter()

    def build(generator: Generator) -> Pipeline:
        return Pipeline(
            config=config,
            rig=FaceMeshRig(head_model, config.face, config.image_size),
            generator=generator,
            tracker=ScriptedTracker(faces=[portrait_points], script=script),
            segmenter=segmenter,
        )

    return build


@pytest.fixture(scope="session")
def pipeline(make: Callable[[Generator], Pipeline], generator: Generator) -> Pipeline:
    return make(generator)


@pytest.fixture(scope="session")
def source(pipeline: Pipeline, portrait_image: ImageU8) -> Source:
    return pipeline.encode_source(portrait_image)
