"""Candidates that a client sends after its offer."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from aiortc import RTCSessionDescription

from connected_peer import QUICK, TIMEOUT_S, Client, is_portrait, opened
from live_stand_ins import OFFER, served
from painted_media import StubStream
from streamer.offers import MAX_CANDIDATES
from streamer.peer import Peer
from streamer.trickle import Fragment, FragmentError, read_fragment

UFRAG = "a=ice-ufrag:abcd\r\n"
HOST = "a=candidate:1 1 udp 2130706431 192.0.2.7 5000 typ host\r\n"
RELAY = "a=candidate:2 1 UDP 16777215 2001:db8::1 6000 typ relay raddr 192.0.2.7 rport 5000\r\n"
LOCAL = "a=candidate:3 1 udp 2130706431 0a1b-2c.local 5001 typ host\r\n"


def test_candidates_are_read_with_the_section_they_are_for() -> None:
    text = f"{UFRAG}a=ice-pwd:x\r\nm=video 9 RTP/AVP 0\r\na=mid:0\r\n{HOST}{RELAY}{LOCAL}"
    fragment = read_fragment(text, OFFER)
    assert fragment.ufrags == {"abcd"}
    assert [(one.ip, one.port, one.type, one.sdpMid) for one in fragment.candidates] == [
        ("192.0.2.7", 5000, "host", "0"),
        ("2001:db8::1", 6000, "relay", "0"),
        ("0a1b-2c.local", 5001, "host", "0"),
    ]
    assert not fragment.is_last


def test_without_a_section_the_first_is_meant_and_the_end_is_heard() -> None:
    fragment = read_fragment(f"{UFRAG}{HOST}a=end-of-candidates\r\n", OFFER)
    (one,) = fragment.candidates
    assert (one.sdpMid, one.sdpMLineIndex, fragment.is_last) == (None, 0, True)


def test_candidates_for_rtcp_and_over_tcp_are_left_out() -> None:
    rtcp = HOST.replace("1 1 udp", "1 2 udp")
    tcp = "a=candidate:4 1 tcp 2105524479 192.0.2.7 9 typ host tcptype active\r\n"
    assert read_fragment(UFRAG + rtcp + tcp, OFFER).candidates == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        HOST,
        UFRAG + "nothing",
        UFRAG + "a=candidate:\r\n",
        UFRAG + "a=candidate:1 1 udp\r\n",
        UFRAG + HOST.replace("5000", "99999"),
        UFRAG + HOST.replace("5000", "port"),
        UFRAG + HOST.replace("2130706431", "-1"),
        UFRAG + HOST.replace("192.0.2.7", "internal.example.com"),
        UFRAG + "a=mid:other\r\n" + HOST,
        UFRAG + HOST * (MAX_CANDIDATES + 1),
    ],
)
def test_a_malformed_fragment_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(FragmentError, match=r"\w+ \w+ \w+"):
        read_fragment(text, OFFER)


@pytest.mark.parametrize("address", ["/api/sessions/{}", "/whip/{}"])
def test_over_http_candidates_reach_the_connection_up_to_a_number(
    address: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as stage:
            where = address.format((await stage.begin())[1]["id"])

            async def patch(text: str) -> int:
                kind = {"Content-Type": "application/trickle-ice-sdpfrag"}
                return (await stage.client.patch(where, data=text, headers=kind)).status

            assert await patch(f"{UFRAG}{HOST}a=end-of-candidates\r\n") == 204
            (fragment,) = stage.peers.made[0].fragments
            assert (fragment.candidates[0].port, fragment.is_last) == (5000, True)
            assert await patch(UFRAG + "a=candidate:1\r\n") == 400
            assert await patch("a=ice-ufrag:new\r\n" + HOST) == 422
            assert await patch(UFRAG + HOST * (MAX_CANDIDATES - 1)) == 204
            assert await patch(UFRAG + HOST) == 400
            assert len(stage.peers.made[0].fragments) == 2

    asyncio.run(scenario())


def without_candidates(sdp: str) -> str:
    return re.sub(r"(?m)^a=(candidate:.*|end-of-candidates)\r?\n", "", sdp)


def test_a_client_that_only_trickles_and_is_reached_by_it_alone_gets_its_picture() -> None:
    async def scenario() -> None:
        told: list[str] = []
        client = Client()
        peer = Peer(
            lambda: opened(StubStream()), QUICK, on_state=lambda state, _: told.append(state)
        )
        try:
            connection = client.connection
            await connection.setLocalDescription(await connection.createOffer())
            offer = connection.localDescription.sdp
            answer = await peer.answer(without_candidates(offer))
            given = RTCSessionDescription(sdp=without_candidates(answer), type="answer")
            await connection.setRemoteDescription(given)  # it knows no way to the server
            lines = re.findall(r"(?m)^a=(?:ice-ufrag|candidate):.*$", offer)
            await peer.add_candidates(read_fragment("\n".join(dict.fromkeys(lines)), offer))
            await asyncio.wait_for(client.picture(is_portrait), TIMEOUT_S)
            assert "streaming" in told
        finally:
            await peer.close()
            await client.connection.close()
        await peer.add_candidates(Fragment(ufrags=frozenset(), candidates=(), is_last=True))

    asyncio.run(scenario())


def test_candidates_after_the_last_are_passed_over() -> None:
    async def scenario() -> None:
        client = Client()
        peer: Any = Peer(lambda: opened(StubStream()), QUICK)
        try:
            await asyncio.wait_for(client.connect(peer), TIMEOUT_S)
            late = read_fragment(UFRAG + HOST + "a=end-of-candidates\r\n", OFFER)
            for _ in range(2):
                await peer.add_candidates(late)
            await client.picture(is_portrait)
        finally:
            await peer.close()
            await client.connection.close()

    asyncio.run(scenario())
