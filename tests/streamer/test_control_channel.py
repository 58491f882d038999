import asyncio
from typing import Any

import pytest
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCDataChannelParameters,
    RTCPeerConnection,
    RTCSctpTransport,
)
from aiortc.rtcsctptransport import DataChunk

from streamer.control_channel import (
    MOST_FRAGMENTS,
    MOST_REFUSED,
    MOST_STREAMS,
    MOST_UNFINISHED_BYTES,
    MOST_UNSENT_BYTES,
    ControlChannel,
    limit_unfinished,
)

FIRST, LAST = 2, 1


class FakeChannel:
    """A data channel of the browser's."""

    def __init__(self, label: str = "control") -> None:
        self.label = label
        self.readyState = "open"
        self.bufferedAmount = 0
        self.sent: list[str] = []
        self.is_closed = False
        self.told: Any = None

    def on(self, event: str, told: Any) -> None:
        self.told = told

    def send(self, text: str) -> None:
        self.sent.append(text)

    def close(self) -> None:
        self.is_closed = True


def test_only_the_first_channel_of_the_label_is_taken() -> None:
    heard: list[str | bytes] = []
    control = ControlChannel(heard.append, on_abuse=pytest.fail)
    labels = ["Control", "control ", "", "\0", "control", "control", "x" * 9999]
    channels: list[Any] = [FakeChannel(label) for label in labels]
    for channel in channels:
        control.take(channel)
    assert [channel.is_closed for channel in channels] == [True] * 4 + [False] + [True] * 2
    channels[4].told("hello")
    assert heard == ["hello"]
    assert control.send("answer")
    assert channels[4].sent == ["answer"]


def test_a_thousand_channels_end_the_connection() -> None:
    told: list[str] = []
    control = ControlChannel(None, on_abuse=told.append)
    channels: list[Any] = [FakeChannel("more") for _ in range(1000)]
    for channel in channels:
        control.take(channel)
    assert told
    assert sum(channel.is_closed for channel in channels) == MOST_REFUSED


def test_a_client_that_does_not_read_is_sent_no_more() -> None:
    control = ControlChannel(None, on_abuse=pytest.fail)
    channel: Any = FakeChannel()
    assert not control.send("too early")
    control.take(channel)
    channel.bufferedAmount = MOST_UNSENT_BYTES + 1
    assert not control.send("too much")
    channel.bufferedAmount = 0
    assert control.send("again")
    channel.readyState = "closing"
    assert not control.send("too late")
    assert channel.sent == ["again"]


async def transport() -> RTCSctpTransport:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.createDataChannel("any")
    found: Any = connection.sctp
    found._last_received_tsn = 0
    await connection.close()
    return found


def fragment(number: int, *, flags: int = 0, stream: int = 0, data: bytes = b"x") -> DataChunk:
    chunk = DataChunk(flags=flags)
    chunk.tsn, chunk.stream_id, chunk.stream_seq, chunk.protocol = number, stream, 0, 51
    chunk.user_data = data
    return chunk


@pytest.mark.parametrize(
    ("size", "num_streams", "most"),
    [
        (1, 1, MOST_FRAGMENTS + 1),
        (1200, 1, MOST_UNFINISHED_BYTES // 1200 + 1),
        (1200, 7, MOST_UNFINISHED_BYTES // 1200 + 1),
        (0, 65_535, MOST_STREAMS + 1),
    ],
)
def test_a_message_without_end_is_bounded(size: int, num_streams: int, most: int) -> None:
    async def act() -> None:
        told: list[str] = []
        sctp: Any = await transport()
        assert limit_unfinished(sctp, told.append)
        for number in range(1, 5000):
            stream = number % num_streams
            data = bytes(size)
            flags = FIRST if number <= num_streams else 0
            await sctp._receive_data_chunk(fragment(number, flags=flags, stream=stream, data=data))
        assert len(told) == 1
        assert sum(len(one.reassembly) for one in sctp._inbound_streams.values()) <= most

    asyncio.run(act())


@pytest.mark.parametrize(
    ("protocol", "data"),
    [(51, b"\xff\xfe"), (51, b"\xed\xa0\x80"), (50, b"\x03" + b"\xff" * 30)],
)
def test_a_message_that_cannot_be_read_ends_the_connection_with_a_sentence(
    protocol: int, data: bytes
) -> None:
    async def act() -> None:
        told: list[str] = []
        sctp: Any = await transport()
        assert limit_unfinished(sctp, told.append)
        channel = RTCDataChannel(sctp, RTCDataChannelParameters(label="any", id=4), False)
        sctp._data_channels[4] = channel
        for number in (1, 2):
            chunk = fragment(number, flags=FIRST | LAST, stream=4, data=data)
            chunk.protocol = protocol
            await sctp._receive_data_chunk(chunk)
        assert len(told) == 1

    asyncio.run(act())


def test_a_long_message_within_bounds_arrives_whole() -> None:
    async def act() -> None:
        sctp: Any = await transport()
        heard: list[bytes] = []

        async def hear(stream: int, protocol: int, data: bytes) -> None:
            heard.append(data)

        sctp._receive = hear
        assert limit_unfinished(sctp, pytest.fail)
        for number in range(1, 56):
            flags = {1: FIRST, 55: LAST}.get(number, 0)
            await sctp._receive_data_chunk(fragment(number, flags=flags, data=bytes(1200)))
        assert [len(data) for data in heard] == [66_000]

    asyncio.run(act())


def test_an_unknown_aiortc_is_left_as_it_is() -> None:
    other: Any = object()
    assert not limit_unfinished(other, pytest.fail)
