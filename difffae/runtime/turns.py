"""One compiled network for several threads."""

from threading import Lock

from torch import Tensor

from difffae.runtime.network import Network


class TakingTurns:
    """A compiled network that several threads may call; its buffers serve one at a time."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._turn = Lock()

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """See `Network`."""
        with self._turn:
            return self._network(*inputs)
