"""What docs/protocol.md names exists in the server, and the other way round."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_args

import pytest

import streamer
from live_stand_ins import OFFER, FakeRecorder, Stage, picture, served
from protocol_document import (
    PATH,
    addresses,
    example,
    has_shape,
    headings,
    named,
    objects,
    rows,
    section,
)
from streamer import control_channel, offers, portrait, portraits, session, signaling
from streamer.bounded_decoders import MOST_PIXELS
from streamer.consent import CONSENT_SHA256
from streamer.controls import controls_schema
from streamer.engine import EngineSettings
from streamer.live import ReferenceAction
from streamer.messages import MAX_ID_LENGTH, TYPES, MessageError, RecordingView, read_message
from streamer.peer import MOST_SENDERS
from streamer.peering import RecordingRequest, SessionState
from streamer.playout_delay import URI
from streamer.recordings import Recordings
from streamer.server_config import Limits, ServerConfig, Turn
from streamer.taps import Taps

pytestmark = pytest.mark.computes

TOKEN = "correct-horse-battery"
SOURCES = sorted(Path(streamer.__file__).parent.glob("*.py"))
WATCH = "a-key-of-the-camera-s-owner"
TYPES_OF_BODIES = {
    ("POST", "/api/portraits"): ("image/png", picture()),
    ("POST", "/whip"): ("application/sdp", OFFER),
    ("POST", "/whep/{key}"): ("application/sdp", OFFER.replace("sendrecv", "recvonly")),
    ("PATCH", "/api/sessions/{id}"): ("application/trickle-ice-sdpfrag", "a=ice-ufrag:abcd\r\n"),
    ("PATCH", "/whip/{id}"): ("application/trickle-ice-sdpfrag", "a=ice-ufrag:abcd\r\n"),
    ("PATCH", "/whep/{key}/{viewer}"): (
        "application/trickle-ice-sdpfrag",
        "a=ice-ufrag:abcd\r\n",
    ),
}


def run(scene: Callable[[Stage], Awaitable[None]], folder: Path, **config: Any) -> None:
    async def act() -> None:
        config.setdefault("recorder", FakeRecorder())
        async with served(folder, **config) as stage:
            await scene(stage)

    asyncio.run(act())


def in_sources(pattern: str) -> list[Any]:
    """What a pattern finds in all files of the package, in order."""
    return [found for file in SOURCES for found in re.findall(pattern, file.read_text("utf-8"))]


def test_the_errors_of_http_are_those_of_the_server() -> None:
    raised = in_sources(r'(?:raise|return|=) HttpError\(\s*(\d{3}),\s+"(\w+)"')
    assert len(raised) == len(in_sources(r"(?:raise|return|=) HttpError\("))
    shaped = in_sources(r'error_response\((\d{3}), "(\w+)"')
    framework = in_sources(r'(?m)^ {4}(\d{3}): \("(\w+)", "')
    others = [("4xx", code) for code in in_sources(r'_REASONS\.get\(error\.status, \("(\w+)"')]
    assert shaped
    assert framework
    assert others
    told = {
        (row[0], code) for row in rows(section("Errors")) for code in re.findall(r"`(\w+)`", row[1])
    }
    assert told == {*raised, *shaped, *framework, *others}


def test_the_errors_of_the_data_channel_are_those_of_the_server() -> None:
    raised = in_sources(r'(?:raise|return|=) MessageError\(\s*"(\w+)"')
    assert len(raised) == len(in_sources(r"(?:raise|return|=) MessageError\("))
    sent = in_sources(r'self\._send_error\(\w+, "(\w+)"')
    mapped = in_sources(r'(?m)^ {4}\(\w+Error, "(\w+)"\),$')
    others = in_sources(r'isinstance\(error, kind\)\), "(\w+)"\)')
    assert mapped
    assert others
    table = section("From the server").split("| state |")[0]
    told = [code for row in rows(table) for code in named(row[0])]
    assert sorted(told) == sorted({*raised, *sent, *mapped, *others})


def test_the_addresses_are_those_of_the_server(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        routes = {
            (route.method, _plain(route.resource.canonical if route.resource else ""))
            for route in stage.app.router.routes()
            if route.method != "HEAD"
        }
        assert {(method, _plain(address)) for method, address in addresses()} == routes

    run(scene, tmp_path, recorder=Recordings(ServerConfig()))
    told = " ".join(headings())
    for _, address in addresses():
        is_led_to = address.startswith(("/whip/", "/whep/"))
        assert (address[:5] if is_led_to else address) in told, f"nothing is said of {address}"


def _plain(address: str) -> str:
    return re.sub(r"\{[^}]+\}", "{}", address)


def test_every_address_answers_with_the_status_it_is_said_to(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        names = {"{name}": "main.js", "{key}": WATCH}
        seen = {}
        for (method, address), status in sorted(addresses().items(), key=_order):
            if "/recordings" in address:
                continue
            names["{id}"] = "P001" if "portraits" in address else names.get("{session}", "")
            path = re.sub(r"\{\w+\}", lambda found: names[found[0]], address)
            query = f"?portrait=P001&consent={CONSENT_SHA256}&watch={WATCH}"
            answer = await stage.client.request(
                method, path + query * (path == "/whip"), **_body(method, address)
            )
            seen[method, address] = (status, answer.status)
            if method == "POST":
                last = answer.headers["Location"].split("/")[-1]
                names["{viewer}" if "whep" in path else "{session}"] = last
        assert {said for said, _ in seen.values()} >= {200, 201, 204}
        assert not {where: both for where, both in seen.items() if both[0] != both[1]}

    run(scene, tmp_path, max_sessions=3)


def _order(entry: tuple[tuple[str, str], int]) -> tuple[bool, int, int]:
    """By place in the life of a session; the ingest ends last, for its viewers end with it."""
    method, address = entry[0]
    groups = ("/api", "/whip", "/whep", "/")
    group = next(index for index, start in enumerate(groups) if address.startswith(start))
    life = ("OPTIONS", "POST", "GET", "PATCH", "DELETE")
    return (method, address) == ("DELETE", "/whip/{id}"), group, life.index(method)


def _body(method: str, address: str) -> dict[str, Any]:
    if (method, address) == ("POST", "/api/sessions"):
        return {"json": {"sdp": OFFER, "portrait": "P001", "consent": CONSENT_SHA256}}
    kind, data = TYPES_OF_BODIES.get((method, address), (None, None))
    if kind is None:
        return {}
    return {"data": data, "headers": {"Content-Type": kind, "X-Consent": CONSENT_SHA256}}


def test_the_token_is_asked_for_at_every_address_but_those_named(tmp_path: Path) -> None:
    text = section("Who is let in").split("- `GET`")[0]
    free = [name for name in named(text[text.index("except") :]) if name.startswith("/")]
    free = [name.replace("…", "{name}") for name in free]

    async def scene(stage: Stage) -> None:
        for method, address in addresses():
            answer = await stage.client.request(method, re.sub(r"\{\w+\}", "x", address))
            assert (answer.status == 401) == (address not in free), (method, address)
            assert (answer.status == 401) == ("WWW-Authenticate" in answer.headers)

    assert free
    run(scene, tmp_path, token=TOKEN)


def test_other_methods_are_refused_with_those_in_the_table(tmp_path: Path) -> None:
    known: dict[str, set[str]] = {}
    for method, address in addresses():
        known.setdefault(address, set()).update({method, "HEAD"} if method == "GET" else {method})

    async def scene(stage: Stage) -> None:
        for address, methods in known.items():
            answer = await stage.client.put(re.sub(r"\{\w+\}", "x", address))
            assert answer.status == 405
            assert set(answer.headers["Allow"].split(",")) == methods, address

    run(scene, tmp_path, recorder=Recordings(ServerConfig()))


def test_the_config_has_what_is_shown(tmp_path: Path) -> None:
    [shown] = objects(section("GET /api/config"))[:1]

    async def scene(stage: Stage) -> None:
        real = await (await stage.client.get("/api/config")).json()
        assert shown.pop("controls")["strength"] == real.pop("controls")["strength"]
        assert shown["limits"] == real["limits"]
        assert set(shown.pop("ice_servers")[0]) == set(real.pop("ice_servers")[0])
        assert has_shape(real, shown), real
        said = section("GET /api/config").split("```")[2]
        assert {name for name in real if f"`{name}" not in said} == set()

    relay = Turn(urls=("turn:127.0.0.1:9",), secret="shared")
    run(scene, tmp_path, limits=Limits(), turn=relay)


def test_the_controls_are_those_of_the_server() -> None:
    told = {}
    for row in rows(section("Controls")):
        wanted = _control(row[1])
        told.update(dict.fromkeys(named(row[0]), wanted))
    real = controls_schema()
    for entry in real.values():
        entry.pop("step", None)
        entry.pop("unit", None)
    assert told == real


def _control(text: str) -> dict[str, Any]:
    """A control as the table says it: "boolean (true)", "0 to 2 (1)" or "1, 2, 4 (1)"."""
    text = text.replace("`", "")
    values, default = re.fullmatch(r"(.+) \((.+)\)", text).groups()  # type: ignore[union-attr]
    if values in ("boolean", "portrait", "colour"):
        return {"type": values, "default": json.loads(default)}
    if " to " in values:
        least, most = map(float, values.removeprefix("null or ").split(" to "))
        return {"min": least, "max": most, "default": json.loads(default)}
    choices = [int(one) if one.isdigit() else one for one in values.split(", ")]
    return {"enum": choices, "default": int(default) if default.isdigit() else default}


def test_the_states_are_those_of_the_server() -> None:
    table = section("From the server").split("| state |")[1]
    table = "| state |" + table.split("\n\n")[0]
    assert [named(row[0])[0] for row in rows(table)] == list(get_args(SessionState))


def test_the_messages_are_read_as_shown_and_no_others() -> None:
    table = rows(section("From the client"))
    shown = [(objects(row[0])[0], row[1]) for row in table]
    for values, _ in shown:
        read_message(json.dumps(values), max_bytes=1000)
        for wrong in ({**values, "more": 1}, {key: values[key] for key in ("id", "type")}):
            with pytest.raises(MessageError):
                read_message(json.dumps(wrong), max_bytes=1000)
    assert {values["type"] for values, _ in shown} == set(TYPES)
    actions = next((values, text) for values, text in shown if values["type"] == "reference")
    assert {actions[0]["action"], *named(actions[1])} == set(get_args(ReferenceAction))
    views = next((values, text) for values, text in shown if "view" in values)
    assert {views[0]["view"], *named(views[1])} - {"view", "download"} == set(
        get_args(RecordingView)
    )


def test_a_session_needs_the_fields_that_the_table_does_not_leave_out(tmp_path: Path) -> None:
    fields = {named(row[0])[0]: row for row in rows(section("POST /api/sessions"))}
    body = {"sdp": OFFER, "type": "offer", "portrait": "P001", "consent": CONSENT_SHA256}
    body["mirror"] = False  # type: ignore[assignment]

    async def scene(stage: Stage) -> None:
        for name, row in fields.items():
            sent = {key: value for key, value in body.items() if key != name}
            status = (await stage.client.post("/api/sessions", json=sent)).status
            assert (status == 201) == ("left out" in row[2]), name
            wrong = await stage.client.post("/api/sessions", json={**body, name: 7})
            assert wrong.status == (403 if name == "consent" else 400)

    assert set(fields) == set(body)
    run(scene, tmp_path, max_sessions=9)


def test_what_is_told_of_a_session_has_the_fields_shown(tmp_path: Path) -> None:
    opened = objects(section("POST /api/sessions"))[0]
    described = objects(section("GET /api/sessions/{id}"))[0]
    described["stats"]["stages_ms"] = {"total": {"p50": 1.0, "p95": 2.0}}

    async def scene(stage: Stage) -> None:
        status, begun = await stage.begin()
        assert status == 201
        assert set(begun) == set(opened)
        assert {len(begun["id"]), len(begun["watch"].removeprefix("/whep/"))} == {24}
        real = await (await stage.client.get(f"/api/sessions/{begun['id']}")).json()
        assert {name: type(value) for name, value in real.items()} == {
            name: type(value) for name, value in described.items()
        }
        assert has_shape(real["stats"], described["stats"])

    run(scene, tmp_path)


def test_what_is_told_of_a_recording_has_the_fields_shown(tmp_path: Path) -> None:
    shown = objects(section("From the server").split('"recording": ')[1])[0]

    async def act() -> None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "config.yaml").write_text("size: 1\n", "utf-8")
        config = ServerConfig(recording_folder=tmp_path, model=str(tmp_path / "model"))
        recordings = Recordings(config)
        await recordings.prepare()
        request = RecordingRequest(
            session="s", taps=Taps(), view="edited", size=(64, 64), portrait_sha256="ab" * 32
        )
        await recordings.start(request)
        state = recordings.state("s")
        await recordings.close()
        assert has_shape(state, shown), state
        told = [line for exchange in example() for line in exchange.told]
        [played] = [json.loads(line) for line in told if '"recording": {' in line]
        assert has_shape(state, played["recording"])

    asyncio.run(act())


def test_the_metrics_are_those_of_the_server(tmp_path: Path) -> None:
    told = {
        re.sub(r"\{.*", "", name).removesuffix("_total")
        for name in named(section("GET /healthz, /readyz, /metrics"))
        if name.startswith("streamer_")
    }

    async def scene(stage: Stage) -> None:
        text = await (await stage.client.get("/metrics")).text()
        real = re.findall(r"(?m)^# TYPE (streamer_\w+) (?:counter|gauge|histogram)$", text)
        names = {name.removesuffix("_total") for name in real if not name.endswith("_created")}
        assert names == told

    run(scene, tmp_path)


def test_the_session_record_has_the_fields_named(tmp_path: Path) -> None:
    text = section("The session record")
    first, second = (set(named(part)) for part in text.split("when it stops"))
    places = {"sessions.jsonl", "--log_folder"}

    async def scene(stage: Stage) -> None:
        _, begun = await stage.begin()
        await stage.client.delete(f"/api/sessions/{begun['id']}")
        start, stop = map(json.loads, stage.log.read_text("utf-8").splitlines())
        assert set(start) == first - places
        assert set(stop) == second

    run(scene, tmp_path)


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("within {} s |", int(signaling.READ_S)),
        ("{} messages are waiting", session._MAX_WAITING),
        ("or {} that take time", session._MAX_SLOW),
        ("at most {} candidates in all", offers.MAX_CANDIDATES),
        ("more than {} candidates of a\n  session", offers.MAX_CANDIDATES),
        ("at most {} pixels a side; 404", portraits.PREVIEW_PX),
        ("at most {} pixels a side and made even", EngineSettings().max_side_px),
        ("under {} pixels a side", portrait.MIN_SIDE_PX),
        ("at least {} pixels a side", portrait.MIN_SIDE_PX),
        ("or {} uploads under way", signaling.MOST_UPLOADS),
        ("{} pixels a picture", f"{MOST_PIXELS:,}".replace(",", " ")),
        ("more than {} of those were opened", control_channel.MOST_REFUSED),
        ("or {} fragments wait", control_channel.MOST_FRAGMENTS),
        ("than {} KiB or", control_channel.MOST_UNFINISHED_BYTES // 1024),
        ("while more than {} KiB wait", control_channel.MOST_UNSENT_BYTES // 1024),
        ("more than {} senders (SSRC)", MOST_SENDERS),
        ("a text of at most {} characters", MAX_ID_LENGTH),
        ("`{}`", URI),
        ("`Content-Type: {}`", signaling.FRAGMENT_TYPE),
        ('"label": "{}"', signaling.LABEL),
    ],
)
def test_the_numbers_are_those_of_the_server(said: str, number: object) -> None:
    text = re.sub(r"\s+", " ", PATH.read_text("utf-8"))
    assert re.sub(r"\s+", " ", said.format(number)).strip() in text
