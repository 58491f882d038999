"""Where and how networks lie in memory: modules in, the same modules channels-last on a device."""

from typing import Any

import torch
from torch import Tensor, nn


def place(module: nn.Module, device: torch.device, *, is_channels_last: bool = True) -> None:
    """Move a module to a device, 4-D weights channels-last, safe to train on a CPU.

    Sharding (FSDP) takes weights in their own order only: there `is_channels_last` is False.

    torch 2.13's CPU backward of GroupNorm writes through a null pointer where its channels-last
    input needs no gradient but its gain does; such inputs are made to need one.
    """
    if is_channels_last:
        module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    else:
        module.to(device)
    if device.type != "cpu":
        return
    for part in module.modules():
        if isinstance(part, nn.GroupNorm):
            part.register_forward_pre_hook(_with_gradient)


def _with_gradient(norm: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    picture = arguments[0]
    is_trained = torch.is_grad_enabled() and any(w.requires_grad for w in norm.parameters())
    if is_trained and isinstance(picture, Tensor) and not picture.requires_grad:
        return (picture.detach().requires_grad_(), *arguments[1:])
    return arguments
