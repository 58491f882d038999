import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from live_stand_ins import OFFER, Stage, served
from streamer.consent import CONSENT_SHA256
from streamer.server_config import Turn

ENDPOINT = f"/whip?portrait=P001&consent={CONSENT_SHA256}"
SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}


def run(scene: Callable[[Stage], Awaitable[None]], folder: Path, **config: Any) -> None:
    async def act() -> None:
        async with served(folder, **config) as stage:
            await scene(stage)

    asyncio.run(act())


def test_an_ingest_is_created_trickled_to_and_ended_as_the_rfc_says(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        made = await stage.client.post(ENDPOINT, data=OFFER, headers=SDP)
        assert made.status == 201
        assert made.headers["Content-Type"].startswith("application/sdp")
        assert (await made.text()).startswith("v=0")
        address, tag = made.headers["Location"], made.headers["ETag"]
        fragment = "a=ice-ufrag:abcd\r\n"
        for headers, sent, status in [
            ({"If-Match": tag}, fragment, 204),
            ({}, fragment, 204),
            ({"If-Match": '"other"'}, fragment, 412),
            ({"If-Match": '"*"'}, "a=ice-ufrag:new\r\n", 422),
            ({"If-Match": tag}, "a=ice-ufrag:new\r\n", 422),
        ]:
            answer = await stage.client.patch(address, data=sent, headers={**FRAGMENT, **headers})
            assert answer.status == status
        for method in ("GET", "POST", "PUT"):
            assert (await stage.client.request(method, address)).status == 405
        assert (await stage.client.delete(address)).status == 200
        assert (await stage.client.delete(address)).status == 404
        assert stage.peers.made[0].is_closed

    run(scene, tmp_path)


def test_the_answer_can_only_receive(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.client.post(ENDPOINT, data=OFFER, headers=SDP)
        assert "a=sendonly\r\n" in stage.peers.made[0].offer
        assert "sendrecv" not in stage.peers.made[0].offer

    run(scene, tmp_path)


def test_options_name_what_may_be_posted(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        answer = await stage.client.options("/whip")
        assert (answer.status, answer.headers["Accept-Post"]) == (204, "application/sdp")

    run(scene, tmp_path)


def test_relays_are_named_in_links(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        made = await stage.client.post(ENDPOINT, data=OFFER, headers=SDP)
        link = made.headers["Link"]
        assert link.startswith('<turn:relay.example:3478>; rel="ice-server"; username="')
        assert 'credential-type="password"' in link

    turn = Turn(urls=("turn:relay.example:3478",), secret="shared")
    run(scene, tmp_path, turn=turn)


def test_wrong_ingests_are_refused_by_their_fault(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        for address, body, headers, status in [
            ("/whip?portrait=P001", OFFER, SDP, 403),
            (f"/whip?consent={CONSENT_SHA256}", OFFER, SDP, 400),
            (ENDPOINT, OFFER, {"Content-Type": "text/plain"}, 415),
            (ENDPOINT, b"\xff", SDP, 400),
            (ENDPOINT, "v=0", SDP, 422),
            (ENDPOINT, b" " * 70_000, SDP, 413),
            (ENDPOINT.replace("P001", "P9"), OFFER, SDP, 422),
        ]:
            answer = await stage.client.post(address, data=body, headers=headers)
            assert answer.status == status
            assert set((await answer.json())["error"]) == {"code", "message"}

    run(scene, tmp_path)
