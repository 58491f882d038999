"""Runtimes: a network and example inputs in, one fast callable out."""

from difffae.runtime.compile import compile_network
from difffae.runtime.network import Network, Precision, RuntimeName, RuntimeUnavailableError

__all__ = [
    "Network",
    "Precision",
    "RuntimeName",
    "RuntimeUnavailableError",
    "compile_network",
]
