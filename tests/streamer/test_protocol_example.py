"""The example in docs/protocol.md, played against the server."""

import asyncio
import json
from pathlib import Path

from live_stand_ins import OFFER, FakeRecorder, Stage, served
from protocol_document import Exchange, example, has_shape, objects
from streamer.consent import CONSENT_SHA256
from streamer.signaling import SESSIONS


def test_the_example_is_what_happens(tmp_path: Path) -> None:
    exchanges = list(example())
    assert len(exchanges) == 5
    names = {"SHA256": CONSENT_SHA256, "v=0…": OFFER.replace("\r\n", "\\r\\n")}

    async def act() -> None:
        async with served(tmp_path, recorder=FakeRecorder()) as stage:
            for exchange in exchanges:
                if exchange.lines[0].startswith("> "):
                    await _request(stage, exchange, names)
                else:
                    await _talk(stage, names["ID"], exchange)

    asyncio.run(act())


async def _request(stage: Stage, exchange: Exchange, names: dict[str, str]) -> None:
    first, *rest = exchange.sent
    for name, value in names.items():
        first, rest = first.replace(name, value), [one.replace(name, value) for one in rest]
    body = rest.pop() if rest and rest[-1].startswith("{") else None
    method, path = first.split(" ")
    headers = dict(line.split(": ", 1) for line in rest)
    answer = await stage.client.request(method, path, data=body, headers=headers)
    status, *more = exchange.told
    assert answer.status == int(status), exchange
    text = await answer.text()
    shown = [objects(line.replace(", …}", "}"))[0] for line in more if line.startswith("{")]
    for line in more[: len(more) - len(shown)]:
        name, value = line.split(": ", 1)
        assert has_shape(answer.headers[name], value)
    for values in shown:
        real = json.loads(text)
        if "id" in real:
            names["ID"] = real["id"]
        kept = {key: real[key] for key in values} if "…}" in more[-1] else real
        assert has_shape(kept, values), (kept, values)


async def _talk(stage: Stage, identifier: str, exchange: Exchange) -> None:
    peer = stage.peers.made[-1]
    served_session = stage.app[SESSIONS].get(identifier)
    assert served_session is not None
    peer.sent.clear()
    for line in exchange.lines:
        direction, text = line.split(" ", 1)
        if direction == ">":
            peer.sent.clear()
            await served_session.answer(text)
            continue
        shown = json.loads(text)
        if shown["type"] == "state":
            peer.sent.clear()
            peer.request.on_state(shown["state"], "")
        elif shown["type"] == "stats":
            served_session.tell()
            shown["recording"] = {}  # a stand-in's; see test_protocol_document for a real one's
        real = json.loads(peer.sent[-1])
        assert has_shape(real, shown), (real, shown)
