import asyncio
import gzip
import json
import logging
import os
import random
import socket
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from live_stand_ins import OFFER, FakeCompute, FakePeers, FakeRecorder, Stage, picture, served
from painted_media import until
from streamer import server
from streamer.consent import CONSENT_SHA256
from streamer.recordings import _private_folder
from streamer.server_config import ServerConfig
from streamer.signaling import FRAGMENT_TYPE, MOST_UPLOADS

TOKEN = "correct-horse-battery"
NUM_ADDRESSES = 240
NUM_FRAGMENTS = 160
BOMB = 30_000_000
Answer = tuple[int, bytes, bytes]
WRONG_IDS = (
    "x", "..", "%2e%2e", "..%2f..%2fsecret.txt", "%2e%2e%2f%2e%2e%2fsecret.txt", "%252e%252e%252f",
    "%00", "a%00b", "%0d%0aSet-Cookie:%20x", "%ff%fe", "%F0%9F%99%82", "~", "*", "P001.png",
    "a" * 64, "a" * 4000, "..%5c..%5csecret.txt", "%c0%ae%c0%ae%c0%af", "'%20or%201=1", "{}",
    "%7bid%7d", "-1", "difffae-recordings-x%2fy.mp4", "file:%2f%2f%2fetc%2fpasswd", ".", "0",
    "null", "__class__",
)  # fmt: skip
ADDRESSES = (
    ("GET", "/api/recordings/{id}"), ("DELETE", "/api/recordings/{id}"), ("GET", "/whep/{id}"),
    ("POST", "/whep/{id}"), ("GET", "/whep/{id}/{id}"), ("PATCH", "/whep/{id}/{id}"),
    ("DELETE", "/whep/{id}/{id}"), ("DELETE", "/whip/{id}"), ("PATCH", "/whip/{id}"),
    ("GET", "/api/sessions/{id}"), ("DELETE", "/api/sessions/{id}"),
    ("PATCH", "/api/sessions/{id}"), ("GET", "/api/portraits/{id}/picture"),
    ("GET", "/static/{id}"), ("POST", "/whip?portrait={id}"),
)  # fmt: skip


async def ask(stage: Stage, head: str, body: bytes = b"", *, has_end: bool = True) -> Answer:
    """Status, head and body, over a socket of its own: no client tidies the request up."""
    address = f"Host: 127.0.0.1:{stage.client.port}"
    text = head.replace("HOST", address).replace("\n", "\r\n").encode("latin-1", "replace")
    reader, writer = await asyncio.open_connection(
        stage.client.host, stage.client.port, family=socket.AF_INET
    )
    try:
        writer.write(text + body)
        if not has_end:
            writer.transport.abort()
            return 0, b"", b""
        answer = await reader.read()
    finally:
        writer.close()
    top, _, rest = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), top, rest


def head(method: str, path: str, *more: str, length: int | None = 0) -> str:
    lines = [f"{method} {path} HTTP/1.1", "HOST", f"Authorization: Bearer {TOKEN}", *more]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\n".join([*lines, "Connection: close", "", ""])


def in_stage(act: Callable[[Stage], Awaitable[None]], folder: Path, **more: Any) -> None:
    async def run() -> None:
        async with served(folder, token=TOKEN, recorder=FakeRecorder(), **more) as stage:
            await act(stage)
            assert (await ask(stage, head("GET", "/healthz")))[0] == 200

    asyncio.run(run())


def check_error(answer: Answer, about: object) -> None:
    status, top, body = answer
    assert 400 <= status < 500, about
    assert set(json.loads(body)["error"]) == {"code", "message"}, about
    assert b"nosniff" in top, about
    assert b"set-cookie" not in top.lower(), about
    assert b"secret" not in body, about


def test_wrong_names_in_every_address_are_4xx_in_the_error_shape(tmp_path: Path) -> None:
    chance = random.Random(53)
    types = ["application/sdp", FRAGMENT_TYPE, "application/json", "image/png", "text/html", ";"]

    async def act(stage: Stage) -> None:
        for number in range(NUM_ADDRESSES):
            method, path = ADDRESSES[number % len(ADDRESSES)]
            path = path.replace("{id}", chance.choice(WRONG_IDS))
            body = chance.choice([b"", OFFER.encode(), b"a=ice-ufrag:abcd", chance.randbytes(40)])
            kind = f"Content-Type: {chance.choice(types)}"
            answer = await ask(stage, head(method, path, kind, length=len(body)), body)
            check_error(answer, (method, path))
        assert stage.peers.made == []

    in_stage(act, tmp_path)


