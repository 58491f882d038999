"""Runtimes: a network and example inputs in, one fast callable out."""

from difffae.runtime.compile import Request, compile_network, compile_together
from difffae.runtime.network import Network, Precision, RuntimeName, RuntimeUnavailableError
from difffae.runtime.turns import TakingTurns

__all__ = [
    "Network",
    "Precision",
    "Request",
    "RuntimeName",
    "RuntimeUnavailableError",
    "TakingTurns",
    "compile_network",
    "compile_together",
]
