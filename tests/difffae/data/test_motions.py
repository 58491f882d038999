"""Motion samples: two frames of one clip and how the renderer moves the first to the second."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from difffae.data import motions
from difffae.data.motions import SIDE
from difffae.data.shards import ShardReader
from difffae.face.layers import SMALL


class Run(Protocol):
    """What the fixture of the tiny run says of it."""

    config: Path
    frames: Path
    motions: Path
    folder: Path


def head_model_of(run: Run) -> str:
    return str(run.folder / "head_model" / "head_model.safetensors")


def test_a_sample_has_pictures_and_where_they_were_read(tiny_run: Run) -> None:
    reader = ShardReader(tiny_run.motions, "motions")
    assert len(reader) == 16
    for name in ("source", "target", "plate", "composite", "masks"):
        assert reader.picture(name, 3).shape == (SIDE, SIDE, 3)
    assert reader.row("seen", 3).shape == (SMALL, SMALL, 5)
    assert reader.row("offsets", 3).shape == (SMALL, SMALL, 2)
    assert reader.row("face_map", 3).shape == (SIDE, SIDE, 2)
    assert reader.row("poses", 3).shape == (2, 12)


def test_offsets_are_small_where_a_head_moves_little(tiny_run: Run) -> None:
    reader = ShardReader(tiny_run.motions, "motions")
    offsets = np.stack([reader.row("offsets", row) for row in range(len(reader))]).astype(float)
    assert 0.2 < np.abs(offsets).max() < 128
    face = reader.picture("masks", 0)[..., 1] > 250
    at = reader.row("face_map", 0)[face]
    assert at.min() >= -1
    assert at.max() <= 256


def test_the_same_seed_gives_the_same_samples_and_shards_are_kept(
    tiny_run: Run, tmp_path: Path, run_command: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(motions, "_PER_SHARD", 4)
    given = ("--head-model", head_model_of(tiny_run), "--config", str(tiny_run.config))
    for worker in ("1/2", "0/2"):
        run_command(
            motions.main,
            *(str(tiny_run.frames), str(tmp_path), *given, "--num-samples", "8"),
            *("--worker", worker),
        )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["motions-000000.safetensors", "motions-000004.safetensors"]
    ours, theirs = ShardReader(tmp_path, "motions"), ShardReader(tiny_run.motions, "motions")
    for row in range(8):
        np.testing.assert_array_equal(ours.row("offsets", row), theirs.row("offsets", row))
        np.testing.assert_array_equal(ours.picture("target", row), theirs.picture("target", row))
    kept = (tmp_path / names[0]).stat().st_mtime_ns
    run_command(motions.main, str(tiny_run.frames), str(tmp_path), *given, "--num-samples", "4")
    assert (tmp_path / names[0]).stat().st_mtime_ns == kept


def test_a_model_without_the_portrait_around_the_face_has_nothing_to_move(
    tiny_run: Run,
    tmp_path: Path,
    run_command: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    black = tmp_path / "config.yaml"
    black.write_text("model: {face: {background: black}}", "utf-8")
    arguments = ("--head-model", head_model_of(tiny_run), "--config", str(black))
    with pytest.raises(SystemExit):
        run_command(motions.main, str(tiny_run.frames), str(tmp_path), *arguments)
    assert "show no portrait around the face" in capsys.readouterr().err
    assert list(tmp_path.glob("*.safetensors")) == []
