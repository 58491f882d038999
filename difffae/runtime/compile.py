"""Choice of a runtime: a module and example inputs in, one compiled callable out."""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import get_args

import torch
from torch import Tensor, nn

from difffae.runtime.choice import Compile, compile_fastest, compile_known
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


@dataclass(frozen=True, kw_only=True)
class Request:
    """A network to be made ready.

    Attributes:
        module: Network to run; left as it is, so that it may be dropped afterwards.
        example_inputs: One batch of inputs in the shapes to come, on the device to run on.
        runtime: "auto" is the fastest that works here, measured once and remembered.
        precision: Type of convolutions and matrix products; results are float32 all the same.
            A network that cannot run in "int8" here runs as with "auto", after one log line.
        num_threads: Threads of one inference; for OpenVINO only, others use PyTorch's setting.
        calibration: What may be computed in 8-bit integers; None: nothing.
    """

    module: nn.Module
    example_inputs: tuple[Tensor, ...]
    runtime: RuntimeName = "auto"
    precision: Precision = "auto"
    num_threads: int = 2
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: If there are no inputs or the runtime is unknown.
        """
        if not self.example_inputs:
            raise ValueError("got no example inputs; expected at least one tensor")
        if self.runtime not in get_args(RuntimeName):
            raise ValueError(
                f"runtime is {self.runtime!r}; expected one of {get_args(RuntimeName)}"
            )


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
        module: See `Request`.
        example_inputs: See `Request`.
        runtime: See `Request`.
        precision: See `Request`.
        num_threads: See `Request`.
        calibration: See `Request`.

    Returns:
        A callable that takes tensors like ``example_inputs`` and gives what the module gives.

    Raises:
        RuntimeUnavailableError: If the runtime (with "auto": every runtime) cannot run the network.
        ValueError: If there are no inputs or the runtime is unknown.
    """
    request = Request(
        module=module,
        example_inputs=example_inputs,
        runtime=runtime,
        precision=precision,
        num_threads=num_threads,
        calibration=calibration,
    )
    return _compile(request)


def compile_together(requests: Mapping[str, Request]) -> dict[str, Network]:
    """Make several networks ready: at once where it is known which runtime is to run them.

    The others follow one by one, so that none is measured beside work.

    Args:
        requests: By names of the caller's.

    Raises:
        RuntimeUnavailableError: See `compile_network`.
    """
    with ThreadPoolExecutor(len(requests)) as beside:
        known = dict(zip(requests, beside.map(_compile_known, requests.values()), strict=True))
    return {name: known[name] or _compile(request) for name, request in requests.items()}


def _compile(request: Request) -> Network:
    candidates, is_open = _candidates_of(request)
    name = type(request.module).__name__
    if request.precision == "int8" and _INT8 not in candidates:
        _logger.warning("%s runs in bf16 or fp32: int8 needs OpenVINO and a calibration", name)
    if not is_open:
        return _first_working(name, candidates)
    return compile_fastest(request.module, request.example_inputs, candidates, _settings(request))


def _compile_known(request: Request) -> Network | None:
    candidates, is_open = _candidates_of(request)
    if not is_open:
        return None
    return compile_known(request.module, request.example_inputs, candidates, _settings(request))


def _settings(request: Request) -> tuple[str, ...]:
    """What the times of runtimes depend on."""
    known = "" if request.calibration is None else request.calibration.digest
    return request.precision, str(request.num_threads), known


def _candidates_of(request: Request) -> tuple[dict[str, Compile], bool]:
    """The runtimes to try, and whether the fastest is to be chosen, or the first that works."""
    config = OpenVinoConfig(
        precision="auto" if request.precision == "int8" else request.precision,
        num_threads=request.num_threads,
    )
    module, inputs = request.module, request.example_inputs
    candidates = _candidates(module, inputs, request.runtime, config)
    if _wants_int8(request.precision, request.calibration) and "openvino" in candidates:
        in_int8 = replace(config, precision="int8", calibration=request.calibration)
        compile_ = partial(compile_openvino, module, inputs, config=in_int8)
        candidates = {_INT8: compile_, **candidates}
    is_fixed = request.precision == "int8" and _INT8 in candidates
    return candidates, request.runtime == "auto" and not is_fixed


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
