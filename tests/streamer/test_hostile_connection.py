"""Real connections whose client does not keep to the protocols."""

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiortc import codecs
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtp import RtpPacket

from connected_peer import Client, Told, connected, is_portrait, opened
from painted_media import StubStream, until
from streamer.bounded_decoders import bound_decoders
from streamer.control_channel import MOST_REFUSED
from streamer.peer import MOST_SENDERS, Peer

NUM_PACKETS = 300
VP8 = 97


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    before = {name: vars(codecs)[name] for name in ("Vp8Decoder", "H264Decoder")}
    bound_decoders()
    yield
    vars(codecs).update(before)


def beside_another(act: Callable[[Client, Peer, Told], Awaitable[None]]) -> None:
    """Attack one connection; another in the same process goes on, and both end."""

    async def scene() -> None:
        async with connected(lambda: opened(StubStream())) as (good, good_peer, good_told):
            await good.picture(is_portrait)
            async with connected(lambda: opened(StubStream())) as (client, peer, told):
                await client.picture(is_portrait)
                await until(lambda: client.channel.readyState == "open")
                await act(client, peer, told)
            before = good_peer.stats()["received"]
            await until(lambda: good_peer.stats()["received"] > before + 3)
            await good.picture(is_portrait)
            assert "closed" not in good_told.names()
            assert peer.stream is None

    asyncio.run(scene())


def sender_of(client: Client) -> RTCRtpSender:
    return client.connection.getSenders()[0]


async def send(client: Client, packets: list[RtpPacket]) -> None:
    """Past the sender's own packets, which would not be so."""
    transport: Any = sender_of(client).transport
    for number, packet in enumerate(packets):
        await transport._send_rtp(packet.serialize())
        if number % 20 == 0:
            await asyncio.sleep(0.005)


def packet(payload: bytes, *, number: int, ssrc: int, kind: int = VP8) -> RtpPacket:
    made = RtpPacket(
        payload_type=kind, sequence_number=number, timestamp=3000 * number, ssrc=ssrc, marker=True
    )
    made.payload = payload
    return made


def test_garbage_in_place_of_video_harms_nobody_else() -> None:
    chance = random.Random(61)

    async def act(client: Client, peer: Peer, told: Told) -> None:
        garbage = [
            packet(
                chance.randbytes(chance.randrange(1, 900)),
                number=number,
                ssrc=555,
                kind=chance.choice([VP8, VP8, 99, 0, 127]),
            )
            for number in range(NUM_PACKETS)
        ]
        await send(client, garbage)
        assert "closed" not in told.names()

    beside_another(act)


def test_pictures_that_claim_to_be_huge_are_passed_over() -> None:
    frame = b"\xf0\x02\x00\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383) + bytes(200)

    async def act(client: Client, peer: Peer, told: Told) -> None:
        huge = [packet(b"\x10" + frame, number=number, ssrc=777) for number in range(30)]
        await send(client, huge)
        assert "closed" not in told.names()

    beside_another(act)


def test_more_senders_than_a_client_has_end_its_connection() -> None:
    async def act(client: Client, peer: Peer, told: Told) -> None:
        many = [packet(b"\x10x", number=number, ssrc=number) for number in range(1, 200)]
        await send(client, many)
        await until(lambda: "closed" in told.names())
        assert "senders" in told.states[-1][1]
        assert len(many) > MOST_SENDERS

    beside_another(act)


def test_more_channels_than_a_client_needs_end_its_connection() -> None:
    async def act(client: Client, peer: Peer, told: Told) -> None:
        for number in range(MOST_REFUSED + 5):
            client.connection.createDataChannel(f"more {number}")
        await until(lambda: "closed" in told.names())
        assert "channels" in told.states[-1][1]

    beside_another(act)


def test_a_text_that_is_none_ends_the_connection_with_a_sentence() -> None:
    async def act(client: Client, peer: Peer, told: Told) -> None:
        sctp: Any = client.connection.sctp
        await sctp._send(client.channel.id, 51, b"\xff\xfe\xff")
        await until(lambda: "closed" in told.names())
        assert "cannot be read" in told.states[-1][1]

    beside_another(act)


def test_a_flood_of_odd_messages_is_passed_on_in_order() -> None:
    odd = ["", "\0", "é" * 9_000, "[" * 60_000, b"", b"\xff" * 60_000, "🙂", "null"]

    async def act(client: Client, peer: Peer, told: Told) -> None:
        for message in odd * 5:
            client.channel.send(message)
        await until(lambda: len(told.messages) == 5 * len(odd))
        assert told.messages == odd * 5
        assert "closed" not in told.names()

    beside_another(act)
