"""TorchInductor: the module compiled to fused kernels for its fixed shapes, weights frozen in."""

import torch
from torch import Tensor, nn

from difffae.runtime.eager import arrange, arrange_module, as_float32
from difffae.runtime.network import (
    Network,
    Precision,
    RuntimeUnavailableError,
    check_inputs,
    is_bf16,
)


def compile_inductor(
    module: nn.Module, example_inputs: tuple[Tensor, ...], *, precision: Precision = "auto"
) -> Network:
    """Compile a module for the shapes of its example inputs, here and now.

    Args:
        module: Network to run; left as it is.
        example_inputs: One batch of inputs in the shapes to come, on the device to run on.
        precision: Type of convolutions and matrix products.

    Raises:
        RuntimeUnavailableError: If there is no C++ compiler or the compiler gives up.
    """
    network = InductorNetwork(module, example_inputs, precision=precision)
    try:
        network(*example_inputs)
    except RuntimeError as error:
        raise RuntimeUnavailableError(
            f"inductor cannot compile {type(module).__name__}: {first_line(error)}; "
            "it needs a C++ compiler (g++); choose another runtime where there is none"
        ) from error
    return network


class InductorNetwork:
    """A module compiled by TorchInductor on its first call."""

    def __init__(
        self, module: nn.Module, example_inputs: tuple[Tensor, ...], *, precision: Precision
    ) -> None:
        self._device = example_inputs[0].device
        self._is_bf16 = is_bf16(precision, self._device)
        self._shapes = [tuple(tensor.shape) for tensor in example_inputs]
        network = arrange_module(module, self._device)
        self._compiled = torch.compile(network, dynamic=False, options={"freezing": True})

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the network once; the first call compiles it."""
        check_inputs(inputs, self._shapes)
        arranged = [arrange(tensor, self._device) for tensor in inputs]
        with (
            torch.no_grad(),
            torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._is_bf16),
        ):
            outputs = self._compiled(*arranged)
            return as_float32(outputs)


def first_line(error: BaseException) -> str:
    """First line of an error's text, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
