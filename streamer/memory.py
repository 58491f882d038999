"""Gives the memory of ended sessions back, for a server that runs for months.

A connection is a web of objects that refer to one another, with codecs and pictures in it: only the
collector of cycles ends it, which visits old objects rarely. And what is freed then stays with
the C library, scattered over the arenas of threads long gone.
"""

import ctypes
import gc
import logging
import sys
import time

_LOGGER = logging.getLogger(__name__)


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
