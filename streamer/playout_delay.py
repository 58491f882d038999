"""Has the browser show each frame as it comes, where it would hold it back to play evenly.

A receiver keeps a jitter buffer of some 70 ms even on a perfect line. The RTP header extension
playout-delay (http://www.webrtc.org/experiments/rtp-hdrext/playout-delay) names the least and the
most that the sender wants: twelve bits each, in 10 ms. Zero for both says: at once. aiortc knows
the extension neither in its answers nor in its packets; both are added here, and only where the
client offered it.
"""

import logging

from aiortc import RTCRtpSender, RTCRtpTransceiver
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import (
    HeaderExtensions,
    HeaderExtensionsMap,
    pack_header_extensions,
    unpack_header_extensions,
)
from aiortc.sdp import SessionDescription

_LOGGER = logging.getLogger(__name__)
URI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
AT_ONCE = bytes(3)
_MAP = "_RTCRtpSender__rtp_header_extensions_map"
_LAST_SHORT_ID = 14  # RFC 8285 section 4.2: the form of header that every receiver must take


class PlayoutDelayMap(HeaderExtensionsMap):
    """aiortc's map of what is in a packet's header, and the playout delay on top of it."""

    def __init__(self) -> None:
        super().__init__()
        self._playout_delay: int | None = None

    def configure(self, parameters: RTCRtpParameters) -> None:
        """Learn the negotiated numbers of the extensions."""
        super().configure(parameters)
        for extension in parameters.headerExtensions:
            if extension.uri == URI:
                self._playout_delay = extension.id

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        """Profile and content of a packet's header extension."""
        profile, content = super().set(values)
        if self._playout_delay is None:
            return profile, content
        others = unpack_header_extensions(profile, content)
        return pack_header_extensions([*others, (self._playout_delay, AT_ONCE)])


def show_at_once(transceiver: RTCRtpTransceiver, offer_sdp: str) -> bool:
    """Take the extension into the answer and into the packets, where the offer has it.

    Args:
        transceiver: of the video, after the offer was set and before the answer is made.
        offer_sdp: that was set.

    Returns:
        Whether it was done; where aiortc is not built as expected, it stays as it is and one line
        in the log says so.
    """
    offered = _offered(offer_sdp)
    if offered is None or offered.id > _LAST_SHORT_ID:
        return False
    if not _is_as_expected(transceiver):
        _LOGGER.warning("browsers hold frames back: this aiortc sends in another way")
        return False
    setattr(transceiver.sender, _MAP, PlayoutDelayMap())
    if offered not in transceiver._headerExtensions:
        transceiver._headerExtensions.append(offered)
    return True


def _offered(offer_sdp: str) -> RTCRtpHeaderExtensionParameters | None:
    for media in SessionDescription.parse(offer_sdp).media:
        for extension in media.rtp.headerExtensions:
            if media.kind == "video" and extension.uri == URI:
                return extension
    return None


def _is_as_expected(transceiver: RTCRtpTransceiver) -> bool:
    """Whether the sender is aiortc's own and has not begun to send."""
    sends = getattr(getattr(RTCRtpSender, "_run_rtp", None), "__code__", None)
    learns = getattr(getattr(RTCRtpSender, "send", None), "__code__", None)
    return (
        sends is not None
        and learns is not None
        and _MAP in sends.co_names
        and _MAP in learns.co_names
        and type(getattr(transceiver.sender, _MAP, None)) is HeaderExtensionsMap
        and isinstance(getattr(transceiver, "_headerExtensions", None), list)
        and not getattr(transceiver.sender, "_RTCRtpSender__started", True)
    )
