"""A whole connection in one process: an aiortc client, our peer, and a stub for the model."""

import asyncio
import gc
import logging
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
)
from aiortc.codecs import h264, vpx

from connected_peer import QUICK, TIMEOUT_S, Client, connected, is_portrait, opened
from painted_media import (
    StubStream,
    is_like,
    number_in,
    until,
)
from streamer.errors import ComputeLostError, PortraitError, SessionFailedError
from streamer.live import LiveResult, TimedFrame
from streamer.marker_release import MarkerJitterBuffer
from streamer.offers import OfferError
from streamer.peer import BitrateBounds, Peer, PeerSettings, set_bitrate_bounds


def test_a_slow_answer_takes_nothing_of_the_time_to_connect_or_to_film(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hours_s = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + hours_s[0])
    for module in ("peer", "capture"):
        monkeypatch.setattr(f"streamer.{module}.time", clock)

    async def slowly(stream: StubStream) -> StubStream:
        hours_s[0] += 3600.0  # what asking a relay that is down for candidates may take
        return stream

    async def scene() -> None:
        stream = StubStream()
        settings = replace(QUICK, connect_timeout_s=60.0, idle_timeout_s=60.0)
        async with connected(lambda: slowly(stream), settings) as (client, _, told):
            await client.picture(is_portrait)
            await until(lambda: "streaming" in told.names())
            assert told.names() == ["warming", "ready", "streaming"]

    asyncio.run(scene())


def test_painted_numbers_come_back_in_order_and_the_camera_never_does() -> None:
    async def scene() -> None:
        stream = StubStream()
        async with connected(lambda: opened(stream)) as (client, peer, told):
            seen: list[int] = []
            while len(set(seen)) < 10:
                seen.append(number_in(await client.picture(is_portrait)))
            assert seen == sorted(seen)
            assert seen[-1] <= client.camera.number
            stats = peer.stats()
            assert stats["received"] == stream.frames[-1].number + 1 >= 10
            assert {"receive", "convert", "model", "render", "encode", "total"} <= set(
                stats["stages_ms"]
            )
            assert stats["fps"] > 0
            assert told.names() == ["warming", "ready", "streaming"]
        assert stream.is_closed
        assert told.states[-1][0] == "closed"

    asyncio.run(scene())


class HalfUsed(StubStream):
    """A model that takes every other frame."""

    @property
    def num_dropped(self) -> int:
        return len(self.frames) // 2


def test_a_camera_half_of_whose_frames_are_dropped_is_told_of_a_lower_rate() -> None:
    async def scene(stream: StubStream, told_fps: list[object]) -> None:
        async with connected(lambda: opened(stream)) as (client, peer, told):
            await client.picture(is_portrait)
            await until(lambda: "streaming" in told.names())
            peer._camera_rate.release()  # what it saw so far, by the real clock
            first = stream.frames[:1]
            for second in range(4):
                peer._capture.num_received = 30 * second
                stream.frames[:] = first * (30 * second)
                peer._watch_rate(float(second))
            told_fps.append(peer.stats()["camera_fps"])
            peer._tell("recovering")
            peer._watch_rate(4.0)
            told_fps.append(peer.stats()["camera_fps"])

    for stream, wanted in ((HalfUsed(), 17), (StubStream(), None)):
        told_fps: list[object] = []
        asyncio.run(scene(stream, told_fps))
        assert told_fps == [wanted, None]


def test_messages_pass_both_ways_on_the_control_channel_only() -> None:
    async def scene() -> None:
        async with connected(lambda: opened(StubStream())) as (client, peer, told):
            other = client.connection.createDataChannel("other")
            await until(lambda: client.channel.readyState == "open")
            client.channel.send('{"id": 1}')
            client.channel.send(b"\0")
            await until(lambda: len(told.messages) == 2)
            assert told.messages == ['{"id": 1}', b"\0"]
            assert peer.send('{"type": "ack"}')
            await until(lambda: client.texts == ['{"type": "ack"}'])
            await until(lambda: other.readyState == "closed")
        assert not peer.send("late")

    asyncio.run(scene())


