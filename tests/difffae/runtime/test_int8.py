"""Calibration by NNCF, and what becomes of a network that 8-bit integers ruin."""

import json
import logging
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from difffae.checkpoint import save_tensors
from difffae.runtime import RuntimeUnavailableError, compile_network
from difffae.runtime import compile as compile_module
from difffae.runtime.calibration_file import load_calibrations, save_calibrations
from difffae.runtime.eager import EagerNetwork
from difffae.runtime.int8 import calibrate_network, psnr_db
from difffae.runtime.openvino import OpenVinoConfig, compile_openvino
from difffae.runtime.quantization import Calibration

pytestmark = [
    pytest.mark.skipif(find_spec("nncf") is None, reason="needs NNCF"),
    pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:nncf"),
    pytest.mark.filterwarnings("ignore::FutureWarning:nncf"),
]


class Ruined(nn.Module):
    """Carries small channels beside a large one, which leaves them none of 256 levels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1, bias=False)
        self.last = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.diag(torch.tensor([5000.0, 1, 1]))[:, :, None, None])
            self.last.weight.copy_(torch.diag(torch.tensor([2e-4, 1, 1]))[:, :, None, None])

    def forward(self, image: Tensor) -> Tensor:
        output: Tensor = self.last(self.first(image))
        return output


@pytest.fixture
def samples() -> list[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(3)
    return [(torch.randn(1, 3, 16, 16, generator=generator),) for _ in range(4)]


@pytest.fixture
def calibration(one_head: nn.Module, samples: list[tuple[Tensor, ...]]) -> Calibration:
    return calibrate_network(one_head, samples)


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the choice of a runtime logs."""
    told: list[str] = []
    for module in (compile_module, sys.modules["difffae.runtime.choice"]):
        logger = logging.Logger("test")
        handler = logging.Handler()
        handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
        logger.addHandler(handler)
        monkeypatch.setattr(module, "_logger", logger)
    return told


@pytest.mark.usefixtures("warm_cache")
def test_int8_answers_almost_as_the_module_does(
    one_head: nn.Module, image: Tensor, calibration: Calibration
) -> None:
    config = OpenVinoConfig(precision="int8", calibration=calibration)
    got = compile_openvino(one_head, (image,), config=config)(image)
    assert isinstance(got, Tensor)
    assert psnr_db(got, one_head(image)) > 35
    assert not torch.allclose(got, one_head(image), atol=1e-4)


def test_calibration_finds_the_range_of_what_it_is_shown(
    one_head: nn.Module, samples: list[tuple[Tensor, ...]], calibration: Calibration
) -> None:
    (rounded,) = [q for q in calibration.quantizers if q.low.size == 1]
    largest = max(given[0].abs().max().item() for given in samples)
    assert rounded.high.item() == pytest.approx(largest, rel=0.2)
    doubled = calibrate_network(one_head, [(given[0] * 2,) for given in samples])
    (wider,) = [q for q in doubled.quantizers if q.low.size == 1]
    assert wider.high.item() == pytest.approx(2 * rounded.high.item(), rel=0.01)
    shown = torch.cat([given[0] for given in samples])
    assert calibration.inputs[0].mean == pytest.approx(shown.mean((0, 2, 3)).numpy(), abs=1e-5)


def test_a_network_that_int8_ruins_runs_in_floating_point_and_is_not_tried_again(
    samples: list[tuple[Tensor, ...]], cache: Path, messages: list[str]
) -> None:
    module = Ruined().eval()
    found = calibrate_network(module, samples)
    image = samples[0][0]
    for precision in ("int8", "auto"):
        network = compile_network(module, (image,), precision=precision, calibration=found)
        torch.testing.assert_close(network(image), module(image), rtol=0.1, atol=0.1)
        if precision == "int8":
            assert len(messages) == 1
            assert messages[0].startswith("OpenVINO gets Ruined wrong: output 0 is wrong")
    kept = json.loads(next((cache / "choices").iterdir()).read_text("utf-8"))
    assert kept["runtime"] in ("openvino", "eager")
    assert "openvino-int8" not in kept["times_ms"]


@pytest.mark.usefixtures("cache")
def test_auto_measures_int8_beside_the_others(
    one_head: nn.Module,
    image: Tensor,
    calibration: Calibration,
    messages: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compile_module, "has_int8_instructions", lambda: True)
    compile_network(one_head, (image,), calibration=calibration)
    (told,) = messages
    assert "openvino-int8 " in told
    assert "eager " in told
    messages.clear()
    monkeypatch.setattr(compile_module, "has_int8_instructions", lambda: False)
    compile_network(one_head, (image * 1,), calibration=calibration, num_threads=1)
    assert "openvino-int8" not in messages[0]


@pytest.mark.usefixtures("warm_cache")
@pytest.mark.parametrize("runtime", ["eager", "openvino"])
def test_int8_without_a_calibration_costs_one_line(
    one_head: nn.Module, image: Tensor, messages: list[str], runtime: str
) -> None:
    network = compile_network(one_head, (image,), precision="int8", runtime=runtime)  # type: ignore[arg-type]
    assert messages == ["OneHead runs in bf16 or fp32: int8 needs OpenVINO and a calibration"]
    torch.testing.assert_close(network(image), one_head(image), rtol=0.05, atol=0.05)
    assert isinstance(network, EagerNetwork) == (runtime == "eager")


def test_without_nncf_the_error_says_what_to_install(
    one_head: nn.Module, samples: list[tuple[Tensor, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(RuntimeUnavailableError, match="pip install 'nncf"):
        calibrate_network(one_head, samples)
    with pytest.raises(ValueError, match="no inputs"):
        calibrate_network(one_head, [])


def test_running_in_int8_needs_no_nncf(
    one_head: nn.Module,
    image: Tensor,
    calibration: Calibration,
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
) -> None:
    del cache
    monkeypatch.setitem(sys.modules, "nncf", None)
    config = OpenVinoConfig(precision="int8", calibration=calibration)
    assert compile_openvino(one_head, (image,), config=config)(image) is not None


@pytest.fixture
def model(tmp_path: Path, one_head: nn.Module, calibration: Calibration) -> Path:
    """A model's folder with the weights and the calibration of one network."""
    save_tensors(tmp_path / "decoder.safetensors", one_head.state_dict(), {})
    save_calibrations(tmp_path, {"decoder": calibration})
    return tmp_path


def test_a_calibration_is_found_beside_the_weights(model: Path, calibration: Calibration) -> None:
    found = load_calibrations(model, {})
    assert {name: each.digest for name, each in found.items()} == {"decoder": calibration.digest}


def _retrain(model: Path) -> None:
    save_tensors(model / "decoder.safetensors", {"a": torch.zeros(1)}, {})


def _truncate(model: Path) -> None:
    (model / "int8.safetensors").write_bytes((model / "int8.safetensors").read_bytes()[:-8])


def _replace(model: Path) -> None:
    save_tensors(
        model / "int8.safetensors", {"x": torch.zeros(1)}, {"decoder": "[", "decoder.sha256": ""}
    )


@pytest.mark.parametrize("damage", [_retrain, _truncate, _replace])
def test_a_calibration_that_is_damaged_or_of_other_weights_is_left_alone(
    model: Path, damage: Callable[[Path], None]
) -> None:
    damage(model)
    assert load_calibrations(model, {}) == {}


def test_the_bundled_calibration_is_of_the_bundled_weights(repository: Path) -> None:
    found = load_calibrations(repository / "difffae" / "weights" / "lite-256", {})
    assert set(found) == {"encoder", "denoiser", "decoder"}
