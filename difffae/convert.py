"""Convert CompVis weights: `python -m difffae.convert FILE OUT_FOLDER --config CONFIG.yaml`.

Takes a latent-diffusion checkpoint (.safetensors or .ckpt; a whole model, or a first stage alone),
leaves `denoiser`, `encoder` and `decoder` as the configuration has them, as far as the file holds
them, and `conversion.json`, which says what became of each tensor. To train from them, name the
folder in `training.first_stage_weights`. A converted U-Net is a start for training alone: it knows
latents of its own first stage and scale, where ours are calibrated to unit spread (model.md 0.4).
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from torch import Tensor, nn

from difffae.checkpoint import WeightsError, load_tensors, save_tensors
from difffae.config import ModelConfig, read_model_config
from difffae.model.compvis import (
    CompVisError,
    FilledNetwork,
    FoundWeights,
    fill_denoiser,
    fill_first_stage,
    find_first_stage,
    find_unet,
)
from difffae.model.denoiser import Denoiser
from difffae.model.first_stage import FirstStageDecoder, FirstStageEncoder
from difffae.torch_file import read_torch_file

_EXIT_MISUSE = 2
_REPORT_NAME = "conversion.json"
_FOREIGN_CLASSES = ("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",)


@dataclass(frozen=True, kw_only=True)
class ConvertedPart:
    """What one part of a checkpoint gave.

    Attributes:
        part: "denoiser" or "first_stage".
        num_averaged: tensors taken from the exponential moving average.
        network: what became of each tensor; None where the part was left out.
        reason: why it was left out; empty where it was not.
    """

    part: str
    num_averaged: int = 0
    network: FilledNetwork | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What became of a checkpoint.

    Attributes:
        parts: one entry a network the file might hold.
        ignored: how many other tensors, by the first word of their names.
    """

    parts: tuple[ConvertedPart, ...]
    ignored: Mapping[str, int]


def convert(file: Path, folder: Path, config: ModelConfig) -> Conversion:
    """Write the networks of a checkpoint that the configuration has into a folder.

    A part that does not fit the configuration is left out and the report says why.

    Raises:
        WeightsError: the file cannot be read.
        CompVisError: no part of it fits the configuration.
    """
    tensors = read_checkpoint(file)
    unet, first_stage = find_unet(tensors), find_first_stage(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    parts = (
        _convert_denoiser(unet, folder, config),
        _convert_first_stage(first_stage, folder, config),
    )
    if all(part.network is None for part in parts):
        reasons = "; ".join(f"{part.part}: {part.reason}" for part in parts)
        raise CompVisError(f"nothing of {file} fits the configuration. {reasons}")
    known = {key for found in (unet, first_stage) if found is not None for key in found.keys}
    ignored = Counter(key.split(".")[0] for key in tensors if key not in known)
    conversion = Conversion(parts=parts, ignored=dict(sorted(ignored.items())))
    report = json.dumps({"file": file.name, **asdict(conversion)}, indent=1)
    (folder / _REPORT_NAME).write_text(report + "\n", encoding="utf-8")
    return conversion


def _convert_denoiser(
    found: FoundWeights | None, folder: Path, config: ModelConfig
) -> ConvertedPart:
    if found is None:
        return ConvertedPart(part="denoiser", reason="the file holds no U-Net of CompVis' layout")
    denoiser = Denoiser(config.denoiser)
    try:
        network = fill_denoiser(denoiser, found)
    except CompVisError as error:
        return ConvertedPart(part="denoiser", reason=str(error))
    _save(folder / "denoiser.safetensors", denoiser)
    return ConvertedPart(part="denoiser", num_averaged=found.num_averaged, network=network)


def _convert_first_stage(
    found: FoundWeights | None, folder: Path, config: ModelConfig
) -> ConvertedPart:
    part = "first_stage"
    if found is None:
        return ConvertedPart(part=part, reason="the file holds no first stage of CompVis' layout")
    if config.first_stage is None:
        return ConvertedPart(part=part, reason="the configuration's model.first_stage is null")
    encoder, decoder = FirstStageEncoder(config.first_stage), FirstStageDecoder(config.first_stage)
    try:
        network = fill_first_stage(encoder, decoder, found)
    except CompVisError as error:
        return ConvertedPart(part=part, reason=str(error))
    _save(folder / "encoder.safetensors", encoder)
    _save(folder / "decoder.safetensors", decoder)
    return ConvertedPart(part=part, num_averaged=found.num_averaged, network=network)


def _save(path: Path, network: nn.Module) -> None:
    save_tensors(path, network.state_dict(), {"format": "pt"})


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .ckpt's `state_dict`.

    A .ckpt is a pickle: torch reads it by its restricted unpickler, which makes tensors and plain
    containers and refuses all else, memory-mapped.

    Raises:
        WeightsError: the file is missing, damaged, of another kind, or holds more than tensors.
    """
    if file.suffix != ".ckpt":
        return load_tensors(file)
    content = read_torch_file(file, ignored_classes=_FOREIGN_CLASSES)
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{file} holds no tensors; expected a state_dict")
    return tensors


def main(arguments: Sequence[str], console: Console) -> int:
    """Run the command; its exit status is 0, or 2 where nothing could be converted."""
    parser = argparse.ArgumentParser(prog="python -m difffae.convert", description=__doc__)
    parser.add_argument("file", type=Path, help="CompVis checkpoint, .safetensors or .ckpt")
    parser.add_argument("folder", type=Path, help="where the networks go")
    parser.add_argument("--config", type=Path, required=True, help="YAML configuration")
    given = parser.parse_args(arguments)
    try:
        conversion = convert(given.file, given.folder, read_model_config(given.config))
    except ValueError as error:
        console.print(f"difffae.convert: {error}", markup=False, highlight=False, soft_wrap=True)
        return _EXIT_MISUSE
    for line in report_lines(conversion):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"in full: {given.folder / _REPORT_NAME}", markup=False, highlight=False)
    return 0


def report_lines(conversion: Conversion) -> list[str]:
    """A conversion in words, a line a fact."""
    lines = []
    for part in conversion.parts:
        network = part.network
        if network is None:
            lines.append(f"{part.part}: left out, {part.reason}")
            continue
        weights = f"{part.num_averaged} averaged" if part.num_averaged else "none averaged (no EMA)"
        lines.append(f"{part.part}: {len(network.mapped)} tensors mapped, {weights}")
        for what, names in (
            ("padded with zero input channels", network.padded),
            ("AdaIN begun from the norm it replaces", network.from_norm),
            ("left fresh", network.fresh),
            ("of the file's network ignored", network.ignored),
        ):
            lines += [f"  {len(names)} {what}: {_some(names)}"] if names else []
    others = ", ".join(f"{count} of {scope}" for scope, count in conversion.ignored.items())
    return [*lines, f"ignored: {others}"] if others else lines


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Console()))
