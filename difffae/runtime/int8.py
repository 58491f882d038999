"""Calibration for 8-bit integers by NNCF: a network and its inputs on real frames to ranges."""

import copy
import importlib
import io
import logging
from collections.abc import Sequence
from contextlib import redirect_stdout
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.runtime.openvino import convert_module, import_openvino, import_quietly
from difffae.runtime.quantization import Calibration, InputMoments, read_quantizers

Inputs = tuple[Tensor, ...]


def calibrate_network(module: nn.Module, samples: Sequence[Inputs]) -> Calibration:
    """Find the ranges of a network's tensors on inputs that are like those to come.

    Neither SmoothQuant nor bias correction is used: on the bundled networks they changed nothing,
    and without them ranges are all there is to keep.

    Args:
        module: network to calibrate; left as it is.
        samples: its inputs on real frames, all of the same shapes.

    Raises:
        RuntimeUnavailableError: NNCF or OpenVINO is not installed, or cannot convert the network.
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError("got no inputs to calibrate on; expected at least one frame")
    nncf = _import_nncf()
    network = copy.deepcopy(module).cpu().float().eval().requires_grad_(False)
    model = convert_module(import_openvino(), network, samples[0])
    arrays = [[np.ascontiguousarray(each.cpu().numpy()) for each in given] for given in samples]
    with redirect_stdout(io.StringIO()):
        quantized = nncf.quantize(
            model,
            nncf.Dataset(arrays),
            subset_size=len(arrays),
            model_type=nncf.ModelType.TRANSFORMER,
            advanced_parameters=_parameters(nncf),
        )
    return Calibration(quantizers=read_quantizers(quantized), inputs=_moments(arrays))


def _import_nncf() -> ModuleType:
    nncf = import_quietly("nncf", called="NNCF", requirement="'nncf>=3.4,<4'")
    logging.getLogger("nncf").setLevel(logging.ERROR)  # its own function also sets all handlers
    return nncf


def _parameters(nncf: ModuleType) -> Any:
    """Ranges alone, and weights left in fp32 behind their FakeQuantize operations."""
    advanced = importlib.import_module("nncf.quantization.advanced_parameters")
    return nncf.AdvancedQuantizationParameters(
        disable_bias_correction=True,
        smooth_quant_alphas=advanced.AdvancedSmoothQuantParameters(matmul=-1, convolution=-1),
        backend_params={"compress_weights": False},
    )


def _moments(samples: Sequence[Sequence[NDArray[np.generic]]]) -> tuple[InputMoments, ...]:
    found = []
    for given in zip(*samples, strict=True):
        stacked = np.stack(given).astype(np.float32)  # (samples, batch, ...)
        of_images = (0, 1, 2, 3) if given[0].dtype == np.uint8 else (0, 1, 3, 4)
        axes = of_images if stacked.ndim == 5 else tuple(range(stacked.ndim))
        mean, spread = stacked.mean(axes), stacked.std(axes)
        found.append(InputMoments(mean=np.atleast_1d(mean), spread=np.atleast_1d(spread)))
    return tuple(found)


def psnr_db(got: Tensor, wanted: Tensor) -> float:
    """Peak signal-to-noise ratio [dB], the peak being the wanted values' range."""
    error = torch.mean(torch.square(got - wanted)).item()
    peak = (wanted.max() - wanted.min()).item()
    return float(10 * np.log10(peak**2 / error)) if error > 0 else float("inf")
