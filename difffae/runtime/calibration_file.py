"""A model's calibrations on disk: int8.safetensors, beside the weights that they were found for."""

import logging
from collections.abc import Mapping
from pathlib import Path

from difffae.checkpoint import WeightsError, load_metadata, load_tensors, save_tensors, sha256
from difffae.runtime.quantization import Calibration, pack, unpack

CALIBRATION_FILE = "int8.safetensors"
AGAIN = "run python -m difffae.calibrate"

_logger = logging.getLogger(__name__)


def save_calibrations(folder: Path, calibrations: Mapping[str, Calibration]) -> Path:
    """Write the calibrations of a model's networks, with the hashes of their weight files.

    Args:
        folder: the model's, which holds NAME.safetensors of each network.
        calibrations: by network.

    Returns:
        The file.

    Raises:
        OSError: it cannot be written, or a weight file is missing.
    """
    tensors, metadata = {}, {}
    for network, calibration in calibrations.items():
        own, metadata[network] = pack(calibration)
        tensors.update({f"{network}/{name}": tensor for name, tensor in own.items()})
        metadata[f"{network}.sha256"] = sha256(folder / f"{network}.safetensors")
    save_tensors(folder / CALIBRATION_FILE, tensors, metadata)
    return folder / CALIBRATION_FILE


def load_calibrations(folder: Path, hashes: Mapping[str, str]) -> dict[str, Calibration]:
    """The calibrations of a model's networks, as far as they are of its present weights.

    A file that is damaged or of other weights costs int8 and a log line, nothing else.

    Args:
        folder: the model's.
        hashes: SHA-256 by file name, as far as known.
    """
    path = folder / CALIBRATION_FILE
    if not path.is_file():
        return {}
    try:
        tensors = load_tensors(path, expected_sha256=hashes.get(path.name))
        metadata = load_metadata(path)
        found = {}
        for network in (name for name in metadata if f"{name}.sha256" in metadata):
            prefix = f"{network}/"
            own = {
                name.removeprefix(prefix): tensor
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }
            found[network] = unpack(own, metadata[network])
    except (WeightsError, ValueError) as error:
        _logger.warning("%s; networks run without int8: %s", error, AGAIN)
        return {}
    stale = [name for name in found if not _is_current(folder, name, metadata, hashes)]
    if stale:
        _logger.warning(
            "%s is not of the weights of %s, which run without int8: %s",
            path,
            ", ".join(stale),
            AGAIN,
        )
    return {name: calibration for name, calibration in found.items() if name not in stale}


def _is_current(
    folder: Path, network: str, metadata: Mapping[str, str], hashes: Mapping[str, str]
) -> bool:
    file = f"{network}.safetensors"
    try:
        present = hashes.get(file) or sha256(folder / file)
    except OSError:
        return False
    return present == metadata[f"{network}.sha256"]
