import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from live_stand_ins import FakePeer, FakeRecorder, FakeStream, Stage, picture, served
from streamer.consent import CONSENT_SHA256
from streamer.messages import MessageError, read_message
from streamer.signaling import SESSIONS

Scene = Callable[[Stage, FakePeer, FakeStream], Awaitable[None]]


def run(scene: Scene, folder: Path, recorder: FakeRecorder | None = None) -> None:
    async def act() -> None:
        async with served(folder, recorder=recorder) as stage:
            _, begun = await stage.begin()
            await scene(stage, stage.peers.made[0], stage.compute.streams[begun["id"]])

    asyncio.run(act())


async def tell(peer: FakePeer, message: object) -> dict[str, Any]:
    """Send a message as a client would; the next answer."""
    known = len(peer.sent)
    peer.has_sent.clear()
    peer.request.on_message(message if isinstance(message, str | bytes) else json.dumps(message))
    await peer.has_sent.wait()
    answer: dict[str, Any] = json.loads(peer.sent[known])
    return answer


def test_controls_are_set_all_or_none(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        answer = await tell(peer, {"id": 1, "type": "set", "controls": {"strength": 0.5}})
        assert answer == {"id": 1, "type": "ack"}
        assert stream.settings.controls.strength == 0.5
        wrong = {"strength": 1.5, "pose": "no"}
        answer = await tell(peer, {"id": "b", "type": "set", "controls": wrong})
        assert (answer["id"], answer["type"], answer["code"]) == ("b", "error", "bad_control")
        assert stream.settings.controls.strength == 0.5

    run(scene, tmp_path)


def test_mirroring_begins_as_asked_and_is_changed_like_any_control(tmp_path: Path) -> None:
    async def act() -> None:
        async with served(tmp_path) as stage:
            _, begun = await stage.begin(mirror=True)
            stream = stage.compute.streams[begun["id"]]
            assert stream.settings.controls.mirror
            change = {"id": 1, "type": "set", "controls": {"yaw": -5}}
            await tell(stage.peers.made[0], change)
            assert stream.settings.controls.mirror
            await tell(stage.peers.made[0], {**change, "controls": {"mirror": False}})
            assert not stream.settings.controls.mirror
            assert stream.settings.controls.yaw == -5

    asyncio.run(act())


def test_a_portrait_is_swapped_with_the_controls_kept(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        before = stream.settings.portrait
        await tell(peer, {"id": 1, "type": "set", "controls": {"smoothing": 0.2}})
        stage.compute.streams.clear()
        other = await upload(stage)
        answer = await tell(peer, {"id": 2, "type": "portrait", "portrait": other})
        assert answer == {"id": 2, "type": "ack"}
        assert stream.settings.portrait != before
        assert stream.settings.controls.smoothing == 0.2
        assert stage.compute.streams == {}
        swapped = stream.settings.portrait
        await tell(peer, {"id": 3, "type": "set", "controls": {"strength": 0.4}})
        assert stream.settings.portrait == swapped
        again: Any = await peer.request.open_stream()
        assert again.settings.portrait == swapped
        answer = await tell(peer, {"id": 3, "type": "portrait", "portrait": "../x"})
        assert answer["code"] == "unknown_portrait"

    run(scene, tmp_path)


async def upload(stage: Stage) -> str:

    headers = {"X-Consent": CONSENT_SHA256, "Content-Type": "image/png"}
    answer = await stage.client.post("/api/portraits", data=picture(200), headers=headers)
    identifier: str = (await answer.json())["id"]
    return identifier


def test_references_and_pings_are_passed_on(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        for action in ("set", "auto", "reset"):
            answer = await tell(peer, {"id": 4, "type": "reference", "action": action})
            assert answer == {"id": 4, "type": "ack"}
        assert stream.references == ["set", "auto", "reset"]
        answer = await tell(peer, {"type": "ping", "time": 12.5})
        assert answer == {"id": None, "type": "ack", "time": 12.5}

    run(scene, tmp_path)


def test_recording_starts_and_stops_once(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        start = {"id": 1, "type": "recording", "action": "start"}
        stop = {"id": 2, "type": "recording", "action": "stop"}
        assert (await tell(peer, start))["type"] == "ack"
        assert (await tell(peer, start))["code"] == "refused"
        assert (await tell(peer, stop))["download"] == "/api/recordings/1"
        assert (await tell(peer, stop))["code"] == "refused"

    run(scene, tmp_path, FakeRecorder())


def test_sound_is_sent_back_until_it_is_said_that_nobody_listens(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        assert peer.taps.is_sound_returned
        for action, is_returned in (("off", False), ("off", False), ("on", True)):
            answer = await tell(peer, {"id": 1, "type": "sound", "action": action})
            assert answer == {"id": 1, "type": "ack"}
            assert peer.taps.is_sound_returned == is_returned
        answer = await tell(peer, {"id": 2, "type": "sound", "action": "start"})
        assert (answer["code"], answer["message"]) == (
            "bad_message",
            "a sound message has action, one of on, off, and no more",
        )

    run(scene, tmp_path)


def test_without_a_recorder_recording_is_said_to_be_missing(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        answer = await tell(peer, {"id": 1, "type": "recording", "action": "start"})
        assert answer["code"] == "not_available"

    run(scene, tmp_path)


def test_a_lost_model_is_told_and_a_new_one_gets_portrait_and_controls(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        await tell(peer, {"id": 1, "type": "set", "controls": {"strength": 0.7}})
        stream.is_lost = True
        answer = await tell(peer, {"id": 2, "type": "set", "controls": {"strength": 0.1}})
        assert answer["code"] == "recovering"
        peer.stream = None
        answer = await tell(peer, {"id": 3, "type": "reference", "action": "set"})
        assert answer["code"] == "recovering"
        again: Any = await peer.request.open_stream()
        assert again.settings.controls.strength == 0.7
        assert again.settings.portrait == stream.settings.portrait

    run(scene, tmp_path)


def test_states_are_passed_on_with_a_sentence(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        peer.request.on_state("face_lost", "")
        told = json.loads(peer.sent[-1])
        assert (told["type"], told["state"]) == ("state", "face_lost")
        assert "face" in told["message"]
        peer.request.on_state("recovering", "own words")
        assert json.loads(peer.sent[-1])["message"] == "own words"

    run(scene, tmp_path)


def test_a_flood_of_messages_is_told_to_slow_down(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        for _ in range(500):
            peer.request.on_message('{"id": 1, "type": "ping", "time": 1}')
        assert json.loads(peer.sent[-1])["code"] == "too_many"
        assert (await stage.client.get("/healthz")).status == 200

    run(scene, tmp_path)


def test_an_unforeseen_failure_is_one_error_and_the_session_goes_on(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        peer.stream = object()
        answer = await tell(peer, {"id": 1, "type": "reference", "action": "set"})
        assert answer["code"] == "internal"
        assert "object" not in answer["message"]
        assert (await tell(peer, {"type": "ping", "time": 1}))["type"] == "ack"

    run(scene, tmp_path)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b'{"type": "ping", "time": 1}', "not_text"),
        ("x" * 20_000, "too_large"),
        ("é" * 9_000, "too_large"),
        ("", "not_json"),
        ("[" * 10_000, "not_json"),
        ('{"id": 1, "type": "ping", "time": NaN}', "not_json"),
        ('{"id": 1, "type": "ping", "time": 1e999}', "bad_message"),
        ("9" * 5_000, "not_json"),
        ("[]", "bad_message"),
        ('{"id": {}, "type": "ping", "time": 1}', "bad_message"),
        ('{"id": true, "type": "ping", "time": 1}', "bad_message"),
        ('{"id": 1}', "unknown_type"),
        ('{"id": 1, "type": ["set"]}', "unknown_type"),
        ('{"id": 1, "type": "set", "controls": []}', "bad_message"),
        ('{"id": 1, "type": "set", "controls": {}, "more": 1}', "bad_message"),
        ('{"id": 1, "type": "reference", "action": "start"}', "bad_message"),
        ('{"id": 1, "type": "reference", "action": ["set"]}', "bad_message"),
        ('{"id": 1, "type": "portrait", "portrait": 3}', "bad_message"),
    ],
)
def test_a_message_that_cannot_be_read_has_a_typed_error(text: str | bytes, code: str) -> None:
    with pytest.raises(MessageError) as caught:
        read_message(text, max_bytes=16_384)
    assert caught.value.code == code


def hostile_value(chance: random.Random, depth: int = 0) -> object:
    numbers = [None, True, -1, 10**30, 1e308]
    leaves = [*numbers, "", "\x00", "set", "🙂" * 9, "../../etc/passwd", "\ud800"]
    if depth > 2 or chance.random() < 0.6:
        return chance.choice(leaves)
    values = [hostile_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return values if chance.random() < 0.5 else {str(value)[:9]: value for value in values}


def test_600_hostile_messages_get_a_typed_answer_each(tmp_path: Path) -> None:
    chance = random.Random(5)
    kinds = ["set", "reference", "portrait", "recording", "sound", "ping", "", None, 7]
    fields = ["controls", "action", "portrait", "time", "id", "more"]

    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        for _ in range(600):
            message: dict[str, object] = {"type": chance.choice(kinds)}
            for field in chance.sample(fields, chance.randrange(4)):
                message[field] = hostile_value(chance)
            text = json.dumps(message)
            if chance.random() < 0.3:
                text = text[: chance.randrange(len(text))]
            answer = await tell(peer, text.encode() if chance.random() < 0.1 else text)
            assert answer["type"] in ("ack", "error")
            assert answer["type"] == "ack" or answer["code"] != "internal"
        assert (await tell(peer, {"type": "ping", "time": 1}))["type"] == "ack"

    run(scene, tmp_path)


def test_a_state_from_before_the_channel_opened_is_told_with_the_figures(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        session: Any = stage.app[SESSIONS].get(next(iter(stage.compute.streams)))
        peer.is_open = False
        peer.request.on_state("warming", "")
        assert peer.sent == []
        peer.is_open = True
        session.tell()
        session.tell()
        told = [json.loads(text) for text in peer.sent]
        assert [message["type"] for message in told] == ["state", "stats", "stats"]
        assert told[0]["state"] == "warming"
        assert (told[1]["fps"], told[1]["dropped"], told[1]["load_level"]) == (24.5, 2, 0)
        metrics = await (await stage.client.get("/metrics")).text()
        assert 'streamer_frames_total{event="received"} 7.0' in metrics
        assert "streamer_latency_seconds_count 2.0" in metrics
        assert 'streamer_stage_seconds_count{stage="total"} 2.0' in metrics
        assert "streamer_load_level 0.0" in metrics
        assert "streamer_sessions_limit 2.0" in metrics
        assert "process_resident_memory_bytes" in metrics

    run(scene, tmp_path)
