"""TorchInductor: the module compiled to fused kernels for its fixed shapes, weights frozen in."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from difffae.runtime.eager import arrange, arrange_module, autocast
from difffae.runtime.network import (
    Network,
    Precision,
    RuntimeUnavailableError,
    check_inputs,
    half_type,
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
            "it needs a C++ compiler (g++), and Triton on CUDA; choose another runtime where "
            "these are missing"
        ) from error
    return network


class InductorNetwork:
    """A module compiled by TorchInductor on its first call; on CUDA replayed as a CUDA graph."""

    def __init__(
        self, module: nn.Module, example_inputs: tuple[Tensor, ...], *, precision: Precision
    ) -> None:
        self._device = example_inputs[0].device
        self._half = half_type(precision, self._device)
        self._shapes = [tuple(tensor.shape) for tensor in example_inputs]
        network = arrange_module(module, self._device)
        self._compiled = torch.compile(
            network, dynamic=False, options=inductor_options(self._device)
        )

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the network once; the first call compiles it.

        The results are copies: a CUDA graph writes every call's into the same memory.
        """
        check_inputs(inputs, self._shapes)
        # For tensors of inference mode it would be compiled once more, at the first frame.
        with torch.inference_mode(False), torch.no_grad(), autocast(self._device, self._half):
            arranged = [arrange(_without_inference(tensor), self._device) for tensor in inputs]
            return _copied(self._compiled(*arranged))


def inductor_options(device: torch.device) -> dict[str, str | int | bool | Callable[..., Any]]:
    """TorchInductor's options for a device.

    A CUDA graph launches all kernels at once. Graphs are not kept in trees: those belong to the
    thread that compiled (pytorch/pytorch issue 123177), and a stream's pictures are painted in
    another.
    """
    if device.type != "cuda":
        return {"freezing": True}
    return {"freezing": True, "triton.cudagraphs": True, "triton.cudagraph_trees": False}


def first_line(error: BaseException) -> str:
    """First line of an error's text, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _without_inference(tensor: Tensor) -> Tensor:
    return tensor.clone() if tensor.is_inference() else tensor


def _copied(outputs: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    """Results in memory of their own, floating-point ones as float32."""
    if isinstance(outputs, Tensor):
        return _copied_one(outputs)
    return tuple(_copied_one(output) for output in outputs)


def _copied_one(output: Tensor) -> Tensor:
    return output.to(torch.float32 if output.is_floating_point() else output.dtype, copy=True)
