"""An SDP offer is looked through before anything is made for it."""

import re
from ipaddress import IPv6Address, ip_address

from aiortc import RTCIceCandidate
from aiortc.sdp import MediaDescription, SessionDescription

from streamer.errors import StreamerError

MAX_MEDIA = 8
MAX_CANDIDATES = 64
_LOCAL_NAME = re.compile(r"[0-9A-Za-z-]{1,63}\.local")


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
        session = SessionDescription.parse(sdp)
        media: list[MediaDescription] = session.media
        mids = [one.rtp.muxId for one in media]
        bundled = [mid for group in session.group for mid in group.items]
        is_encrypted = all(one.dtls and one.dtls.fingerprints for one in media)
        has_ice = all(one.ice and one.ice.usernameFragment and one.ice.password for one in media)
    except Exception as error:  # the parser raises whatever a damaged line leads to
        raise OfferError("the offer is not SDP that can be read") from error
    if not is_encrypted or not has_ice:
        raise OfferError("the offer has no ICE or DTLS parameters; make it with WebRTC")
    if len(set(mids)) < len(mids) or len(set(bundled)) < len(bundled) or set(bundled) - set(mids):
        raise OfferError("the offer names its sections wrongly; each has an a=mid of its own")
    for one in media:
        for candidate in one.ice_candidates:
            if candidate.protocol.lower() == "udp":
                check_candidate(candidate)
    return media


def check_candidate(candidate: RTCIceCandidate) -> None:
    """Refuse what no visitor's own address can be: checks are sent to whatever is let through.

    Raises:
        OfferError: another name than those of mDNS, all or many machines, a zone, or no port.
    """
    try:
        address = None if _LOCAL_NAME.fullmatch(candidate.ip) else ip_address(candidate.ip)
    except ValueError as error:
        raise OfferError(f"the candidate {candidate.ip!r:.60} is no IP address") from error
    is_far = address is not None and (
        address.is_multicast
        or address.is_unspecified
        or str(address) == "255.255.255.255"
        or (isinstance(address, IPv6Address) and address.scope_id is not None)
    )
    if is_far or not 0 < candidate.port < 2**16:
        raise OfferError(f"the candidate {candidate.ip!r:.60} port {candidate.port} is no one's")


def ufrags(text: str) -> set[str]:
    """The ICE user fragments named in an offer or a trickled fragment."""
    return set(re.findall(r"(?m)^a=ice-ufrag:(\S+)\s*$", text))