def test_sound_comes_back() -> None:
    async def scene() -> None:
        async with connected(lambda: opened(StubStream()), has_audio=True) as (client, _, _):
            async with asyncio.timeout(TIMEOUT_S):
                for _ in range(3):
                    frame: Any = await client.tracks["audio"].recv()
            assert frame.sample_rate == 48000

    asyncio.run(scene())


def test_frames_are_released_on_the_marker_unless_told_otherwise() -> None:
    async def buffer_of(settings: PeerSettings) -> object:
        async with connected(lambda: opened(StubStream()), settings) as (_, peer, _):
            receiver: Any = peer._connection.getReceivers()[0]
            return receiver._RTCRtpReceiver__jitter_buffer

    async def scene() -> None:
        assert isinstance(await buffer_of(QUICK), MarkerJitterBuffer)
        stock = await buffer_of(PeerSettings(is_released_on_marker=False))
        assert not isinstance(stock, MarkerJitterBuffer)

    asyncio.run(scene())


def test_an_exception_in_the_model_shows_a_card_and_then_recovers() -> None:
    async def scene() -> None:
        stream = StubStream()
        async with connected(lambda: opened(stream)) as (client, _, told):
            await client.picture(is_portrait)

            def fail(frame: TimedFrame) -> LiveResult:
                raise RuntimeError("a bug of the engine's")

            stream.make = fail
            await client.picture(lambda image: is_like(image, (28, 30, 36)))
            stream.make = StubStream().make
            await client.picture(is_portrait)
            await until(lambda: told.names()[-3:] == ["recovering", "ready", "streaming"])

    asyncio.run(scene())


def test_a_session_that_the_model_failed_on_is_closed_with_the_reason() -> None:
    async def scene() -> None:
        def fail(frame: TimedFrame) -> LiveResult:
            raise SessionFailedError("the model failed on this session")

        stream = StubStream(fail)
        async with connected(lambda: opened(stream)) as (_, peer, told):
            await until(lambda: peer.state == "closed")
            assert told.names()[-1] == "closed"
        assert stream.is_closed

    asyncio.run(scene())


def test_a_lost_stream_is_replaced_by_a_new_one_on_the_same_connection() -> None:
    async def scene() -> None:
        def lose(frame: TimedFrame) -> LiveResult:
            raise ComputeLostError("the process was killed")

        streams = [StubStream(lose), StubStream()]
        tries: list[int] = []

        async def open_stream() -> StubStream:
            tries.append(len(tries))
            if len(tries) in (2, 3):
                raise ComputeLostError("it is still starting")
            return streams[0] if len(tries) == 1 else streams[1]

        async with connected(open_stream) as (client, peer, told):
            await client.picture(is_portrait)
            assert streams[0].is_closed
            assert peer.stream is streams[1]
            assert "recovering" in told.names()
            assert told.names()[-1] == "streaming"
        assert streams[1].is_closed

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (PeerSettings(limit_s=0.3), "time is over"),
        (PeerSettings(connect_timeout_s=0.0), "No connection"),
        (PeerSettings(idle_timeout_s=0.0), "no picture"),
    ],
)
def test_each_time_limit_closes_the_connection_with_its_sentence(
    settings: PeerSettings, message: str
) -> None:
    async def scene() -> None:
        stream = StubStream()
        async with connected(lambda: opened(stream), settings) as (_, peer, told):
            await until(lambda: stream.is_closed)
            await peer.close()
        assert message in told.states[-1][1]
        assert told.names().count("closed") == 1

    asyncio.run(scene())


def test_a_client_that_goes_away_closes_the_peer() -> None:
    async def scene() -> None:
        stream = StubStream()
        async with connected(lambda: opened(stream)) as (client, _, told):
            await client.picture(is_portrait)
            await client.connection.close()
            await until(lambda: stream.is_closed)
            assert "lost" in told.states[-1][1]

    asyncio.run(scene())


@pytest.mark.parametrize("sdp", ["", "garbage", "v=0\r\n", "v=0\r\nm=video x y z\r\n", "\0" * 50])
def test_what_is_no_offer_gets_a_typed_error_and_leaves_nothing(sdp: str) -> None:
    async def scene() -> None:
        stream = StubStream()
        peer = Peer(lambda: opened(stream))
        with pytest.raises(OfferError):
            await peer.answer(sdp)
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        assert peer.stream is None

    asyncio.run(scene())


