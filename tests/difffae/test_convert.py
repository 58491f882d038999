"""The command that converts CompVis checkpoints."""

import io
import json
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor

from compvis_layout import (
    FirstStageSizes,
    UNetSizes,
    averaged,
    drawn,
    first_stage_shapes,
    unet_shapes,
)
from difffae.checkpoint import WeightsError, load_module, load_tensors
from difffae.config import ModelConfig, read_model_config
from difffae.convert import convert, main, read_checkpoint, report_lines
from difffae.model.compvis import CompVisError
from difffae.model.denoiser import Denoiser
from difffae.model.first_stage import FirstStageDecoder, FirstStageEncoder

MODEL: dict[str, Any] = {
    "image_size": 32,
    "first_stage": {
        "channels": 8,
        "multipliers": [1, 2],
        "num_blocks": 1,
        "attention_sizes": [],
        "num_codes": 6,
        "groups": 4,
    },
    "region_encoder": {"slot_width": 16},
    "denoiser": {
        "channels": 8,
        "multipliers": [1, 2],
        "num_blocks": 1,
        "num_heads": 2,
        "attention_sizes": [16, 8],
        "latent_size": 16,
        "slot_width": 16,
        "identity_width": 12,
        "groups": 4,
    },
    "identity": {"width": 12},
}
UNET = UNetSizes(channels=8, multipliers=(1, 2), num_blocks=1, attention_factors=(1, 2), context=20)
VQ = FirstStageSizes(channels=8, multipliers=(1, 2), num_blocks=1, attention_sizes=(), codes=6)
NUM_FIRST_STAGE = len(first_stage_shapes(VQ))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(yaml.safe_dump({"model": MODEL}), "utf-8")
    return path


@pytest.fixture(scope="module")
def model(config: Path) -> ModelConfig:
    return read_model_config(config)


def whole_model() -> dict[str, Tensor]:
    """U-Net with its average, first stage, and what else lies in such files."""
    unet = drawn(unet_shapes(UNET), prefix="model.diffusion_model.")
    return {
        **unet,
        **averaged(unet),
        "model_ema.decay": torch.tensor(0.9999),
        **drawn(first_stage_shapes(VQ), prefix="first_stage_model."),
        "cond_stage_model.transformer.norm.weight": torch.ones(4),
        "betas": torch.linspace(0, 1, 5),
    }


def run(*arguments: Path | str) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=300)
    status = main([str(argument) for argument in arguments], console)
    assert isinstance(console.file, io.StringIO)
    return status, console.file.getvalue()


def test_a_whole_model_gives_networks_that_load_and_hold_its_values(
    config: Path, model: ModelConfig, tmp_path: Path
) -> None:
    tensors = whole_model()
    save_file(tensors, tmp_path / "ldm.safetensors")
    status, said = run(tmp_path / "ldm.safetensors", tmp_path / "out", "--config", config)
    assert status == 0, said
    assert f"first_stage: {NUM_FIRST_STAGE} tensors mapped" in said
    denoiser = Denoiser(model.denoiser)
    load_module(denoiser, tmp_path / "out" / "denoiser.safetensors")
    taken = tensors["model_ema.diffusion_modelinput_blocks00weight"]
    assert torch.equal(denoiser.enter.weight[:, :4], taken)
    first_stage = model.first_stage
    assert first_stage is not None
    encoder, decoder = FirstStageEncoder(first_stage), FirstStageDecoder(first_stage)
    load_module(encoder, tmp_path / "out" / "encoder.safetensors")
    load_module(decoder, tmp_path / "out" / "decoder.safetensors")
    assert torch.equal(encoder.enter.weight, tensors["first_stage_model.encoder.conv_in.weight"])
    assert decoder.codebook is not None
    codes = tensors["first_stage_model.quantize.embedding.weight"]
    assert torch.equal(decoder.codebook.weight, codes)


def test_the_report_says_what_became_of_everything(model: ModelConfig, tmp_path: Path) -> None:
    save_file(whole_model(), tmp_path / "ldm.safetensors")
    said = "\n".join(report_lines(convert(tmp_path / "ldm.safetensors", tmp_path / "out", model)))
    report = json.loads((tmp_path / "out" / "conversion.json").read_text("utf-8"))
    denoiser, first_stage = report["parts"]
    num_unet, num_sites, num_blocks = len(unet_shapes(UNET)), 2 * 7, 2 + 2 + 4
    network = denoiser["network"]
    assert denoiser["num_averaged"] == num_unet
    assert network["padded"] == ["enter.weight"]
    assert len(network["from_norm"]) == num_blocks
    assert len(network["fresh"]) == num_sites + num_blocks  # AdaIN's weights stay zero
    assert len(network["mapped"]) == num_unet - 1 - num_sites - 2 * num_blocks
    assert len(first_stage["network"]["mapped"]) == NUM_FIRST_STAGE
    assert first_stage["num_averaged"] == 0
    assert report["ignored"] == {"model_ema": 1, "cond_stage_model": 1, "betas": 1}
    assert f"first_stage: {NUM_FIRST_STAGE} tensors mapped, none averaged (no EMA)" in said
    assert "1 padded with zero input channels: enter.weight" in said
    assert "ignored: 1 of betas, 1 of cond_stage_model, 1 of model_ema" in said


