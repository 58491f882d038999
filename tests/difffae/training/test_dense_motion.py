"""The stage that learns dense motion: what it compares is what the renderer will compose."""

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from difffae.data.motions import SIDE, motion_sample
from difffae.data.pairs import PairMaker, PairsConfig, Picture
from difffae.data.shards import ShardReader
from difffae.face.config import FaceConfig
from difffae.face.dense_motion import DenseMotion, DenseMotionNetwork
from difffae.face.facemesh import FaceMeshModel
from difffae.face.facemesh_rig import FaceMeshRig
from difffae.face.layers import SMALL
from difffae.face.plate import smooth_plate
from difffae.face.source_face import build_source_face
from difffae.training.config import read_config
from difffae.training.dense_motion import DenseMotionStage, mirrored, moved

SIZE = 256


class Run(Protocol):
    """What the fixture of the tiny run says of it."""

    config: Path
    frames: Path
    folder: Path


@pytest.fixture(scope="module")
def stage(tiny_run: Run) -> DenseMotionStage:
    return DenseMotionStage(read_config(tiny_run.config), tiny_run.folder)


def drawn(stage: DenseMotionStage, count: int) -> dict[str, Tensor]:
    batch = stage.batch(np.arange(count), np.random.default_rng(0))
    return batch


def nothing(count: int) -> Tensor:
    said = torch.zeros(count, 6, SMALL, SMALL)
    said[:, 5] = 1
    return said


def psnr(first: Tensor, second: Tensor) -> float:
    return float(-10 * torch.log10((first - second).square().mean()))


def test_uncorrected_pictures_are_the_composites(stage: DenseMotionStage) -> None:
    batch = drawn(stage, 8)
    assert psnr(moved(batch, nothing(8), SIZE), batch["composite"]) > 30


def test_corrected_pictures_are_what_the_renderer_composes(
    tiny_run: Run, head_model: FaceMeshModel, stage: DenseMotionStage
) -> None:
    said = nothing(1)
    said[:, 0], said[:, 1], said[:, 3], said[:, 4] = 9.0, -6.0, 4.0, -0.2
    reader = ShardReader(tiny_run.frames, "frames")
    rig = FaceMeshRig(head_model, FaceConfig(), SIZE)
    maker = PairMaker(reader, rig, PairsConfig())
    source, target = maker.clip_pictures(np.random.default_rng(2))
    corrects = FaceMeshRig(head_model, FaceConfig(), SIZE, DenseMotion(lambda *_: said))
    face = build_source_face(
        source.image, source.points, source.person, head_model, paint_out=smooth_plate
    )
    shown = rig.read(target.sighting, face.fitted.parameters)
    composite = corrects.condition(face, shown, face.appearance.lighting).composite
    expected = cv2.resize(composite, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    batch = batch_of(source, target, rig)
    picture = torch.from_numpy(expected).permute(2, 0, 1)[None] / 255
    assert psnr(moved(batch, said, SIZE), picture) > 30
    assert psnr(moved(batch, nothing(1), SIZE), picture) < 27


def batch_of(source: Picture, target: Picture, rig: FaceMeshRig) -> dict[str, Tensor]:
    """One sample as the stage reads it from a shard."""
    pictures, arrays = motion_sample(source, target, rig)
    decoded = {
        name: cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] / 255
        for name, blob in pictures.items()
    }
    planes = {**decoded, **{name: arrays[name] for name in ("offsets", "face_map")}}
    return {
        name: torch.from_numpy(values.astype(np.float32).transpose(2, 0, 1))[None]
        for name, values in planes.items()
    }


def test_a_mirrored_batch_is_moved_to_mirrored_pictures(stage: DenseMotionStage) -> None:
    batch = drawn(stage, 4)
    other = mirrored(batch, SIZE)
    torch.testing.assert_close(
        moved(other, nothing(4), SIZE).flip(-1), moved(batch, nothing(4), SIZE), atol=0.02, rtol=0
    )
    for name, tensor in mirrored(other, SIZE).items():
        torch.testing.assert_close(tensor, batch[name], atol=1e-3, rtol=1e-4, msg=name)


def test_a_mirrored_pose_is_a_turn_to_the_other_side(stage: DenseMotionStage) -> None:
    batch = drawn(stage, 4)
    before, after = batch["poses"], mirrored(batch, SIZE)["poses"]
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    turns = before[..., :9].reshape(4, 2, 3, 3)
    torch.testing.assert_close(after[..., :9].reshape(4, 2, 3, 3), flip @ turns @ flip)
    torch.testing.assert_close(after[..., 10], SIZE - before[..., 10])


def test_it_learns_to_move_pictures(tiny_run: Run) -> None:
    torch.manual_seed(0)
    stage = DenseMotionStage(read_config(tiny_run.config), tiny_run.folder)
    batch = drawn(stage, 8)
    optimizer = torch.optim.Adam(stage.dense_motion.parameters(), 3e-3)
    losses = []
    for step in range(40):
        loss, shown = stage.loss(batch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.85 * losses[0]
    assert {"l1", "slopes", "psnr"} <= set(shown)


def test_it_goes_on_from_given_weights(tiny_run: Run, tmp_path: Path) -> None:
    config = read_config(tiny_run.config)
    sizes = config.model.face.dense_motion
    assert sizes is not None
    known = DenseMotionNetwork(sizes).state_dict()
    save_file(known, tmp_path / "known.safetensors")
    training = replace(config.training, dense_motion_weights=tmp_path / "known.safetensors")
    stage = DenseMotionStage(replace(config, training=training), tiny_run.folder)
    given = stage.dense_motion.state_dict()
    assert all(torch.equal(given[name], known[name]) for name in known)


def test_its_sheet_shows_five_columns(stage: DenseMotionStage) -> None:
    grid = stage.sample_grid()
    assert grid.shape[1] == 5 * SIDE
    assert grid.shape[0] % SIDE == 0


def test_motion_shards_must_be_there(tiny_run: Run, tmp_path: Path) -> None:
    config = read_config(tiny_run.config)
    missing = replace(config, training=replace(config.training, motions=tmp_path))
    with pytest.raises(ValueError, match="no motions-"):
        DenseMotionStage(missing, tiny_run.folder)