def test_offers_with_no_or_two_videos_are_refused_and_portrait_errors_passed_on() -> None:
    async def offer(num_videos: int) -> str:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.createDataChannel("control")
        for _ in range(num_videos):
            connection.addTransceiver("video")
        await connection.setLocalDescription(await connection.createOffer())
        await connection.close()
        return connection.localDescription.sdp

    async def scene() -> None:
        async def refuse() -> StubStream:
            raise PortraitError("the portrait is not known")

        for number in (0, 2):
            with pytest.raises(OfferError, match=f"{number} video"):
                await Peer(lambda: opened(StubStream())).answer(await offer(number))
        with pytest.raises(PortraitError):
            await Peer(refuse).answer(await offer(1))

    asyncio.run(scene())


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_a_stream_that_opens_after_its_peer_was_given_up_is_closed(is_cancelled: bool) -> None:
    async def scene() -> None:
        stream, gate, client = StubStream(), asyncio.Event(), Client()

        async def open_stream() -> StubStream:
            await gate.wait()
            return stream

        peer = Peer(open_stream)
        connecting = asyncio.ensure_future(client.connect(peer))
        await until(lambda: peer._connection.remoteDescription)
        if is_cancelled:
            connecting.cancel()
        await asyncio.sleep(0)
        await peer.close()
        gate.set()
        with pytest.raises(asyncio.CancelledError if is_cancelled else OfferError):
            await connecting
        assert is_cancelled or stream.is_closed
        await client.connection.close()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})

    asyncio.run(scene())


def test_a_callback_that_fails_does_not_end_the_picture() -> None:
    async def scene() -> None:
        async with connected(lambda: opened(StubStream())) as (client, peer, told):
            peer._on_message = peer._on_state = told.broken
            await until(lambda: client.channel.readyState == "open")
            client.channel.send("text")
            await client.picture(is_portrait)
            await until(lambda: told.num_broken >= 2 and peer.state == "streaming")

    asyncio.run(scene())


def test_ten_connections_leave_no_task_and_no_thread() -> None:
    async def one() -> None:
        stream = StubStream()
        async with connected(lambda: opened(stream), has_audio=True) as (client, _, _):
            await client.picture(is_portrait)
        assert stream.is_closed

    async def scene() -> None:
        for _ in range(10):
            await one()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        names = [thread.name for thread in threading.enumerate()]
        assert not [name for name in names if "peer" in name or "decoder" in name]
        gc.collect()
        assert not [thing for thing in gc.get_objects() if type(thing) is Peer]

    asyncio.run(scene())


def test_bitrate_bounds_reach_the_encoders(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for codec in (vpx, h264):
        for name in ("MIN_BITRATE", "DEFAULT_BITRATE", "MAX_BITRATE"):
            monkeypatch.setattr(codec, name, getattr(codec, name))
    set_bitrate_bounds(BitrateBounds(least=100_000, start=700_000, most=900_000))
    encoder = vpx.Vp8Encoder()
    assert encoder.target_bitrate == 700_000
    encoder.target_bitrate = 5_000_000
    assert encoder.target_bitrate == 900_000
    encoder.target_bitrate = 1
    assert encoder.target_bitrate == 100_000
    assert "900000" in caplog.text


def test_a_key_frame_that_is_asked_for_comes_even_without_new_results() -> None:
    async def scene() -> None:
        stream = StubStream()
        async with connected(lambda: opened(stream)) as (client, peer, _):
            await client.picture(is_portrait)
            stream.put = lambda frame: None  # type: ignore[method-assign]
            sender = peer._connection.getSenders()[0]
            encoder = sender._RTCRtpSender__encoder  # type: ignore[attr-defined]
            asked: list[bool] = []
            encode = encoder.encode
            encoder.encode = lambda frame, force: asked.append(force) or encode(frame, force)
            receiver = client.connection.getReceivers()[0]
            await receiver._send_rtcp_pli(sender._ssrc)  # type: ignore[attr-defined]
            await until(lambda: True in asked)
            await client.picture(is_portrait)

    asyncio.run(scene())
