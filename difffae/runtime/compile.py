"""Choice of a runtime: a module and example inputs in, one compiled callable out."""

from functools import partial

from torch import Tensor, nn

from difffae.runtime.choice import Compile, compile_fastest
from difffae.runtime.eager import compile_eager
from difffae.runtime.inductor import compile_inductor
from difffae.runtime.network import (
    Network,
    Precision,
    RuntimeName,
)
from difffae.runtime.openvino import OpenVinoConfig, compile_openvino


def compile_network(
    module: nn.Module,
    example_inputs: tuple[Tensor, ...],
    *,
    runtime: RuntimeName = "auto",
    precision: Precision = "auto",
    num_threads: int = 2,
) -> Network:
    """Make a module ready for repeated inference on inputs of fixed shapes.

    Args:
        module: Network to run; left as it is, so that it may be dropped afterwards.
        example_inputs: One batch of inputs in the shapes to come, on the device to run on.
        runtime: "auto" is the fastest that works here, measured once and remembered.
        precision: Type of convolutions and matrix products; results are float32 all the same.
        num_threads: Threads of one inference; for OpenVINO only, others use PyTorch's setting.

    Returns:
        A callable that takes tensors like ``example_inputs`` and gives what the module gives.

    Raises:
        RuntimeUnavailableError: If the runtime (with "auto": every runtime) cannot run the network.
        ValueError: If there are no inputs or the runtime is unknown.
    """
    if not example_inputs:
        raise ValueError("got no example inputs; expected at least one tensor")
    match runtime:
        case "eager":
            return compile_eager(module, example_inputs, precision=precision)
        case "inductor":
            return compile_inductor(module, example_inputs, precision=precision)
        case "openvino" | "auto":
            config = OpenVinoConfig(precision=precision, num_threads=num_threads)
        case _:
            raise ValueError(
                f"runtime is {runtime!r}; expected 'auto', 'eager', 'inductor' or 'openvino'"
            )
    if runtime == "openvino":
        return compile_openvino(module, example_inputs, config=config)
    return _compile_best(module, example_inputs, config)


def _compile_best(
    module: nn.Module, example_inputs: tuple[Tensor, ...], config: OpenVinoConfig
) -> Network:
    """Compile by the fastest runtime here; see `difffae.runtime.choice`.

    Not tried on CPUs is TorchInductor: it takes a minute to compile the bundled model, and was
    slower than OpenVINO.
    """
    precision = config.precision
    eager = partial(compile_eager, module, example_inputs, precision=precision)
    candidates: dict[RuntimeName, Compile]
    if example_inputs[0].device.type == "cpu":
        openvino = partial(compile_openvino, module, example_inputs, config=config)
        candidates = {"openvino": openvino, "eager": eager}
    else:
        inductor = partial(compile_inductor, module, example_inputs, precision=precision)
        candidates = {"inductor": inductor, "eager": eager}
    return compile_fastest(module, example_inputs, candidates, (precision, str(config.num_threads)))
