"""Weight files: tensors and modules in and out of safetensors, and the ledger of shipped files.

Only safetensors is ever read: a pickle can run any code, so it is refused by name or by content.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn

LEDGER_NAME = "LEDGER.md"
_LEDGER_HEADER = ("file", "sha256", "bytes", "licence", "trained on", "command", "figures")
_PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".tar", ".npy"})
_PICKLE_MAGIC = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
_LENGTH_BYTES = 8


class WeightsError(ValueError):
    """A weight file that cannot be used: missing, damaged, of the wrong kind or the wrong model."""


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """What the ledger says of one weight file.

    Attributes:
        file: File name within the ledger's folder.
        sha256: Hash of the whole file, 64 lower-case hexadecimal digits.
        num_bytes: Size of the file.
        licence: Licence of the weights.
        trained_on: Data sets it was trained on, with their licences.
        command: Command and config that made it.
        figures: Measured figures.
    """

    file: str
    sha256: str
    num_bytes: int
    licence: str
    trained_on: str
    command: str
    figures: str


def save_tensors(
    path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors to a safetensors file, whole or not at all.

    The data goes to a temporary file in the same folder, reaches the disk, and is then renamed:
    a kill or a full disk leaves the former file as it was. Tensors may share memory or be views.

    Args:
        path: File to write, ending in ".safetensors"; its folder must exist.
        tensors: Named tensors of any shape, on any device.
        metadata: Text kept in the file's header.

    Raises:
        WeightsError: If the name is not that of a safetensors file.
        OSError: If the file cannot be written, for example because the disk is full.
    """
    target = Path(path)
    if target.suffix != ".safetensors":
        raise WeightsError(
            f"cannot save to {target}: got the ending {target.suffix!r}, expected '.safetensors'"
        )
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = safetensors.torch.save(plain, metadata=dict(metadata))
    write_atomically(target, data)


