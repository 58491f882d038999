"""A library that takes a thread's signal stack away gives it back."""

import ctypes
import mmap
import sys
import threading
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn

from difffae.runtime.openvino import compile_openvino
from difffae.runtime.signal_stack import _Stack, kept_signal_stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sigaltstack(2) of Linux")
needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO")


def signal_stack() -> int | None:
    """Address of this thread's alternate signal stack; None where it has none."""
    stack = _Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    address: int | None = stack.ss_sp
    return address


def in_new_thread(work: list[object]) -> None:
    """Fill `work` with what a thread saw that has no signal stack at first."""

    def run() -> None:
        memory = mmap.mmap(-1, 1 << 17)
        place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        with kept_signal_stack():
            given = _Stack(ss_sp=place, ss_flags=0, ss_size=1 << 17)
            assert ctypes.CDLL(None).sigaltstack(ctypes.byref(given), None) == 0
            work.append(signal_stack() == place)
        work.append(signal_stack())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def test_a_stack_that_the_body_sets_is_taken_away_again() -> None:
    seen: list[object] = []
    in_new_thread(seen)
    assert seen == [True, None]


@needs_openvino
@pytest.mark.usefixtures("warm_cache")
def test_compiling_by_openvino_leaves_the_signal_stack_alone(
    one_head: nn.Module, image: Tensor
) -> None:
    before = signal_stack()
    network = compile_openvino(one_head, (image,))
    assert signal_stack() == before
    assert isinstance(network(image), torch.Tensor)
    assert signal_stack() == before