def test_fragments_for_a_real_session_are_taken_or_4xx(tmp_path: Path) -> None:
    chance = random.Random(59)
    good = "a=ice-ufrag:abcd\r\na=candidate:1 1 udp 1 192.0.2.7 5000 typ host\r\n"

    async def act(stage: Stage) -> None:
        wish = {"sdp": OFFER, "portrait": "P001", "consent": CONSENT_SHA256}
        body = json.dumps(wish).encode()
        kind = "Content-Type: application/json"
        made = await ask(stage, head("POST", "/api/sessions", kind, length=len(body)), body)
        path = f"/api/sessions/{json.loads(made[2])['id']}"
        for _ in range(NUM_FRAGMENTS):
            data = bytearray(good.encode())
            for _ in range(chance.randrange(1, 9)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            if chance.random() < 0.1:
                data *= 2000
            kind = f"Content-Type: {FRAGMENT_TYPE}"
            answer = await ask(stage, head("PATCH", path, kind, length=len(data)), bytes(data))
            if answer[0] != 204:
                check_error(answer, data[:200])
        (peer,) = stage.peers.made
        assert all(one.ip.count(".") for each in peer.fragments for one in each.candidates)
        assert (await ask(stage, head("GET", path)))[0] == 200

    in_stage(act, tmp_path)


MALFORMED = (
    "GET /readyz HTTP/1.1\nHOST\nHost: evil.example\n\n",
    "GET /readyz HTTP/1.1\n\n",
    "POST /api/sessions HTTP/1.1\nHOST\nContent-Length: 2\nContent-Length: 5\n\n{}abc",
    "POST /api/sessions HTTP/1.1\nHOST\nContent-Length: 2\nTransfer-Encoding: chunked\n\n0\n\n",
    "POST /api/sessions HTTP/1.1\nHOST\nTransfer-Encoding: chunked, identity\n\n0\n\n",
    "POST /api/sessions HTTP/1.1\nHOST\nTransfer-Encoding: xchunked\n\n0\n\n",
    "POST /api/sessions HTTP/1.1\nHOST\nContent-Length: -5\n\n",
    "POST /api/sessions HTTP/1.1\nHOST\nContent-Length: +5\n\nabcde",
    "POST /api/sessions HTTP/1.1\nHOST\nContent-Length: 5_0\n\n",
    "POST /api/sessions HTTP/1.1\nHOST\nContent-Length: 99999999999999999999999\n\n",
    "GET /readyz HTTP/1.1\nHOST\nX: " + "a" * 100_000 + "\n\n",
    "GET /readyz HTTP/1.1\nHOST\n" + "".join(f"X{i}: {i}\n" for i in range(2000)) + "\n",
    "GET /" + "a" * 70_000 + " HTTP/1.1\nHOST\n\n",
    "GET /\xff\xfe HTTP/1.1\nHOST\n\n",
    "GET /readyz HTTP/1.1\nHOST\nX : a\n\n",
    "GET /readyz HTTP/1.1\nHOST\nX\0: a\n\n",
    "GET /readyz HTTP/9.9\nHOST\n\n",
    "G\x01T /readyz HTTP/1.1\nHOST\n\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\0" * 200,
)


@pytest.mark.parametrize("number", range(len(MALFORMED)))
def test_what_is_no_http_is_400_and_no_trace_in_the_log(tmp_path: Path, number: int) -> None:
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger, keep = logging.getLogger("aiohttp.server"), Keep()
    keep.addFilter(server._is_worth_a_line)
    logger.addHandler(keep)
    try:

        async def act(stage: Stage) -> None:
            status, _, body = await ask(stage, MALFORMED[number])
            assert status == 400
            assert b"Traceback" not in body
            assert b"<" not in body

        in_stage(act, tmp_path)
    finally:
        logger.removeHandler(keep)
    assert records == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    ("path", "kind"),
    [("/api/sessions", "application/json"), ("/api/portraits", "image/png"),
     (f"/whip?consent={CONSENT_SHA256}&portrait=P001", "application/sdp")],
)  # fmt: skip
def test_compressed_bodies_count_with_what_comes_out(
    tmp_path: Path, encoding: str, path: str, kind: str
) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    more = [
        f"Content-Type: {kind}",
        f"Content-Encoding: {encoding}",
        f"X-Consent: {CONSENT_SHA256}",
    ]

    async def act(stage: Stage) -> None:
        for body, status in ((pack(bytes(BOMB)), 413), (b"no archive", 400)):
            answer = await ask(stage, head("POST", path, *more, length=len(body)), body)
            check_error(answer, (encoding, path, len(body)))
            assert answer[0] == status

    in_stage(act, tmp_path)


