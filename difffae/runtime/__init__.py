"""Runtimes: a network and example inputs in, one fast callable out."""

from difffae.runtime.compile import Request, compile_network, compile_together
from difffae.runtime.network import Network, Precision, RuntimeName, RuntimeUnavailableError

__all__ = [
    "Network",
    "Precision",
    "Request",
    "RuntimeName",
    "RuntimeUnavailableError",
    "compile_network",
    "compile_together",
]
