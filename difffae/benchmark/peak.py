"""What this machine's convolutions can do at most: a type and threads in, FLOPs a second out.

Measured by wide 3×3 convolutions of PyTorch, which keep the arithmetic units busier than any whole
network does: the yardstick for networks measured in the same run.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

Kind = Literal["fp32", "bf16"]

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_KERNEL = 3
_SHAPES = ((128, 128), (256, 64), (512, 32))  # channels in and out, side: as wide as networks get
_NUM_WARM_UPS = 2


def conv_peak(
    kind: Kind,
    *,
    num_threads: int | None = None,
    seconds: float = 1.0,
    shapes: tuple[tuple[int, int], ...] = _SHAPES,
) -> float:
    """The most FLOPs a second of one convolution; a multiply-add is two.

    Args:
        kind: type of the numbers.
        num_threads: to compute on; None: every core that this process may use.
        seconds: to repeat each shape for; the fastest repetition counts.
        shapes: (channels, side) of the square feature maps to try.

    Raises:
        ValueError: there is no shape, or no time.
    """
    if not shapes or seconds <= 0:
        raise ValueError(f"got {shapes=} and {seconds=}; expected a shape and a time above 0")
    with _threads(num_threads or len(os.sched_getaffinity(0))), torch.inference_mode():
        return max(_flops_a_second(_TYPES[kind], *shape, seconds) for shape in shapes)


def conv_flops(channels: int, side: int) -> int:
    """Of one 3×3 convolution that keeps channels and size, at batch 1."""
    return 2 * _KERNEL**2 * channels**2 * side**2


def _flops_a_second(dtype: torch.dtype, channels: int, side: int, seconds: float) -> float:
    features = _random((1, channels, side, side), dtype)
    weights = _random((channels, channels, _KERNEL, _KERNEL), dtype)
    best_s, count, end_s = float("inf"), 0, time.perf_counter() + seconds
    while count <= _NUM_WARM_UPS or time.perf_counter() < end_s:
        begun_s = time.perf_counter()
        F.conv2d(features, weights, padding=1)
        took_s = time.perf_counter() - begun_s
        best_s = min(best_s, took_s) if count >= _NUM_WARM_UPS else best_s
        count += 1
    return conv_flops(channels, side) / best_s


def _random(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.randn(shape).to(dtype).to(memory_format=torch.channels_last)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak(seconds: float = 1.0) -> None:
    """Print how many FLOPs a second wide 3×3 convolutions reach here, in fp32 and in bf16.

    Args:
        seconds: for each of three shapes; the fastest repetition of the fastest shape counts.
    """
    out = Console(soft_wrap=True, markup=False, highlight=False)
    for kind in get_args(Kind):
        out.print(f"{kind}: {conv_peak(kind, seconds=seconds) / 1e9:.1f} GFLOP/s")
