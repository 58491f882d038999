"""What every runtime agrees on: the callable it returns, its precision, how it declines."""

import platform
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

Network = Callable[..., Tensor | tuple[Tensor, ...]]
"""Tensors in the shapes of the example inputs -> a tensor, or a tuple where the module gives one.

Floating-point results are float32 and belong to the caller: the next call leaves them alone.
One network serves one thread at a time.
"""

Precision = Literal["auto", "int8", "bf16", "fp32"]
"""Type of convolutions and matrix products.

"auto" is bf16 where the hardware multiplies it, or int8 where that is calibrated, right and faster.
"""

RuntimeName = Literal["auto", "eager", "inductor", "openvino"]


class RuntimeUnavailableError(ValueError):
    """A runtime that cannot run this network on this machine."""


class NeverAvailableError(RuntimeUnavailableError):
    """A runtime that will never run this network here, unless versions or files change."""


def is_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether a network on ``device`` is to compute in bfloat16; for "int8", what is left of it."""
    if precision in ("bf16", "fp32"):
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and _has_bf16_instructions()


def check_inputs(inputs: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]) -> None:
    """Refuse inputs that are not in the shapes a network was compiled for.

    Raises:
        ValueError: If the number of inputs or a shape differs.
    """
    got = [tuple(tensor.shape) for tensor in inputs]
    if got != list(shapes):
        raise ValueError(
            f"got inputs of shapes {got}, expected {list(shapes)}; "
            "compile the network again for other shapes"
        )


def has_int8_instructions() -> bool:
    """Whether the CPU sums products of 8-bit integers without overflow (AVX512_VNNI)."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        return False
    return bool(torch.cpu._is_vnni_supported())


def _has_bf16_instructions() -> bool:
    """Whether the CPU multiplies bfloat16 itself (AVX512_BF16, AMX or Arm's BF16)."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        return False
    return bool(torch.cpu._is_avx512_bf16_supported())
