"""Sources from the disk: as good as encoded, encoded anew wherever there is a doubt."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from difffae import source_cache
from difffae.arrays import ImageU8
from difffae.controls import Controls
from difffae.face.tracker import FaceNotFoundError
from difffae.pipeline import Pipeline, Source
from difffae.runtime import cache as runtime_cache
from difffae.source_cache import SourceCache
from difffae.source_file import read_source, write_source
from scripted_pipeline import assert_same, driver_frame, reenacted


class Counting:
    """A pipeline that counts the portraits it encodes."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.config = pipeline.config
        self.num_encoded = 0

    def encode_source(self, image: ImageU8, *, face: int | None = None) -> Source:
        self.num_encoded += 1
        return self.pipeline.encode_source(image, face=face)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sources are kept, in this test."""
    monkeypatch.setenv("DIFFFAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sources"


@pytest.fixture
def counting(pipeline: Pipeline) -> Counting:
    return Counting(pipeline)


Started = Callable[..., SourceCache]


@pytest.fixture
def started(folder: Path, counting: Counting, model_folder: Path) -> Started:
    """Starts a new run, which knows nothing of earlier ones but what the disk holds."""

    def start(runtime: str = "eager") -> SourceCache:
        return SourceCache(
            counting,  # type: ignore[arg-type]
            model_folder,
            device="cpu",
            settings=(runtime,),
        )

    return start


def only_entry(folder: Path) -> Path:
    (entry,) = folder.iterdir()
    return entry


def test_a_second_run_finds_the_same_source_and_paints_the_same(
    started: Started, counting: Counting, pipeline: Pipeline, portrait_image: ImageU8
) -> None:
    expected = pipeline.encode_source(portrait_image)
    first = started().encode_source(portrait_image)
    second = started().encode_source(portrait_image)
    assert counting.num_encoded == 1
    assert_same(first, expected)
    assert_same(second, expected)
    (one,), _ = reenacted(pipeline, expected, [driver_frame(1)], Controls())
    (other,), _ = reenacted(pipeline, second, [driver_frame(1)], Controls())
    np.testing.assert_array_equal(one.image, other.image)


def test_another_portrait_face_or_setting_is_another_source(
    started: Started, counting: Counting, portrait_image: ImageU8
) -> None:
    started().encode_source(portrait_image)
    changed = portrait_image.copy()
    changed[0, 0] += 1
    started().encode_source(changed)
    started().encode_source(portrait_image, face=1)
    started("openvino").encode_source(portrait_image)
    assert counting.num_encoded == 4


def test_other_weights_make_another_source(
    started: Started, counting: Counting, portrait_image: ImageU8, tmp_path: Path
) -> None:
    started().encode_source(portrait_image)
    (tmp_path / "config.yaml").write_text("model: {}\n", "utf-8")
    other = SourceCache(counting, tmp_path, device="cpu", settings=("eager",))  # type: ignore[arg-type]
    other.encode_source(portrait_image)
    assert counting.num_encoded == 2


@pytest.mark.parametrize("name", ["arrays.safetensors", "numbers.json"])
def test_a_damaged_entry_is_made_anew_and_said(
    started: Started,
    counting: Counting,
    folder: Path,
    portrait_image: ImageU8,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = started().encode_source(portrait_image)
    file = only_entry(folder) / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = started().encode_source(portrait_image)
    assert counting.num_encoded == 2
    assert_same(again, expected)
    assert f"has a damaged file: {name}" in caplog.text


def test_an_entry_that_others_can_write_is_not_believed(
    started: Started, counting: Counting, folder: Path, portrait_image: ImageU8
) -> None:
    started().encode_source(portrait_image)
    os.chmod(only_entry(folder), 0o777)
    started().encode_source(portrait_image)
    assert counting.num_encoded == 2


def test_another_portraits_entry_under_this_name_is_not_believed(
    started: Started, counting: Counting, folder: Path, portrait_image: ImageU8
) -> None:
    started().encode_source(portrait_image)
    entry = only_entry(folder)
    changed = portrait_image.copy()
    changed[0, 0] += 1
    expected = started().encode_source(changed)
    (other,) = set(folder.iterdir()) - {entry}
    for file in other.iterdir():
        file.unlink()
    for file in entry.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
        (other / file.name).chmod(0o600)
    assert_same(started().encode_source(changed), expected)
    assert counting.num_encoded == 3


def test_nothing_is_left_of_a_portrait_without_a_face(
    started: Started, folder: Path, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(image: ImageU8, *, face: int | None = None) -> Source:
        raise FaceNotFoundError("no face found")

    monkeypatch.setattr(counting, "encode_source", refuse)
    with pytest.raises(FaceNotFoundError):
        started().encode_source(np.zeros((300, 300, 3), np.uint8))
    assert list(folder.iterdir()) == []


def test_the_oldest_sources_go_past_the_limit(
    started: Started, folder: Path, portrait_image: ImageU8, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_cache, "_MAX_ENTRIES", 2)
    cache = started()
    for shade in range(4):
        changed = portrait_image.copy()
        changed[0, 0] = shade
        cache.encode_source(changed)
    assert len(list(folder.iterdir())) == 2


def test_entries_hold_no_pickle_and_are_their_owners_alone(
    started: Started, folder: Path, portrait_image: ImageU8
) -> None:
    started().encode_source(portrait_image)
    files = sorted(only_entry(folder).iterdir())
    assert [file.name for file in files] == ["arrays.safetensors", "manifest.json", "numbers.json"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_model_of_licensed_files_always_encodes(
    started: Started,
    counting: Counting,
    folder: Path,
    portrait_image: ImageU8,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source_cache, "_is_self_contained", lambda config: False)
    started().encode_source(portrait_image)
    started().encode_source(portrait_image)
    assert counting.num_encoded == 2
    assert not folder.exists()


def test_a_folder_without_a_source_is_refused(
    source: Source, portrait_image: ImageU8, tmp_path: Path
) -> None:
    device = source.tokens.slots.device
    with pytest.raises(ValueError, match=r"arrays\.safetensors"):
        read_source(tmp_path, portrait_image, source.digest, device)
    write_source(tmp_path, source)
    (tmp_path / "numbers.json").write_text("{}", "utf-8")
    with pytest.raises(ValueError, match="encode the portrait again"):
        read_source(tmp_path, portrait_image, source.digest, device)