def test_a_first_stage_alone_gives_no_denoiser(model: ModelConfig, tmp_path: Path) -> None:
    save_file(drawn(first_stage_shapes(VQ)), tmp_path / "vq.safetensors")
    conversion = convert(tmp_path / "vq.safetensors", tmp_path / "out", model)
    assert "denoiser: left out, the file holds no U-Net" in report_lines(conversion)[0]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"encoder.safetensors", "decoder.safetensors", "conversion.json"}


def test_a_part_of_other_sizes_is_left_out_with_the_reason(
    model: ModelConfig, tmp_path: Path
) -> None:
    other = FirstStageSizes(channels=8, multipliers=(1, 2), num_blocks=2, codes=6)
    tensors = whole_model() | drawn(first_stage_shapes(other), prefix="first_stage_model.")
    save_file(tensors, tmp_path / "ldm.safetensors")
    conversion = convert(tmp_path / "ldm.safetensors", tmp_path / "out", model)
    assert "left out, the checkpoint's first stage has" in report_lines(conversion)[-2]
    assert not (tmp_path / "out" / "encoder.safetensors").exists()
    assert (tmp_path / "out" / "denoiser.safetensors").exists()


def test_a_lightning_checkpoint_is_read_without_running_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    callback = type("ModelCheckpoint", (), {"__module__": module.__name__})
    module.ModelCheckpoint = callback  # type: ignore[attr-defined]
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    tensors = drawn(first_stage_shapes(VQ))
    content = {"state_dict": tensors, "global_step": 7, "callbacks": {callback: {"best": None}}}
    torch.save(content, tmp_path / "model.ckpt")
    given = read_checkpoint(tmp_path / "model.ckpt")
    assert given.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(given[name], tensor)


class Touch:
    """Touches a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    file, touched = tmp_path / "model.ckpt", tmp_path / "touched"
    torch.save({"state_dict": drawn(first_stage_shapes(VQ)), "x": Touch(touched)}, file)
    with pytest.raises(WeightsError, match="cannot be read without running code from it"):
        read_checkpoint(file)
    assert not touched.exists()


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "no tensors"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "model.ckpt"
    if damage != "missing":
        tensors = drawn(first_stage_shapes(VQ)) if damage != "no tensors" else {}
        torch.save({"state_dict": tensors}, file)
    if damage in {"truncated", "empty"}:
        file.write_bytes(file.read_bytes()[: 2000 if damage == "truncated" else 0])
    with pytest.raises(WeightsError, match=r"no file at|is damaged|holds no tensors"):
        read_checkpoint(file)


def test_a_file_of_nothing_that_fits_is_refused(config: Path, tmp_path: Path) -> None:
    save_file({"conv.weight": torch.ones(1)}, tmp_path / "other.safetensors")
    status, said = run(tmp_path / "other.safetensors", tmp_path / "out", "--config", config)
    assert status == 2
    assert "nothing of" in said
    assert "no U-Net" in said
    assert "no first stage" in said


def test_a_configuration_without_a_first_stage_takes_none(
    model: ModelConfig, tmp_path: Path
) -> None:
    save_file(drawn(first_stage_shapes(VQ)), tmp_path / "vq.safetensors")
    with pytest.raises(CompVisError, match=r"model\.first_stage is null"):
        convert(
            tmp_path / "vq.safetensors", tmp_path, replace(model, first_stage=None, image_size=128)
        )


def test_half_precision_becomes_single(model: ModelConfig, tmp_path: Path) -> None:
    tensors = {name: tensor.half() for name, tensor in drawn(first_stage_shapes(VQ)).items()}
    save_file(tensors, tmp_path / "vq.safetensors")
    convert(tmp_path / "vq.safetensors", tmp_path / "out", model)
    written = load_tensors(tmp_path / "out" / "encoder.safetensors")
    assert {tensor.dtype for tensor in written.values()} == {torch.float32}
    assert torch.equal(written["quant.weight"], tensors["quant_conv.weight"].float())
