"""Weight files: round trip, every refusal, atomic writing, and the ledger."""

import errno
import os
import pickle
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from difffae.checkpoint import (
    LedgerRow,
    WeightsError,
    find_sha256,
    load_metadata,
    load_module,
    load_tensors,
    parse_ledger,
    save_tensors,
    sha256,
)

ROW = (
    "| `net.safetensors` | " + "a" * 64 + " | 1,234 | MIT | clips (CC BY 4.0) | `a \\| b` | 20 dB |"
)
LEDGER = (
    "# Weights\n\nWords.\n\n"
    "| file | sha256 | bytes | licence | trained on | command | figures |\n"
    "|---|---|---|---|---|---|---|\n" + ROW + "\n\nMore words | with a bar\n"
)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.fixture
def weights(tmp_path: Path, network: nn.Module) -> Path:
    path = tmp_path / "net.safetensors"
    save_tensors(path, network.state_dict(), {"step": "12"})
    return path


@pytest.fixture
def small_files_only() -> Iterator[None]:
    """Let the system refuse to let any file grow beyond 64 KiB, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_tensors_and_metadata_come_back_as_saved(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    tensors = {"whole": base, "view": base.t(), "half": base.bfloat16(), "step": torch.tensor(7)}
    path = tmp_path / "state.safetensors"
    save_tensors(path, tensors, {"config": "{}"})
    loaded = load_tensors(path)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    assert load_metadata(path) == {"config": "{}"}
    assert _names(tmp_path) == ["state.safetensors"]


def test_module_is_filled_with_the_saved_weights(weights: Path, network: nn.Module) -> None:
    torch.manual_seed(1)
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    load_module(other, weights, expected_sha256=sha256(weights))
    for name, tensor in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


def test_half_precision_file_fills_a_full_precision_module(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_tensors(path, {"weight": torch.full((1, 2), 0.5).bfloat16(), "bias": torch.ones(1)}, {})
    module = nn.Linear(2, 1)
    load_module(module, path)
    assert module.weight.dtype == torch.float32
    assert module.weight.tolist() == [[0.5, 0.5]]


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights at .*gone\.safetensors; expected"):
        load_tensors(tmp_path / "gone.safetensors")


def test_folder_is_not_a_weight_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights at"):
        load_tensors(tmp_path)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".pkl", ".bin", ".PT"])
def test_pickle_is_refused_by_its_name(tmp_path: Path, weights: Path, suffix: str) -> None:
    path = weights.rename(tmp_path / f"net{suffix}")
    with pytest.raises(WeightsError, match=rf"net\{suffix} is a pickle.*expected a \.safetensors"):
        load_tensors(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_renamed_pickle_is_refused_by_its_content(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(pickle.dumps({"weight": [1.0]}, protocol=protocol))
    with pytest.raises(WeightsError, match=r"net\.safetensors is a pickle"):
        load_tensors(path)


@pytest.mark.parametrize("length", [640, 896, 1152, 1408])
def test_a_header_whose_length_begins_as_a_pickle_does_is_read(tmp_path: Path, length: int) -> None:
    path = tmp_path / "net.safetensors"
    tensors = {"weight": torch.ones(3)}
    save_tensors(path, tensors, {"said": ""})
    plain = int.from_bytes(path.read_bytes()[:8], "little")
    save_tensors(path, tensors, {"said": "x" * (length - plain)})
    assert path.read_bytes()[:2] == bytes([0x80, length >> 8])
    assert load_tensors(path)["weight"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("is_zip", [True, False])
def test_renamed_torch_checkpoint_is_refused_by_its_content(
    tmp_path: Path, network: nn.Module, is_zip: bool
) -> None:
    path = tmp_path / "net.safetensors"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(WeightsError, match=r"net\.safetensors is a pickle"):
        load_module(network, path)


@pytest.mark.parametrize("num_bytes", [0, 5, 8, 9, 100, -1])
def test_truncated_file_is_called_truncated(weights: Path, num_bytes: int) -> None:
    data = weights.read_bytes()
    weights.write_bytes(data[:num_bytes])
    with pytest.raises(WeightsError, match="is truncated: got"):
        load_tensors(weights)


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 64,
        b"hello, world, this is text",
        b"\x04" + b"\0" * 7 + b"{{{{",
    ],
)
def test_file_of_another_kind_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="is not a safetensors file"):
        load_tensors(path)


def test_damaged_header_is_refused(tmp_path: Path) -> None:
    header = b'{"weight":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}'
    path = tmp_path / "net.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(WeightsError, match=r"cannot read .*fetch the file again"):
        load_tensors(path)


def test_missing_tensor_is_named(tmp_path: Path, network: nn.Module) -> None:
    path = tmp_path / "net.safetensors"
    tensors = network.state_dict()
    del tensors["0.bias"]
    save_tensors(path, tensors, {})
    with pytest.raises(WeightsError, match=r"got no tensor 0\.bias, expected one of shape \(4,\)"):
        load_module(network, path)


def test_tensor_without_a_place_is_named(tmp_path: Path, network: nn.Module) -> None:
    path = tmp_path / "net.safetensors"
    save_tensors(path, {**network.state_dict(), "2.weight": torch.ones(1)}, {})
    with pytest.raises(WeightsError, match=r"got a tensor 2\.weight that the network has no place"):
        load_module(network, path)


def test_wrong_shape_is_named_and_the_module_is_left_as_it_was(
    tmp_path: Path, network: nn.Module
) -> None:
    path = tmp_path / "net.safetensors"
    tensors = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    save_tensors(path, {**tensors, "1.weight": torch.zeros(5)}, {})
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(WeightsError, match=r"1\.weight of shape \(5,\), expected \(4,\)"):
        load_module(network, path)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_changed_file_is_refused_by_its_hash(weights: Path, network: nn.Module) -> None:
    expected = sha256(weights)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match=rf"got sha256 [0-9a-f]{{64}}, expected {expected}"):
        load_module(network, weights, expected_sha256=expected)


def test_hash_is_that_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_saving_under_a_pickle_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"got the ending '\.pt', expected '\.safetensors'"):
        save_tensors(tmp_path / "net.pt", {"a": torch.ones(1)}, {})
    assert _names(tmp_path) == []


@pytest.mark.usefixtures("small_files_only")
def test_file_that_outgrows_the_disk_leaves_the_former_one(weights: Path) -> None:
    before = weights.read_bytes()
    with pytest.raises(OSError, match="File too large"):
        save_tensors(weights, {"big": torch.zeros(100_000)}, {})
    assert weights.read_bytes() == before
    assert _names(weights.parent) == [weights.name]


def test_full_disk_at_the_last_moment_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left") as caught:
        save_tensors(tmp_path / "net.safetensors", {"a": torch.ones(1)}, {})
    assert caught.value.errno == errno.ENOSPC
    assert _names(tmp_path) == []


def test_interrupted_save_leaves_the_former_file(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    before = weights.read_bytes()
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_tensors(weights, {"a": torch.ones(1)}, {})
    assert weights.read_bytes() == before
    assert _names(weights.parent) == [weights.name]


def test_ledger_rows_are_read_from_the_table() -> None:
    assert parse_ledger(LEDGER) == [
        LedgerRow(
            file="net.safetensors",
            sha256="a" * 64,
            num_bytes=1234,
            licence="MIT",
            trained_on="clips (CC BY 4.0)",
            command="a | b",
            figures="20 dB",
        )
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Weights\n", "without its table"),
        (LEDGER.replace("| MIT ", ""), "row of 6 cells, expected 7"),
        (LEDGER.replace("a" * 64, "abc"), "got sha256 'abc' for net.safetensors"),
        (LEDGER.replace("1,234", "many"), "got 'many' bytes for net.safetensors"),
    ],
)
def test_damaged_ledger_is_refused(text: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        parse_ledger(text)


def test_hash_comes_from_the_ledger_beside_the_file(tmp_path: Path) -> None:
    assert find_sha256(tmp_path, "net.safetensors") is None
    (tmp_path / "LEDGER.md").write_text(LEDGER, "utf-8")
    assert find_sha256(tmp_path, "net.safetensors") == "a" * 64
    with pytest.raises(
        WeightsError, match=r"other\.safetensors is not in .*knows net\.safetensors"
    ):
        find_sha256(tmp_path, "other.safetensors")


def test_a_network_on_the_meta_device_takes_values_in_its_own_type(tmp_path: Path) -> None:
    weight = torch.tensor([[0.5, -1.5]], dtype=torch.float16)
    save_tensors(tmp_path / "w.safetensors", {"weight": weight}, {})
    with torch.device("meta"):
        network = nn.Linear(2, 1, bias=False)
    load_module(network, tmp_path / "w.safetensors")
    assert network.weight.dtype == torch.float32
    assert network.weight.requires_grad
    assert network(torch.tensor([[2.0, 1.0]])).tolist() == [[-0.5]]


def test_values_stay_where_the_file_is_written_over_later(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_tensors(file, {"weight": torch.tensor([[0.5, -1.5]])}, {})
    with torch.device("meta"):
        network = nn.Linear(2, 1, bias=False)
    load_module(network, file)
    with file.open("r+b") as stream:
        stream.seek(-8, os.SEEK_END)
        stream.write(bytes(8))
    assert network.weight.tolist() == [[0.5, -1.5]]
