"""An SDP offer is looked through before anything is made for it."""

import re

from aiortc.sdp import SessionDescription

from streamer.errors import StreamerError

MAX_MEDIA = 8
MAX_CANDIDATES = 64


class OfferError(StreamerError):
    """An SDP offer that cannot be answered."""


def check_offer(sdp: str) -> None:
    """Refuse what the media stack could not, or should not, work with.

    Raises:
        OfferError: not SDP, no camera video to receive, no encryption, or too much of anything.
    """
    if sdp.count("a=candidate:") > MAX_CANDIDATES or len(re.findall(r"(?m)^m=", sdp)) > MAX_MEDIA:
        raise OfferError(
            f"the offer is too long; send at most {MAX_CANDIDATES} candidates and {MAX_MEDIA} media"
        )
    try:
        parsed = SessionDescription.parse(sdp)
        media = [one for one in parsed.media if one.kind == "video" and one.port]
        directions = {one.direction for one in media}
        is_encrypted = all(one.dtls and one.dtls.fingerprints for one in parsed.media)
        has_ice = all(
            one.ice and one.ice.usernameFragment and one.ice.password for one in parsed.media
        )
    except Exception as error:  # the parser raises whatever a damaged line leads to
        raise OfferError("the offer is not SDP that can be read") from error
    if not directions & {"sendrecv", "sendonly"}:
        raise OfferError("the offer sends no video; add the camera's track before offering")
    if not is_encrypted or not has_ice:
        raise OfferError("the offer has no ICE or DTLS parameters; make it with WebRTC")


def ufrags(text: str) -> set[str]:
    """The ICE user fragments named in an offer or a trickled fragment."""
    return set(re.findall(r"(?m)^a=ice-ufrag:(\S+)\s*$", text))
