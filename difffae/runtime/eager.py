"""Eager PyTorch, arranged for inference: channels last, no autograd, 16 bits where that is fast."""

import copy

import torch
from torch import Tensor, nn

from difffae.runtime.network import Network, Precision, check_inputs, half_type


def compile_eager(
    module: nn.Module, example_inputs: tuple[Tensor, ...], *, precision: Precision = "auto"
) -> Network:
    """Copy a module to the inputs' device and arrange it for inference; always available.

    Args:
        module: Network to run; left as it is.
        example_inputs: One batch of inputs in the shapes to come, on the device to run on.
        precision: Type of convolutions and matrix products.
    """
    return EagerNetwork(module, example_inputs, precision=precision)


class EagerNetwork:
    """A module ready for inference on one device.

    In 16 bits only convolutions and matrix products change their type (autocast), so that
    what needs the range of float32, such as the phases of a timestep embedding, keeps it.
    """

    def __init__(
        self, module: nn.Module, example_inputs: tuple[Tensor, ...], *, precision: Precision
    ) -> None:
        self._device = example_inputs[0].device
        self._half = half_type(precision, self._device)
        self._shapes = [tuple(tensor.shape) for tensor in example_inputs]
        self._network = arrange_module(module, self._device)

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the network once."""
        check_inputs(inputs, self._shapes)
        arranged = [arrange(tensor, self._device) for tensor in inputs]
        with (
            torch.inference_mode(),
            autocast(self._device, self._half),
        ):
            outputs = self._network(*arranged)
            return as_float32(outputs)


def autocast(device: torch.device, half: torch.dtype | None) -> torch.autocast:
    """Let convolutions and matrix products run in a 16-bit type; None: leave them as they are."""
    return torch.autocast(device.type, dtype=half or torch.bfloat16, enabled=half is not None)


def arrange_module(module: nn.Module, device: torch.device) -> nn.Module:
    """Copy a module to a device, without gradients, its convolutions with channels last."""
    network = copy.deepcopy(module).eval().requires_grad_(False).to(device)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def arrange(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to a device, images and feature maps with channels last in memory.

    Pictures, which are integers, have them last already.
    """
    if tensor.ndim == 4 and tensor.is_floating_point():
        return tensor.to(device, memory_format=torch.channels_last)
    return tensor.to(device)


def as_float32(outputs: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    """Cast half-precision results to float32; leave integers and masks alone."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.is_floating_point() else outputs
    return tuple(output.float() if output.is_floating_point() else output for output in outputs)
