"""An SDP offer is looked through before anything is made for it."""

import re

from aiortc.sdp import MediaDescription, SessionDescription

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
    media = _media(sdp)
    directions = {one.direction for one in media if one.kind == "video" and one.port}
    if not directions & {"sendrecv", "sendonly"}:
        raise OfferError("the offer sends no video; add the camera's track before offering")


def check_viewer_offer(sdp: str) -> None:
    """Refuse what is no offer to play one video (draft-ietf-wish-whep-03, section 4).

    Raises:
        OfferError: not SDP, not one video and at most one sound to receive, or no encryption.
    """
    media = _media(sdp)
    kinds = [one.kind for one in media]
    if kinds.count("video") != 1 or kinds.count("audio") != len(kinds) - 1 or len(kinds) > 2:
        raise OfferError("offer to receive one video and at most one sound, and nothing else")
    if any(one.direction not in ("recvonly", "sendrecv") or not one.port for one in media):
        raise OfferError("the offer does not receive; make it recvonly")


def _media(sdp: str) -> list[MediaDescription]:
    """The sections of an offer that WebRTC made."""
    if sdp.count("a=candidate:") > MAX_CANDIDATES or len(re.findall(r"(?m)^m=", sdp)) > MAX_MEDIA:
        raise OfferError(
            f"the offer is too long; send at most {MAX_CANDIDATES} candidates and {MAX_MEDIA} media"
        )
    try:
        media: list[MediaDescription] = SessionDescription.parse(sdp).media
        is_encrypted = all(one.dtls and one.dtls.fingerprints for one in media)
        has_ice = all(one.ice and one.ice.usernameFragment and one.ice.password for one in media)
    except Exception as error:  # the parser raises whatever a damaged line leads to
        raise OfferError("the offer is not SDP that can be read") from error
    if not is_encrypted or not has_ice:
        raise OfferError("the offer has no ICE or DTLS parameters; make it with WebRTC")
    return media


def ufrags(text: str) -> set[str]:
    """The ICE user fragments named in an offer or a trickled fragment."""
    return set(re.findall(r"(?m)^a=ice-ufrag:(\S+)\s*$", text))
