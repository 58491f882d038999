"""Frame shards to training pairs."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.config import read_model_config
from difffae.data import pairs as module
from difffae.data.pairs import Pair, PairMaker, PairsConfig
from difffae.data.shards import ShardReader, encode_jpeg
from difffae.face.identity import five_points
from difffae.face.mediapipe import MediaPipeTracker
from difffae.face.rig import Rig
from difffae.loading import load_dense_motion, load_rig

PLAIN = PairsConfig(max_zoom=1.0, colour_jitter=0.0)


class Run(Protocol):
    """What the fixture of the tiny run says of it."""

    config: Path
    frames: Path
    pairs: Path
    folder: Path


@pytest.fixture(scope="session")
def rig(tiny_run: Run) -> Rig:
    """The rig that the tiny run's pairs were made with."""
    head_model, dense_motion = (
        tiny_run.folder / name / f"{name}.safetensors" for name in ("head_model", "dense_motion")
    )
    face = read_model_config(tiny_run.config).face
    motion = load_dense_motion(face, 256, dense_motion)
    return load_rig(face, 256, head_model, dense_motion=motion)


def maker(run: Run, rig: Rig, config: PairsConfig) -> PairMaker:
    return PairMaker(ShardReader(run.frames, "frames"), rig, config)


def after_jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    decoded = cv2.imdecode(np.frombuffer(encode_jpeg(image), np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(decoded[..., ::-1])


def pictures_of(pair: Pair) -> dict[str, NDArray[np.uint8]]:
    condition = pair.condition
    masks = [condition.face_mask, condition.inside_mask, condition.person_mask]
    return {
        "source": pair.source,
        "target": pair.target,
        "composite": condition.composite,
        "masks": np.rint(255 * np.stack(masks, -1)).astype(np.uint8),
    }


@pytest.mark.parametrize("index", [0, 5, 11])
def test_seed_and_index_alone_fix_a_pair(tiny_run: Run, rig: Rig, index: int) -> None:
    stored = ShardReader(tiny_run.pairs, "pairs")
    pair = maker(tiny_run, rig, PairsConfig(num_pairs=16)).make(index)
    for name, picture in pictures_of(pair).items():
        assert np.array_equal(stored.picture(name, index), after_jpeg(picture)), name
    for name in ("source_five", "target_five"):
        assert np.array_equal(stored.row(name, index), getattr(pair, name))


def test_another_seed_gives_other_pairs(tiny_run: Run, rig: Rig) -> None:
    one, other = (maker(tiny_run, rig, PairsConfig(seed=seed)).make(3).target for seed in (0, 1))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("still_share", [0.0, 1.0])
def test_the_target_is_an_untouched_photograph(tiny_run: Run, rig: Rig, still_share: float) -> None:
    reader = ShardReader(tiny_run.frames, "frames")
    is_still = [person != "man" for person in reader.labels("person")]
    rows = [row for row, still in enumerate(is_still) if still == (still_share == 1)]
    photographs = [reader.picture("image", row) for row in rows]
    known = {view.tobytes() for image in photographs for view in (image, image[:, ::-1])}
    made = maker(tiny_run, rig, replace(PLAIN, still_share=still_share))
    for index in range(4):
        pair = made.make(index)
        assert pair.target.tobytes() in known
        assert (pair.source.tobytes() in known) == (still_share == 0)
        assert not np.array_equal(pair.source, pair.target)


def test_mirroring_a_pair_turns_pictures_masks_and_points_alike(tiny_run: Run, rig: Rig) -> None:
    pair = maker(tiny_run, rig, PLAIN).make(2)
    mirrored = module._mirrored(pair)
    for name, picture in pictures_of(mirrored).items():
        assert np.array_equal(picture, pictures_of(pair)[name][:, ::-1]), name
    for name in ("source_five", "target_five"):
        five, turned = getattr(pair, name), getattr(mirrored, name)
        assert five[0, 0] < five[1, 0]
        assert turned[0, 0] < turned[1, 0]
        assert turned[0].tolist() == pytest.approx([256 - five[1, 0], five[1, 1]])
        assert turned[2].tolist() == pytest.approx([256 - five[2, 0], five[2, 1]])
        assert turned[3].tolist() == pytest.approx([256 - five[4, 0], five[4, 1]])
    again = module._mirrored(mirrored)
    assert np.array_equal(again.target, pair.target)
    np.testing.assert_allclose(again.target_five, pair.target_five, atol=1e-4)


def test_points_and_masks_lie_on_the_face_of_their_picture(tiny_run: Run, rig: Rig) -> None:
    """Some of the first pairs are mirrored and zoomed, some come from stills, some from clips."""
    tracker, made = MediaPipeTracker(), maker(tiny_run, rig, PairsConfig())
    for index in range(6):
        pair = made.make(index)
        for image, five in ((pair.source, pair.source_five), (pair.target, pair.target_five)):
            face = tracker.find_faces(image)
            assert len(face) == 1
            assert np.abs(five_points(face[0]) - five).max() < 12
        x, y = np.rint(pair.target_five[2]).astype(int)
        condition = pair.condition
        assert condition.face_mask[y, x] > 0.99
        assert condition.person_mask[y, x] > 0.9
        assert condition.inside_mask[y, x] == 0
        inside = condition.inside_mask > 0
        assert 0 < inside.mean() < 0.1
        assert condition.face_mask[inside].mean() > 0.9


def test_the_composite_is_nearer_to_the_target_than_the_source_is(tiny_run: Run, rig: Rig) -> None:
    made = maker(tiny_run, rig, replace(PLAIN, still_share=0.0))
    errors = []
    for index in range(8):
        pair = made.make(index)
        face = pair.condition.face_mask > 0.5
        errors.append(
            [
                np.abs(image[face].astype(float) - pair.target[face]).mean()
                for image in (pair.source, pair.condition.composite)
            ]
        )
    unmoved, moved = np.mean(errors, 0)
    assert moved < 0.8 * unmoved


def test_frame_shards_without_a_clip_are_refused(tiny_run: Run, rig: Rig, tmp_path: Path) -> None:
    for path in tiny_run.frames.glob("frames-stills-*"):
        shutil.copyfile(path, tmp_path / path.name)
    with pytest.raises(ValueError, match="hold no clip"):
        PairMaker(ShardReader(tmp_path, "frames"), rig, PairsConfig())


def test_workers_share_the_shards_and_make_the_same_pairs(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(ShardReader(tiny_run.pairs, "pairs")) == 16
    monkeypatch.setattr(module, "PAIRS_PER_SHARD", 8)
    files = [
        *("--head-model", str(tiny_run.folder / "head_model" / "head_model.safetensors")),
        *("--dense-motion", str(tiny_run.folder / "dense_motion" / "dense_motion.safetensors")),
    ]
    arguments = ["--config", str(tiny_run.config), "--num-pairs", "16", "--worker", "1/2"]
    argv = ["pairs", str(tiny_run.frames), str(tmp_path), *files, *arguments]
    monkeypatch.setattr(sys, "argv", argv)
    module.main()
    assert [path.name for path in tmp_path.iterdir()] == ["pairs-0001.safetensors"]
    written, wanted = ShardReader(tmp_path, "pairs"), ShardReader(tiny_run.pairs, "pairs")
    assert len(written) == 8
    for row in range(8):
        for name in ("source", "composite"):
            assert np.array_equal(written.picture(name, row), wanted.picture(name, 8 + row))
    before = next(tmp_path.iterdir()).stat().st_mtime_ns
    module.main()
    assert next(tmp_path.iterdir()).stat().st_mtime_ns == before