def test_bodies_that_break_off_are_no_mistake_of_the_server(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        kind = "Content-Type: application/json"
        for _ in range(20):
            request = head("POST", "/api/sessions", kind, length=500)
            await ask(stage, request, b'{"sdp"', has_end=False)
        text = (await ask(stage, head("GET", "/metrics")))[2].decode()
        assert "internal" not in text

    in_stage(act, tmp_path)


@pytest.mark.parametrize(
    ("more", "status"),
    [("Range: bytes=99999999-", 416), ("Range: bytes=x-y", 416), ('If-Match: "x"', 412),
     ("Range: bytes=0-0,2-3,4-5", 416), ("Range: bytes=5-1", 416),
     ("Accept-Encoding: " + "gzip," * 900, 200), ("If-Modified-Since: yesterday", 200)],
)  # fmt: skip
def test_odd_conditions_on_a_file_are_answered(tmp_path: Path, more: str, status: int) -> None:
    async def act(stage: Stage) -> None:
        answer = await ask(stage, head("GET", "/static/main.js", more))
        assert answer[0] == status
        assert b"nosniff" in answer[1]

    in_stage(act, tmp_path)


def test_past_a_number_of_uploads_under_way_more_are_sent_away(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        kind = ["Content-Type: image/png", f"X-Consent: {CONSENT_SHA256}"]
        slow = [
            await asyncio.open_connection("127.0.0.1", stage.client.port)
            for _ in range(MOST_UPLOADS)
        ]
        request = head("POST", "/api/portraits", *kind, length=100)
        request = request.replace("HOST", f"Host: 127.0.0.1:{stage.client.port}")
        for _, writer in slow:
            writer.write(request.replace("\n", "\r\n").encode() + b"\x89PNG")
        body = picture()
        status = 0
        async with asyncio.timeout(10):
            while status != 503:
                answer = await ask(
                    stage, head("POST", "/api/portraits", *kind, length=len(body)), body
                )
                status = answer[0]
        assert json.loads(answer[2])["error"]["code"] == "full"
        assert b"Retry-After" in answer[1]
        for _, writer in slow:
            writer.transport.abort()
        async with asyncio.timeout(10):
            while status != 201:
                answer = await ask(
                    stage, head("POST", "/api/portraits", *kind, length=len(body)), body
                )
                status = answer[0]

    in_stage(act, tmp_path)


def test_half_a_request_does_not_hold_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SILENT_S", 0.05)
    stopping, address = asyncio.Event(), ""

    def tell(line: str) -> None:
        nonlocal address
        address = line.removeprefix("open ") if line.startswith("open ") else address

    async def act() -> None:
        config = ServerConfig(port=0, log_folder=tmp_path)
        running = asyncio.create_task(
            server.serve(
                config, compute=FakeCompute(), make_peer=FakePeers(), tell=tell, stopping=stopping
            )
        )
        await until(lambda: address)
        port = int(address.rstrip("/").rpartition(":")[2])
        for begun in (b"", b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begun)
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
        stopping.set()
        await running

    asyncio.run(act())


def test_files_and_links_beside_recordings_are_neither_followed_nor_in_the_way(
    tmp_path: Path,
) -> None:
    parent, outside = tmp_path / "recordings", tmp_path / "outside"
    parent.mkdir()
    outside.mkdir()
    (outside / "kept.mp4").write_bytes(b"kept")
    (parent / "difffae-recordings-link").symlink_to(outside)
    (parent / "difffae-recordings-dangling").symlink_to(tmp_path / "nowhere")
    (parent / "difffae-recordings-file").write_text("a file", "utf-8")
    (parent / "difffae-recordings-left").mkdir()
    folder, lock = _private_folder(parent)
    os.close(lock)
    assert (outside / "kept.mp4").read_bytes() == b"kept"
    assert {path.name.rpartition("-")[2] for path in parent.iterdir()} == {
        "link", "dangling", "file", folder.name.rpartition("-")[2],
    }  # fmt: skip
    assert folder.stat().st_mode & 0o077 == 0


def test_two_cameras_that_ask_for_one_key_at_once_do_not_both_get_it(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        path = f"/whip?portrait=P001&consent={CONSENT_SHA256}&watch={'k' * 20}"
        request = head("POST", path, "Content-Type: application/sdp", length=len(OFFER))
        answers = await asyncio.gather(*[ask(stage, request, OFFER.encode()) for _ in range(2)])
        assert sorted(answer[0] for answer in answers) == [201, 409]

    in_stage(act, tmp_path, max_sessions=5)
