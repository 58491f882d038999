"""The "control" data channel of a connection, and how much a client may do with data channels."""

import logging
from collections.abc import Callable

from aiortc import RTCDataChannel, RTCSctpTransport
from aiortc.rtcsctptransport import DataChunk

_LOGGER = logging.getLogger(__name__)
CHANNEL = "control"
MOST_UNSENT_BYTES = 256 * 2**10
MOST_REFUSED = 16
MOST_STREAMS = 32
MOST_FRAGMENTS = 4096
MOST_UNFINISHED_BYTES = 256 * 2**10
_CREDIT_BYTES = 2**20  # what aiortc lets a sender have on the way
_RECEIVE = "_receive_data_chunk"
_STREAMS = "_inbound_streams"
_CREDIT = "_advertised_rwnd"


class ControlChannel:
    """Takes the client's first channel of that label; closes all others.

    Args:
        on_message: told of every message, in order.
        on_abuse: told, in a sentence, what no honest client does; the connection should end.
    """

    def __init__(
        self,
        on_message: Callable[[str | bytes], None] | None,
        on_abuse: Callable[[str], None],
    ) -> None:
        self._on_message = on_message
        self._on_abuse = on_abuse
        self._channel: RTCDataChannel | None = None
        self._num_refused = 0

    def take(self, channel: RTCDataChannel) -> None:
        """Take or close a channel that the client opened."""
        if channel.label == CHANNEL and self._channel is None:
            self._channel = channel
            channel.on("message", self._on_text)
            return
        self._num_refused += 1
        if self._num_refused > MOST_REFUSED:
            self._on_abuse("Too many data channels were opened.")
        else:
            channel.close()

    def send(self, text: str) -> bool:
        """Send a text; whether the channel was open and the client keeps up with reading."""
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return False
        if channel.bufferedAmount > MOST_UNSENT_BYTES:
            return False
        channel.send(text)
        return True

    def _on_text(self, message: str | bytes) -> None:
        if self._on_message is None:
            return
        try:
            self._on_message(message)
        except Exception:
            _LOGGER.exception("a message could not be handled")


def limit_unfinished(transport: RTCSctpTransport, on_abuse: Callable[[str], None]) -> bool:
    """Bound what waits for the rest of a message (RFC 4960 section 6.9), and end on nonsense.

    aiortc tells a sender how much it may have on the way, takes in whatever comes all the same, and
    looks through all of it with every fragment. A text that is no UTF-8, and a channel opened in
    a wrong way, end the connection without a word there; here, with one.

    Args:
        transport: of a connection on which nothing was received yet.
        on_abuse: told once, in a sentence; from then on nothing more is taken in.

    Returns:
        Whether it was done; where aiortc is not built as expected, it stays as it is and one line
        in the log says so.
    """
    if not all(hasattr(transport, name) for name in (_RECEIVE, _STREAMS, _CREDIT)):
        _LOGGER.warning("unfinished messages are not bounded: this aiortc is built in another way")
        return False
    receive = getattr(transport, _RECEIVE)
    is_over = False

    async def receive_bounded(chunk: DataChunk) -> None:
        nonlocal is_over
        if is_over:
            return
        try:
            await receive(chunk)
            is_over = _is_excessive(transport, chunk.stream_id)
        except Exception as error:
            is_over = True
            _LOGGER.info("what came on a data channel cannot be read: %.200r", error)
        if is_over:
            on_abuse("What was sent on a data channel cannot be read, or has no end.")

    setattr(transport, _RECEIVE, receive_bounded)
    return True


def _is_excessive(transport: RTCSctpTransport, stream_id: int) -> bool:
    streams = getattr(transport, _STREAMS)
    stream = streams.get(stream_id)
    return (
        len(streams) > MOST_STREAMS
        or _CREDIT_BYTES - getattr(transport, _CREDIT) > MOST_UNFINISHED_BYTES
        or (stream is not None and len(stream.reassembly) > MOST_FRAGMENTS)
    )
