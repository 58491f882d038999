"""Tar shards: ours read by the package webdataset, webdataset's read by ours."""

import gc
import io
import json
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from difffae.data import pack as module
from difffae.data.pack import pack
from difffae.data.shards import ShardContents, ShardReader, encode_jpeg, write_shard
from difffae.data.tar_shards import index_path

webdataset = pytest.importorskip("webdataset", reason="webdataset is in the extra train")
SIZES = {"a": 3, "b": 5, "c": 2, "d": 4}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four small clips of noise, in the form of prepared frames."""
    random = np.random.default_rng(0)
    for name, count in SIZES.items():
        images = random.integers(0, 256, (count, 24, 32, 3)).astype(np.uint8)
        contents = ShardContents(
            pictures={
                "image": [encode_jpeg(image) for image in images],
                "person_mask": [encode_jpeg(image[:8]) for image in images],
            },
            arrays={
                "points": random.standard_normal((count, 5, 3)).astype(np.float32),
                "frame": np.arange(count, dtype=np.int32),
            },
            labels={"person": [f"person {name}"] * count, "clip": [f"{name}#1.mp4"] * count},
        )
        write_shard(tmp_path / "in" / f"frames-{name}.safetensors", contents)
    return tmp_path / "in"


def assert_same(one: ShardReader, other: ShardReader) -> None:
    assert len(one) == len(other)
    for name in ("person", "clip"):
        assert one.labels(name) == other.labels(name)
    for name in ("points", "frame"):
        assert np.array_equal(one.column(name), other.column(name))
        assert one.row(name, 4).dtype == other.row(name, 4).dtype
    for index in range(len(one)):
        assert one.sample(index).pictures == other.sample(index).pictures
        for name in ("image", "person_mask"):
            assert np.array_equal(one.picture(name, index), other.picture(name, index))


def test_a_packed_folder_reads_as_the_folder_it_was_made_from(folder: Path, tmp_path: Path) -> None:
    assert pack(folder, tmp_path / "out", "frames", 6) == 2
    reader = ShardReader(tmp_path / "out", "frames")
    assert reader.shard_sizes == [8, 6]  # clips stay whole
    assert_same(reader, ShardReader(folder, "frames"))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"frames-00000{k}.{kind}" for k in (0, 1) for kind in ("index", "tar")]


@pytest.mark.parametrize("trouble", ["gone", "of another tar"])
def test_without_its_index_a_tar_is_looked_through(
    folder: Path, tmp_path: Path, trouble: str
) -> None:
    pack(folder, tmp_path / "out", "frames", 6)
    index = index_path(tmp_path / "out" / "frames-000000.tar")
    if trouble == "gone":
        index.unlink()
    else:
        index.write_bytes(index_path(tmp_path / "out" / "frames-000001.tar").read_bytes())
    assert_same(ShardReader(tmp_path / "out", "frames"), ShardReader(folder, "frames"))


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset's own
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_our_tar(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "out", "frames", 6)
    reader = ShardReader(folder, "frames")
    urls = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    gc.collect()
    assert len(samples) == len(reader)
    for index, sample in enumerate(samples):
        # Two decoders of JPEG round differently.
        difference = sample["image.jpg"].astype(int) - reader.picture("image", index)
        assert np.abs(difference).mean() < 2
        assert np.array_equal(sample["points.npy"], reader.row("points", index))
        assert sample["frame.npy"] == reader.row("frame", index)
        assert sample["labels.json"]["person"] == reader.labels("person")[index]


def test_a_tar_by_webdataset_reads_as_ours(folder: Path, tmp_path: Path) -> None:
    reader = ShardReader(folder, "frames")
    labels = {name: reader.labels(name) for name in reader.label_names}
    (tmp_path / "out").mkdir()
    with webdataset.TarWriter(str(tmp_path / "out" / "frames-0.tar")) as writer:
        for index in range(len(reader)):
            stored = reader.sample(index)
            writer.write(
                {
                    "__key__": f"sample{index:04d}",
                    **{f"{name}.jpg": blob for name, blob in stored.pictures.items()},
                    **{f"{name}.npy": array for name, array in stored.arrays.items()},
                    "labels.json": {name: values[index] for name, values in labels.items()},
                }
            )
    assert_same(ShardReader(tmp_path / "out", "frames"), reader)


def test_packing_goes_on_where_it_stopped_and_gives_the_same_bytes(
    folder: Path, tmp_path: Path
) -> None:
    pack(folder, tmp_path / "out", "frames", 6)
    first, second = sorted((tmp_path / "out").glob("*.tar"))
    content, kept = second.read_bytes(), first.stat().st_mtime_ns
    second.unlink()
    index_path(second).unlink()
    assert pack(folder, tmp_path / "out", "frames", 6) == 2
    assert second.read_bytes() == content
    assert first.stat().st_mtime_ns == kept


def test_a_kill_between_index_and_tar_leaves_no_tar(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "scan_tar", killed)
        with pytest.raises(KeyboardInterrupt):
            pack(folder, tmp_path / "out", "frames", 6)
    assert list((tmp_path / "out").iterdir()) == []


def test_damaged_and_mixed_tars_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "out", "frames", 6)
    tar = tmp_path / "out" / "frames-000000.tar"
    whole = tar.read_bytes()
    for content in (whole[:3000], b"", b"no tar" * 300):
        tar.write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged shard .*frames-000000\.tar"):
            ShardReader(tmp_path / "out", "frames")
    with tarfile.open(tar, "w") as archive:
        for name in ("0.image.jpg", "1.mask.jpg"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(ValueError, match="2 different sets of members"):
        ShardReader(tmp_path / "out", "frames")


def test_two_kinds_of_shards_in_one_folder_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="give another one for the tar files"):
        pack(folder, folder, "frames", 6)
    pack(folder, folder / "packed", "frames", 6)
    (folder / "packed" / "frames-000000.tar").rename(folder / "frames-000000.tar")
    with pytest.raises(ValueError, match=r"both frames-\*\.safetensors and frames-\*\.tar"):
        ShardReader(folder, "frames")


def test_the_command_packs_pairs_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = encode_jpeg(np.full((8, 8, 3), 99, np.uint8))
    contents = ShardContents(
        pictures={"source": [image] * 3}, arrays={"source_five": np.zeros((3, 5, 2))}, labels={}
    )
    write_shard(tmp_path / "in" / "pairs-0000.safetensors", contents)
    arguments = [str(tmp_path / "in"), str(tmp_path / "out"), "--prefix", "pairs"]
    monkeypatch.setattr(sys, "argv", ["pack", *arguments])
    module.main()
    reader = ShardReader(tmp_path / "out", "pairs")
    assert len(reader) == 3
    assert reader.row("source_five", 1).shape == (5, 2)
    assert cv2.absdiff(reader.picture("source", 2), np.full((8, 8, 3), 99, np.uint8)).max() <= 1
    monkeypatch.setattr(sys, "argv", ["pack", str(tmp_path), str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        module.main()


def test_labels_keep_letters_beyond_ascii(folder: Path, tmp_path: Path) -> None:
    contents = ShardContents(
        pictures={}, arrays={"x": np.zeros(1)}, labels={"person": ["Zoë #1"], "clip": ["ü.mp4"]}
    )
    write_shard(tmp_path / "one" / "frames-a.safetensors", contents)
    pack(tmp_path / "one", tmp_path / "out", "frames", 6)
    assert ShardReader(tmp_path / "out", "frames").labels("person") == ["Zoë #1"]
    assert json.loads(json.dumps("Zoë #1")) == "Zoë #1"
