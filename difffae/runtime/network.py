"""What every runtime agrees on: the callable it returns, its precision, how it declines."""

import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import torch
from torch import Tensor

Network = Callable[..., Tensor | tuple[Tensor, ...]]
"""Tensors in the shapes of the example inputs -> a tensor, or a tuple where the module gives one.

Floating-point results are float32 and belong to the caller: the next call leaves them alone.
One network serves one thread at a time.
"""

Precision = Literal["auto", "int8", "bf16", "fp16", "fp32"]
"""Type of convolutions and matrix products.

"auto" is bf16 where the hardware multiplies it, or int8 where that is calibrated, right and faster;
fp16 in TensorRT, and on GPUs that multiply it but not bf16. "fp16" is for CUDA devices only.
"""

RuntimeName = Literal["auto", "eager", "inductor", "openvino", "tensorrt"]


_TYPES: Final[Mapping[str, torch.dtype | None]] = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": None,
}
_FIRST_TENSOR_CORES = (7, 0)  # compute capability of the first GPUs that multiply fp16 faster


class RuntimeUnavailableError(ValueError):
    """A runtime that cannot run this network on this machine."""


class NeverAvailableError(RuntimeUnavailableError):
    """A runtime that will never run this network here, unless versions or files change."""


def half_type(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The 16-bit type that a network on ``device`` is to compute in, or None for float32.

    For "int8" it is that of whatever is not computed in integers.

    Raises:
        ValueError: "fp16" is asked for on another device than a GPU.
    """
    if precision == "fp16" and device.type != "cuda":
        raise ValueError(
            f"precision is 'fp16' on {device}; expected 'auto', 'int8', 'bf16' or 'fp32' there: "
            "half precision is for CUDA devices"
        )
    if precision in _TYPES:
        return _TYPES[precision]
    if device.type == "cuda":
        return _half_type_of_gpu(device)
    return torch.bfloat16 if device.type == "cpu" and _has_bf16_instructions() else None


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


def _half_type_of_gpu(device: torch.device) -> torch.dtype | None:
    """bf16 where a GPU multiplies it, for its range; else fp16 where it has tensor cores."""
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    has_tensor_cores = torch.cuda.get_device_capability(device) >= _FIRST_TENSOR_CORES
    return torch.float16 if has_tensor_cores else None


def _has_bf16_instructions() -> bool:
    """Whether the CPU multiplies bfloat16 itself (AVX512_BF16, AMX or Arm's BF16)."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        return False
    return bool(torch.cpu._is_avx512_bf16_supported())
