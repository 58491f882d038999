"""Ends an aiortc connection whatever state it is in, so that no socket of it stays open."""

import asyncio
import contextlib
import logging

from aiortc import RTCPeerConnection

_LOGGER = logging.getLogger(__name__)
PATIENCE_S = 3.0
_PART_S = 0.5


async def end_connection(connection: RTCPeerConnection, patience_s: float = PATIENCE_S) -> None:
    """Close a connection; one that does not close by itself is taken apart by hand.

    So it is where an offer's parts could not be put together, and where aiortc waits for a task of
    its own that has failed, as that of its reports does over two hundred senders.

    Args:
        connection: in any state.
        patience_s: how long its own way of closing may take.
    """
    try:
        async with asyncio.timeout(patience_s):
            await connection.close()
    except Exception as error:
        _LOGGER.warning("a connection did not close by itself: %.200r", error)
        await _take_apart(connection)


async def _take_apart(connection: RTCPeerConnection) -> None:
    transports = [one.receiver.transport for one in connection.getTransceivers()]
    if connection.sctp is not None:
        transports.append(connection.sctp.transport)
    parts = [each for one in connection.getTransceivers() for each in (one.sender, one.receiver)]
    ices = [one.transport for one in transports if one is not None]
    for part in (*parts, *transports, *ices):
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_PART_S):
                await part.stop()
