"""Ends an aiortc connection whatever state it is in, so that no socket of it stays open."""

import contextlib
import logging

from aiortc import RTCPeerConnection

_LOGGER = logging.getLogger(__name__)


async def end_connection(connection: RTCPeerConnection) -> None:
    """Close a connection; one whose parts were never put together is taken apart by hand."""
    try:
        await connection.close()
    except Exception as error:
        _LOGGER.warning("a connection did not close by itself: %.200r", error)
        transports = [one.receiver.transport for one in connection.getTransceivers()]
        if connection.sctp is not None:
            transports.append(connection.sctp.transport)
        for transport in transports:
            with contextlib.suppress(Exception):
                await transport.stop()
            with contextlib.suppress(Exception):
                await transport.transport.stop()