def load_tensors(path: Path | str, *, expected_sha256: str | None = None) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file onto the CPU.

    Args:
        path: File to read.
        expected_sha256: Hash the file must have; None where no ledger knows the file.

    Raises:
        WeightsError: If the file is missing, truncated, a pickle, not safetensors, or its hash
            differs.
    """
    source = Path(path)
    _check_is_safetensors(source)
    if expected_sha256 is not None:
        _check_hash(source, expected_sha256)
    try:
        return safetensors.torch.load_file(source, device="cpu")
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"cannot read {source}: {error}; fetch the file again") from error


def load_metadata(path: Path | str) -> dict[str, str]:
    """Read the text that ``save_tensors`` kept in the header of a safetensors file.

    Raises:
        WeightsError: If the file is missing, truncated, a pickle, or not safetensors.
    """
    metadata = _check_is_safetensors(Path(path)).get("__metadata__", {})
    return {str(name): str(value) for name, value in dict(metadata).items()}


def load_module(module: nn.Module, path: Path | str, *, expected_sha256: str | None = None) -> None:
    """Fill a module with the weights of a safetensors file; names and shapes must all agree.

    Values are cast to the module's own types. On an error the module is left as it was.

    Args:
        module: Network to fill, in place; one on the meta device takes the values as its own.
        path: File to read.
        expected_sha256: Hash the file must have; None where no ledger knows the file.

    Raises:
        WeightsError: If the file cannot be read, its hash differs, or it fits another network.
    """
    source = Path(path)
    tensors = load_tensors(source, expected_sha256=expected_sha256)
    _check_fits(module, tensors, source)
    wanted = module.state_dict()
    if any(tensor.is_meta for tensor in wanted.values()):
        # Copies: what was read is the file's own memory, which follows the file where it changes.
        own = {name: tensor.to(wanted[name].dtype, copy=True) for name, tensor in tensors.items()}
        module.load_state_dict(own, strict=True, assign=True)
    else:
        module.load_state_dict(tensors, strict=True)


def sha256(path: Path | str) -> str:
    """SHA-256 of a whole file, as 64 lower-case hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomically(target: Path, data: bytes) -> None:
    """Write bytes beside ``target``, flush them to the disk, and rename over ``target``.

    Raises:
        OSError: If they cannot be written; the former file stays and nothing else is left.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def parse_ledger(text: str) -> list[LedgerRow]:
    r"""Read the table of weight files in a ledger's Markdown.

    The table's header names the columns file, sha256, bytes, licence, trained on, command and
    figures, in this order. Cells may be in backticks; a bar within a cell is written ``\|``.

    Raises:
        WeightsError: If there is no such table, or a row of it cannot be read.
    """
    lines = text.splitlines()
    starts = [
        index
        for index, line in enumerate(lines)
        if tuple(cell.lower() for cell in _cells(line)) == _LEDGER_HEADER
    ]
    if not starts:
        raise WeightsError(
            "got a ledger without its table; expected a header row "
            f"| {' | '.join(_LEDGER_HEADER)} |"
        )
    rows: list[LedgerRow] = []
    for line in lines[starts[0] + 2 :]:
        if not line.lstrip().startswith("|"):
            break
        rows.append(_parse_row(line))
    return rows


def read_ledger(folder: Path | str) -> list[LedgerRow] | None:
    """Rows of the ledger of a folder of weights, or None where it has no ledger.

    Raises:
        WeightsError: If the ledger cannot be understood.
    """
    path = Path(folder) / LEDGER_NAME
    return parse_ledger(path.read_text(encoding="utf-8")) if path.is_file() else None


def find_sha256(folder: Path | str, file: str) -> str | None:
    """Hash the ledger of a folder gives for one of its files, or None where it has no ledger.

    Raises:
        WeightsError: If there is a ledger that cannot be read or does not know the file.
    """
    rows = read_ledger(folder)
    if rows is None:
        return None
    hashes = {row.file: row.sha256 for row in rows}
    if file not in hashes:
        known = ", ".join(sorted(hashes)) or "no file"
        raise WeightsError(
            f"{file} is not in {Path(folder) / LEDGER_NAME}, which knows {known}; add its row"
        )
    return hashes[file]


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_is_safetensors(path: Path) -> dict[str, dict[str, object]]:
    """Refuse what is not a whole safetensors file; return the header of one that is."""
    if path.suffix.lower() in _PICKLE_SUFFIXES:
        raise _pickle_error(path)
    if not path.is_file():
        raise WeightsError(f"no weights at {path}; expected a .safetensors file there")
    num_bytes = path.stat().st_size
    with path.open("rb") as stream:
        start, opening = stream.read(_LENGTH_BYTES), stream.read(1)
        if opening != b"{" and start.startswith(_PICKLE_MAGIC):  # headers may be 640 bytes long
            raise _pickle_error(path)
        length = int.from_bytes(start, "little")
        if num_bytes <= _LENGTH_BYTES:
            raise WeightsError(
                f"{path} is truncated: got {num_bytes} bytes, expected a safetensors header; "
                "fetch the file again"
            )
        if opening != b"{":
            raise _foreign_error(path)
        if length > num_bytes - _LENGTH_BYTES:
            raise WeightsError(
                f"{path} is truncated: got {num_bytes} bytes, expected a header of {length} bytes "
                "and the data after it; fetch the file again"
            )
        header = _parse_header(path, opening + stream.read(length - 1))
    _check_is_whole(path, header, _LENGTH_BYTES + length, num_bytes)
    return header


def _parse_header(path: Path, raw: bytes) -> dict[str, dict[str, object]]:
    """Read the JSON object that begins a safetensors file."""
    try:
        header = json.loads(raw)
    except ValueError as error:
        raise _foreign_error(path) from error
    if not all(isinstance(entry, dict) for entry in header.values()):
        raise _foreign_error(path)
    return dict(header)


def _check_is_whole(
    path: Path, header: Mapping[str, dict[str, object]], data_start: int, num_bytes: int
) -> None:
    """Refuse a file that ends before the last tensor its header announces."""
    ends = [
        offsets[1]
        for name, entry in header.items()
        if name != "__metadata__" and isinstance(offsets := entry.get("data_offsets"), list)
    ]
    expected = data_start + max(ends, default=0)
    if num_bytes < expected:
        raise WeightsError(
            f"{path} is truncated: got {num_bytes} bytes, expected {expected}; fetch the file again"
        )


def _pickle_error(path: Path) -> WeightsError:
    """Error for a file that is, or by its name would be, a pickle."""
    return WeightsError(
        f"{path.name} is a pickle, which can run any code when read; expected a .safetensors file: "
        "convert it where you trust it, with safetensors.torch.save_file"
    )


def _foreign_error(path: Path) -> WeightsError:
    """Error for a file of some other kind."""
    return WeightsError(f"{path} is not a safetensors file; expected weights saved as safetensors")


def _check_hash(path: Path, expected: str) -> None:
    """Refuse a file whose content is not the one the ledger recorded."""
    got = sha256(path)
    if got != expected.lower():
        raise WeightsError(
            f"{path} is not the file the ledger describes: got sha256 {got}, expected {expected}; "
            "fetch the file again"
        )


def _check_fits(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Name the first tensor that is missing, left over, or of another shape."""
    wanted = module.state_dict()
    for name, tensor in wanted.items():
        if name not in tensors:
            raise WeightsError(
                f"{path} does not fit {type(module).__name__}: got no tensor {name}, expected one "
                f"of shape {tuple(tensor.shape)}; use the config it was trained with"
            )
        if tensors[name].shape != tensor.shape:
            raise WeightsError(
                f"{path} does not fit {type(module).__name__}: got {name} of shape "
                f"{tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}; "
                "use the config it was trained with"
            )
    for name in tensors:
        if name not in wanted:
            raise WeightsError(
                f"{path} does not fit {type(module).__name__}: got a tensor {name} that the "
                "network has no place for; use the config it was trained with"
            )


def _cells(line: str) -> list[str]:
    """Cells of one row of a Markdown table, without backticks; empty if it is no row."""
    bare = line.strip()
    if not bare.startswith("|"):
        return []
    inner = bare[1:].removesuffix("|")
    return [cell.strip().strip("`").replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]


def _parse_row(line: str) -> LedgerRow:
    """Read one row below the header of the ledger's table."""
    cells = _cells(line)
    if len(cells) != len(_LEDGER_HEADER):
        raise WeightsError(
            f"got a ledger row of {len(cells)} cells, expected {len(_LEDGER_HEADER)}: "
            f"{line.strip()}"
        )
    file, digest, size, licence, trained_on, command, figures = cells
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise WeightsError(f"got sha256 {digest!r} for {file}, expected 64 hexadecimal digits")
    num_bytes = size.replace(",", "").replace("_", "")
    if not num_bytes.isdecimal():
        raise WeightsError(f"got {size!r} bytes for {file}, expected a whole number")
    return LedgerRow(
        file=file,
        sha256=digest,
        num_bytes=int(num_bytes),
        licence=licence,
        trained_on=trained_on,
        command=command,
        figures=figures,
    )
