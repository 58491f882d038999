"""Keeps a thread's alternate signal stack as it was while a library is being started.

OpenVINO 2026.4 gives the thread that makes its CPU plugin a signal stack of its own and unmaps it
with the plugin, but takes it back from that thread only if the same one ends the plugin. Python's
handlers run on the alternate stack: the next Ctrl-C was a segmentation fault.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """`stack_t` of sigaltstack(2) on Linux."""

    _fields_ = (
        ("ss_sp", ctypes.c_void_p),
        ("ss_flags", ctypes.c_int),
        ("ss_size", ctypes.c_size_t),
    )


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Put the calling thread's alternate signal stack back after the body; Linux only."""
    if sys.platform != "linux":
        yield
        return
    library = ctypes.CDLL(None)
    before = _Stack()
    is_known = library.sigaltstack(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if is_known:
            library.sigaltstack(ctypes.byref(before), None)
