"""Edits over the data channel: portraits by their ids, slow ones beside quick ones, and back."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from live_stand_ins import FakePeer, FakeStream, Stage, picture, served
from streamer.consent import CONSENT_SHA256
from streamer.controls import LiveControls
from streamer.live import SessionSettings
from streamer.session import _MAX_SLOW

Scene = Callable[[Stage, FakePeer, FakeStream], Awaitable[None]]


def run(scene: Scene, folder: Path) -> None:
    async def act() -> None:
        async with served(folder) as stage:
            _, begun = await stage.begin()
            await scene(stage, stage.peers.made[0], stage.compute.streams[begun["id"]])

    asyncio.run(act())


async def answer_to(peer: FakePeer, identifier: int) -> dict[str, Any]:
    """The answer with that id, once it is there."""
    while True:
        for text in peer.sent:
            message: dict[str, Any] = json.loads(text)
            if message.get("id") == identifier:
                return message
        peer.has_sent.clear()
        await peer.has_sent.wait()


def ask(peer: FakePeer, identifier: int, controls: dict[str, object]) -> None:
    message = {"id": identifier, "type": "set", "controls": controls}
    peer.request.on_message(json.dumps(message))


async def told(peer: FakePeer, identifier: int, controls: dict[str, object]) -> dict[str, Any]:
    """Set controls; the answer."""
    ask(peer, identifier, controls)
    return await answer_to(peer, identifier)


async def upload(stage: Stage, shade: int = 200) -> str:
    headers = {"X-Consent": CONSENT_SHA256, "Content-Type": "image/png"}
    answer = await stage.client.post("/api/portraits", data=picture(shade), headers=headers)
    identifier: str = (await answer.json())["id"]
    return identifier


def test_attributes_are_taken_from_portraits_under_the_models_own_names(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        other, mine = await upload(stage), stream.settings.portrait
        wanted = {"expression_from": other, "light_from": "P001", "yaw": 5}
        assert (await told(peer, 1, wanted))["type"] == "ack"
        controls = stream.settings.controls
        assert (controls.light_from, controls.yaw) == (mine, 5)
        assert controls.expression_from not in (None, other, mine)
        await told(peer, 2, {"yaw": 6})
        assert stream.settings.controls == LiveControls(
            expression_from=controls.expression_from, light_from=mine, yaw=6
        )
        assert (await told(peer, 3, {"expression_from": None}))["type"] == "ack"
        assert stream.settings.controls == LiveControls(light_from=mine, yaw=6)

    run(scene, tmp_path)


def test_quick_changes_do_not_wait_for_slow_ones_and_both_stay(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        stream.may_make_ready.clear()
        ask(peer, 1, {"background_colour": "#102030"})
        assert (await told(peer, 2, {"yaw": 5}))["type"] == "ack"
        assert stream.settings.controls == LiveControls(yaw=5)
        assert (await told(peer, 3, {"yaw": 7, "pitch": 1}))["type"] == "ack"
        stream.may_make_ready.set()
        assert (await answer_to(peer, 1))["type"] == "ack"
        assert stream.settings.controls == LiveControls(yaw=7, pitch=1, background_colour="#102030")
        [made] = stream.made_ready
        assert made.controls.background_colour == "#102030"

    run(scene, tmp_path)


def test_slow_changes_follow_one_another_in_order_and_are_not_without_number(
    tmp_path: Path,
) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        stream.may_make_ready.clear()
        for number in range(_MAX_SLOW):
            ask(peer, number, {"background_blur": number + 1})
        refused = await told(peer, 99, {"background_blur": 50})
        assert refused["code"] == "too_many"
        stream.may_make_ready.set()
        await answer_to(peer, _MAX_SLOW - 1)
        blurs = [settings.controls.background_blur for settings in stream.made_ready]
        assert blurs == list(range(1, _MAX_SLOW + 1))
        assert stream.settings.controls.background_blur == _MAX_SLOW

    run(scene, tmp_path)


def test_everything_taken_back_is_what_the_session_began_with(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        before = stream.settings
        config = await (await stage.client.get("/api/config")).json()
        default = {name: entry["default"] for name, entry in config["controls"].items()}
        await told(peer, 1, {"yaw": 9, "light_preset": "rim", "light_azimuth": 3})
        await told(peer, 2, {"background_from": "P001", "pose_from": "P001"})
        assert stream.settings != before
        assert (await told(peer, 3, default))["type"] == "ack"
        assert stream.settings == before

    run(scene, tmp_path)


def test_what_cannot_be_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        before = stream.settings
        unknown = await told(peer, 1, {"pose_from": "nobody", "yaw": 3})
        assert unknown["code"] == "unknown_portrait"
        several = {"background_blur": 3, "background_colour": "#102030"}
        assert (await told(peer, 2, several))["code"] == "bad_control"
        await told(peer, 3, {"background_blur": 3})
        second = await told(peer, 4, {"background_from": "P001"})
        assert "two sources for the background" in second["message"]
        assert stream.settings == SessionSettings(
            portrait=before.portrait, controls=LiveControls(background_blur=3)
        )

    run(scene, tmp_path)


def test_a_new_model_and_another_portrait_get_all_of_it_again(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        other = await upload(stage)
        await told(peer, 1, {"light_from": other, "background_blur": 3})
        again: Any = await peer.request.open_stream()
        assert again.settings == stream.settings
        message = {"id": 2, "type": "portrait", "portrait": other}
        peer.request.on_message(json.dumps(message))
        assert (await answer_to(peer, 2))["type"] == "ack"
        assert stream.settings.portrait == stream.settings.controls.light_from
        assert stream.made_ready[-1] == stream.settings

    run(scene, tmp_path)


def test_a_session_that_ends_leaves_no_change_under_way(tmp_path: Path) -> None:
    async def scene(stage: Stage, peer: FakePeer, stream: FakeStream) -> None:
        stream.may_make_ready.clear()
        ask(peer, 1, {"background_blur": 3})
        await told(peer, 2, {"yaw": 3})
        slow = [task for task in asyncio.all_tasks() if "Session._answer" in repr(task)]
        assert len(slow) == 1
        peer.request.on_state("closed", "")
        await asyncio.wait(slow)
        assert slow[0].cancelled()
        assert stream.settings.controls == LiveControls(yaw=3)

    run(scene, tmp_path)
