"""Asks a sender for lost packets until they come.

aiortc asks for a missing packet when it notices the gap, and again only with the next gap: after
the last loss of a bad spell nobody asks any more, and the picture waits until it is given up.
"""

import logging
import time
from collections.abc import Callable

from aiortc import RTCRtpReceiver
from aiortc.rtcrtpreceiver import NackGenerator
from aiortc.rtp import RtpPacket
from aiortc.utils import uint16_add

_LOGGER = logging.getLogger(__name__)
_HALF = 1 << 15
AGAIN_S = 0.1
_NACKS = "_RTCRtpReceiver__nack_generator"


class PersistentNacks(NackGenerator):
    """Asks for missing packets (NACK, RFC 4585 section 6.2.1) until they come or are given up.

    Args:
        start: sequence number of the oldest packet that is still wanted; None before the first.
        again_s: between two requests for the same packets.
        clock: `time.monotonic`, or another in tests.
    """

    def __init__(
        self,
        start: Callable[[], int | None],
        *,
        again_s: float = AGAIN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._start = start
        self._again_s = again_s
        self._clock = clock
        self._asked_s = 0.0

    def add(self, packet: RtpPacket) -> bool:
        """Note a packet; whether to ask for all that is missing now."""
        is_new = super().add(packet)
        start = self._start()
        if start is not None and self.missing:
            self.missing = {one for one in self.missing if uint16_add(one, -start) < _HALF}
        if not self.missing:
            return False
        now_s = self._clock()
        if not is_new and now_s - self._asked_s < self._again_s:
            return False
        self._asked_s = now_s
        return True


def ask_until_given_up(receiver: RTCRtpReceiver, start: Callable[[], int | None]) -> bool:
    """Make a video receiver that has received nothing yet ask for packets again and again.

    Args:
        receiver: of a peer connection.
        start: see `PersistentNacks`.

    Returns:
        Whether it was done; where aiortc is not built as expected, it stays as it is and one line
        in the log says so.
    """
    handler = getattr(getattr(type(receiver), "_handle_rtp_packet", None), "__code__", None)
    is_known = handler is not None and _NACKS in handler.co_names
    if not is_known or type(getattr(receiver, _NACKS, None)) is not NackGenerator:
        _LOGGER.warning("lost packets are asked for once: this aiortc asks in another way")
        return False
    setattr(receiver, _NACKS, PersistentNacks(start))
    return True
