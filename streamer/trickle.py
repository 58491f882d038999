"""Candidates that come after the offer: SDP fragments of trickle ICE (RFC 8840, section 9)."""

import asyncio
import logging
import re
from dataclasses import dataclass

from aiortc import RTCIceCandidate, RTCPeerConnection
from aiortc.sdp import candidate_from_sdp

from streamer.errors import StreamerError
from streamer.offers import MAX_CANDIDATES, OfferError, check_candidate, ufrags

_LOG = logging.getLogger(__name__)
_RTP = 1
_LINE = re.compile(r"^[a-z]=\S.*$")


class FragmentError(StreamerError):
    """An SDP fragment that is not one, or does not belong to the offer."""


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """What a client trickled.

    Attributes:
        ufrags: the ICE user fragments named in it.
        candidates: each with the section of the offer that it is for.
        is_last: whether no more will come.
    """

    ufrags: frozenset[str]
    candidates: tuple[RTCIceCandidate, ...]
    is_last: bool


def read_fragment(text: str, offer: str) -> Fragment:
    """Read a fragment; candidates that the server has no use for are left out.

    Those are the ones for RTCP and over TCP. A candidate before any `a=mid` is for the first
    section.

    Raises:
        FragmentError: a line is malformed, too many candidates, or a section is not in the offer.
    """
    named = frozenset(ufrags(text))
    if not named:
        raise FragmentError("the fragment has no a=ice-ufrag line")
    if text.count("a=candidate:") > MAX_CANDIDATES:
        raise FragmentError(f"the fragment has more than {MAX_CANDIDATES} candidates")
    mids = re.findall(r"(?m)^a=mid:(\S+)\s*$", offer)
    section: str | None = None
    candidates: list[RTCIceCandidate] = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        if _LINE.match(line) is None:
            raise FragmentError(f"{line!r:.60} is not a line of SDP")
        if line.startswith("a=mid:"):
            section = _known(line.removeprefix("a=mid:"), mids)
        elif line.startswith("a=candidate:"):
            candidates.append(_candidate(line.removeprefix("a=candidate:"), section))
    return Fragment(
        ufrags=named,
        candidates=tuple(one for one in candidates if _is_used(one)),
        is_last=re.search(r"(?m)^a=end-of-candidates\s*$", text) is not None,
    )


async def try_candidates(connection: RTCPeerConnection, fragment: Fragment) -> None:
    """Let a connection try these too; what it cannot use any more is passed over.

    Names that end in .local are looked up by multicast, which takes its time.
    """
    adding = [connection.addIceCandidate(one) for one in fragment.candidates]
    failures = [one for one in await asyncio.gather(*adding, return_exceptions=True) if one]
    if failures:
        _LOG.info("%d candidates could not be used: %.200r", len(failures), failures[0])
    if fragment.is_last:
        await connection.addIceCandidate(None)


def _known(mid: str, mids: list[str]) -> str:
    if mid not in mids:
        raise FragmentError(f"the offer has no section a=mid:{mid:.40}")
    return mid


def _candidate(text: str, section: str | None) -> RTCIceCandidate:
    try:
        candidate = candidate_from_sdp(text)
        check_candidate(candidate)
        if not 0 < candidate.priority < 2**32:
            raise ValueError("out of range")
    except (AssertionError, ValueError, IndexError, OfferError) as error:
        raise FragmentError(f"the candidate {text!r:.80} cannot be read") from error
    candidate.sdpMid = section
    candidate.sdpMLineIndex = 0 if section is None else None
    return candidate


def _is_used(candidate: RTCIceCandidate) -> bool:
    return candidate.component == _RTP and candidate.protocol.lower() == "udp"
