"""The answer and every packet tell a browser that offers it to show frames at once."""

import asyncio
import logging
from collections.abc import Callable

import pytest
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription, VideoStreamTrack
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensionsMap, RtpPacket, unpack_header_extensions

from connected_peer import TIMEOUT_S, Client, is_portrait, opened
from painted_media import StubStream
from streamer import playout_delay
from streamer.peer import Peer
from streamer.playout_delay import AT_ONCE, URI, PlayoutDelayMap, show_at_once

EXTENSIONS = ("urn:ietf:params:rtp-hdrext:sdes:mid", URI)


def with_extension(sdp: str, number: int = 7) -> str:
    """The offer as a browser makes it: the extension in its video section."""
    lines = sdp.split("\r\n")
    at = next(place for place, line in enumerate(lines) if line.startswith("m=video"))
    at = next(place for place in range(at, len(lines)) if lines[place].startswith("a=extmap"))
    return "\r\n".join([*lines[:at], f"a=extmap:{number} {URI}", *lines[at:]])


def configured(*numbers: int) -> PlayoutDelayMap:
    extensions = [
        RTCRtpHeaderExtensionParameters(id=number, uri=uri)
        for number, uri in zip(numbers, EXTENSIONS, strict=False)
    ]
    known = PlayoutDelayMap()
    known.configure(RTCRtpParameters(headerExtensions=extensions))
    return known


def packet() -> RtpPacket:
    made = RtpPacket(payload_type=97, sequence_number=3, payload=b"picture")
    made.extensions.mid = "0"
    return made


def test_a_packet_says_zero_least_and_zero_most_beside_what_aiortc_says() -> None:
    data = packet().serialize(configured(1, 7))
    length = 4 * int.from_bytes(data[14:16], "big")
    found = unpack_header_extensions(int.from_bytes(data[12:14], "big"), data[16 : 16 + length])
    assert found == [(1, b"0"), (7, AT_ONCE)]
    assert data.endswith(b"picture")
    assert RtpPacket.parse(data, configured(1, 7)).extensions.mid == "0"


def test_a_packet_is_aiortcs_own_where_the_extension_was_not_negotiated() -> None:
    stock = HeaderExtensionsMap()
    stock.configure(RTCRtpParameters(headerExtensions=[
        RTCRtpHeaderExtensionParameters(id=1, uri=EXTENSIONS[0])
    ]))  # fmt: skip
    assert packet().serialize(configured(1)) == packet().serialize(stock)


def prepared(offered: Callable[[str], str]) -> tuple[bool, bool, str]:
    """Whether it was done, whether the sender has the map, and the answer to such an offer."""

    async def scene() -> tuple[bool, bool, str]:
        client, server = RTCPeerConnection(), RTCPeerConnection()
        try:
            client.addTrack(VideoStreamTrack())
            sdp = offered((await client.createOffer()).sdp)
            await server.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
            (transceiver,) = server.getTransceivers()
            server.addTrack(VideoStreamTrack())
            is_done = show_at_once(transceiver, sdp)
            has_map = isinstance(
                transceiver.sender._RTCRtpSender__rtp_header_extensions_map,  # type: ignore[attr-defined]
                PlayoutDelayMap,
            )
            return is_done, has_map, (await server.createAnswer()).sdp
        finally:
            await client.close()
            await server.close()

    return asyncio.run(scene())


def test_the_answer_takes_the_extension_by_the_offers_number() -> None:
    is_done, has_map, answer = prepared(lambda sdp: with_extension(sdp, 9))
    assert (is_done, has_map) == (True, True)
    assert answer.count(f"a=extmap:9 {URI}") == 1


@pytest.mark.parametrize("offered", [lambda sdp: sdp, lambda sdp: with_extension(sdp, 15)])
def test_nothing_changes_where_it_is_not_offered_or_has_a_long_number(
    offered: Callable[[str], str],
) -> None:
    is_done, has_map, answer = prepared(offered)
    assert (is_done, has_map) == (False, False)
    assert URI not in answer


def test_another_aiortc_is_left_alone_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def _run_rtp(self: RTCRtpSender) -> None: ...

    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(playout_delay._LOGGER, "handlers", [handler])
    monkeypatch.setattr(playout_delay._LOGGER, "level", logging.INFO)
    monkeypatch.setattr(RTCRtpSender, "_run_rtp", _run_rtp)
    is_done, has_map, answer = prepared(with_extension)
    assert (is_done, has_map) == (False, False)
    assert URI not in answer
    assert len(lines) == 1


def test_a_peer_says_it_in_the_packets_of_its_video(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles: list[bytes] = []
    original = PlayoutDelayMap.set

    def noted(self: PlayoutDelayMap, values: object) -> tuple[int, bytes]:
        profile, content = original(self, values)  # type: ignore[arg-type]
        profiles.append(content)
        return profile, content

    monkeypatch.setattr(PlayoutDelayMap, "set", noted)

    async def scene() -> None:
        client, peer = Client(), Peer(lambda: opened(StubStream()))
        try:
            await client.connection.setLocalDescription(await client.connection.createOffer())
            answer = await peer.answer(with_extension(client.connection.localDescription.sdp))
            assert f"a=extmap:7 {URI}" in answer
            answered = RTCSessionDescription(sdp=answer, type="answer")
            await client.connection.setRemoteDescription(answered)
            await asyncio.wait_for(client.picture(is_portrait), TIMEOUT_S)
        finally:
            await peer.close()
            await client.connection.close()

    asyncio.run(scene())
    assert profiles
    assert all((7, AT_ONCE) in unpack_header_extensions(0xBEDE, one) for one in profiles)
