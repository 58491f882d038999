"""The first compile's child process: it accepts right answers and refuses wrong ones."""

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from difffae.runtime import probe
from difffae.runtime.openvino import OpenVinoConfig, _convert, _device_settings, import_openvino

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO")


def test_relative_error_compares_root_mean_squares() -> None:
    wanted = np.array([3.0, -4.0])
    assert probe.relative_error(wanted, wanted) == 0.0
    assert probe.relative_error(wanted * 1.5, wanted) == pytest.approx(0.5, abs=1e-3)
    assert probe.relative_error(np.zeros(2), np.zeros(2)) == 0.0
    assert math.isnan(probe.relative_error(np.array([math.nan, 0.0]), wanted))
    assert probe.relative_error(np.zeros(3), wanted) == math.inf


@pytest.mark.parametrize(("factor", "status"), [(1.0, 0), (1.5, 3), (math.nan, 3)])
def test_exit_status_tells_right_answers_from_wrong_ones(
    one_head: nn.Module, image: Tensor, tmp_path: Path, factor: float, status: int
) -> None:
    settings = _device_settings(OpenVinoConfig(precision="fp32"))
    _convert(import_openvino(), one_head, (image,), tmp_path)
    example = tmp_path / "example.npz"
    answers = one_head(image).detach() * factor
    with example.open("wb") as stream:
        np.savez(stream, input_0=image.numpy(), output_0=answers.numpy())
    assert probe.main(tmp_path, settings) == status


def test_zero_initialised_network_is_accepted(image: Tensor, tmp_path: Path) -> None:
    module = nn.Conv2d(3, 4, 1)
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias) if module.bias is not None else None
    _convert(import_openvino(), module, (image,), tmp_path)
    assert torch.count_nonzero(module(image)) == 0
    assert probe.main(tmp_path, _device_settings(OpenVinoConfig())) == 0
