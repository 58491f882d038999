"""Choice of a runtime: a module and example inputs in, one compiled callable out."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import get_args

import torch
from torch import Tensor, nn

from difffae.runtime.choice import Compile, compile_fastest
from difffae.runtime.eager import compile_eager
from difffae.runtime.inductor import compile_inductor
from difffae.runtime.network import (
    Network,
    Precision,
    RuntimeName,
    RuntimeUnavailableError,
    has_int8_instructions,
)
from difffae.runtime.openvino import OpenVinoConfig, compile_openvino
from difffae.runtime.quantization import Calibration
from difffae.runtime.tensorrt import compile_tensorrt, is_installed

_INT8 = "openvino-int8"

_logger = logging.getLogger(__name__)


def compile_network(
    module: nn.Module,
    example_inputs: tuple[Tensor, ...],
    *,
    runtime: RuntimeName = "auto",
    precision: Precision = "auto",
    num_threads: int = 2,
    calibration: Calibration | None = None,
) -> Network:
    """Make a module ready for repeated inference on inputs of fixed shapes.

    Args:
        module: Network to run; left as it is, so that it may be dropped afterwards.
        example_inputs: One batch of inputs in the shapes to come, on the device to run on.
        runtime: "auto" is the fastest that works here, measured once and remembered.
        precision: Type of convolutions and matrix products; results are float32 all the same.
            A network that cannot run in "int8" here runs as with "auto", after one log line.
        num_threads: Threads of one inference; for OpenVINO only, others use PyTorch's setting.
        calibration: What may be computed in 8-bit integers; None: nothing.

    Returns:
        A callable that takes tensors like ``example_inputs`` and gives what the module gives.

    Raises:
        RuntimeUnavailableError: If the runtime (with "auto": every runtime) cannot run the network.
        ValueError: If there are no inputs or the runtime is unknown.
    """
    if not example_inputs:
        raise ValueError("got no example inputs; expected at least one tensor")
    if runtime not in get_args(RuntimeName):
        raise ValueError(f"runtime is {runtime!r}; expected one of {get_args(RuntimeName)}")
    config = OpenVinoConfig(
        precision="auto" if precision == "int8" else precision, num_threads=num_threads
    )
    candidates = _candidates(module, example_inputs, runtime, config)
    name = type(module).__name__
    if _wants_int8(precision, calibration) and "openvino" in candidates:
        in_int8 = replace(config, precision="int8", calibration=calibration)
        compile_ = partial(compile_openvino, module, example_inputs, config=in_int8)
        candidates = {_INT8: compile_, **candidates}
    elif precision == "int8":
        _logger.warning("%s runs in bf16 or fp32: int8 needs OpenVINO and a calibration", name)
    if runtime != "auto" or (precision == "int8" and _INT8 in candidates):
        return _first_working(name, candidates)
    known = "" if calibration is None else calibration.digest
    return compile_fastest(module, example_inputs, candidates, (precision, str(num_threads), known))


def _wants_int8(precision: Precision, calibration: Calibration | None) -> bool:
    """Whether to try 8-bit integers: where asked for, or where they promise to be faster."""
    if calibration is None:
        return False
    return precision == "int8" or (precision == "auto" and has_int8_instructions())


def _candidates(
    module: nn.Module, inputs: tuple[Tensor, ...], runtime: RuntimeName, config: OpenVinoConfig
) -> dict[str, Compile]:
    """The runtimes to try in floating point, the best first.

    With "auto" TorchInductor is not tried on CPUs: it takes a minute to compile the bundled model,
    and was slower than OpenVINO. TensorRT, which builds for minutes, is tried where it is
    installed: it is an extra that its user asked for, and an engine is built once.
    """
    precision = config.precision
    every: dict[str, Compile] = {
        "openvino": partial(compile_openvino, module, inputs, config=config),
        "tensorrt": partial(compile_tensorrt, module, inputs, precision=precision),
        "inductor": partial(compile_inductor, module, inputs, precision=precision),
        "eager": partial(compile_eager, module, inputs, precision=precision),
    }
    if runtime != "auto":
        return {runtime: every[runtime]}
    return {name: every[name] for name in automatic_runtimes(inputs[0].device)}


def automatic_runtimes(device: torch.device) -> tuple[RuntimeName, ...]:
    """The runtimes that "auto" measures on a device, the last of which works everywhere."""
    if device.type == "cpu":
        return "openvino", "eager"
    return ("tensorrt", "inductor", "eager") if is_installed() else ("inductor", "eager")


def _first_working(name: str, candidates: Mapping[str, Compile]) -> Network:
    """Compile by the first candidate that can; one log line for each that cannot."""
    *others, last = candidates
    for runtime in others:
        try:
            return candidates[runtime]()
        except RuntimeUnavailableError as error:
            _logger.warning("%s; %s runs by another one than %s", error, name, runtime)
    return candidates[last]()
