"""When cycles of objects are looked for: not while loading, and where sessions end.

A connection is a web of objects that refer to one another, with codecs and pictures in it: only the
collector of cycles ends it, which visits old objects rarely. And what is freed then stays with
the C library, scattered over the arenas of threads long gone.
"""

import ctypes
import gc
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGER = logging.getLogger(__name__)


@contextmanager
def without_collections() -> Iterator[None]:
    """Collect no cycles during the body, and never visit what it has made afterwards.

    Importing and loading a model makes a million objects that stay: visiting them over and over
    was a third of the time. What the body leaves behind in cycles is not freed.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def set_apart() -> None:
    """Take all that is there now out of the collector's sight: libraries, code, configuration.

    To be called once, when a server is ready; from then on a collection visits sessions only.
    """
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Collect cycles and give free memory back to the system; milliseconds after `set_apart`."""
    begun_s = time.perf_counter()
    num_found = gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
        if trim is not None:
            trim(0)
    _LOGGER.debug("%d objects given back in %.3f s", num_found, time.perf_counter() - begun_s)
