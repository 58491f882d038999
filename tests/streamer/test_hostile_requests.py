import asyncio
import json
import random
import socket
from pathlib import Path
from typing import Any

import pytest

from live_stand_ins import OFFER, Stage, picture, served
from streamer.consent import CONSENT_SHA256

TOKEN = "correct-horse-battery"
SEED_CASES = 700
Case = tuple[str, str, dict[str, str], bytes]
PATHS = (
    "/static/../secret.txt", "/static/..%2fsecret.txt", "/static/%2e%2e/secret.txt",
    "/static//etc/passwd", "/static/..%5csecret.txt", "/static/main.js%00.txt", "/static/.git",
    "/static/%c0%ae%c0%ae/secret.txt", "/api/portraits/..%2f..%2fsecret.txt/picture",
    "/api/portraits/%00/picture", "/api/sessions/..", "/api/sessions/%2e%2e%2fx", "/../secret.txt",
    "/static/" + "a/" * 500, "/static/" + "x" * 2000, "/whip/../x", "//evil.example/",
)  # fmt: skip


def damaged(chance: random.Random, text: str) -> str:
    """SDP with lines dropped, doubled, swapped, or with letters replaced."""
    lines = text.split("\r\n")
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(lines))
        fault = chance.randrange(4)
        if fault == 0:
            lines.pop(at)
        elif fault == 1:
            lines.insert(at, chance.choice(lines))
        elif fault == 2:
            lines[at] = lines[at][: len(lines[at]) // 2]
        else:
            lines[at] = "".join(chance.choice("m=va:9 \x00é/-") for _ in range(30))
        lines = lines or [""]
    return "\r\n".join(lines)


def session_case(chance: random.Random, _: int) -> Case:
    """A session request with a fault in its JSON, its types or its SDP."""
    body: dict[str, Any] = {"sdp": OFFER, "portrait": "P001", "consent": CONSENT_SHA256}
    fault = chance.randrange(3)
    if fault == 0:
        wrong = [None, 1, [], {}, "\x00", "x" * 500, True]
        body[chance.choice(["sdp", "portrait", "consent"])] = chance.choice(wrong)
    elif fault == 1:
        sdp = damaged(chance, OFFER)
        body["sdp"] = sdp.replace("a=sendrecv", "").replace("m=video", "m=vide0")
    data = json.dumps(body).encode()
    if fault == 2:
        data = data[: chance.randrange(len(data) - 1)] + chance.randbytes(chance.randrange(9))
    return "POST", "/api/sessions", {"Content-Type": "application/json"}, data


def upload_case(chance: random.Random, _: int) -> Case:
    """A picture cut short, random bytes with a good beginning, too large, or without consent."""
    kind = chance.choice(["PNG", "JPEG", "WEBP"])
    whole = picture(chance.randrange(1, 255), kind=kind)
    headers = {"Content-Type": f"image/{kind.lower()}", "X-Consent": CONSENT_SHA256}
    fault = chance.randrange(4)
    if fault == 0:
        data = whole[: chance.randrange(len(whole) // 2)]
    elif fault == 1:
        data = whole[:12] + chance.randbytes(200)
    elif fault == 2:
        data = whole + bytes(250_000)
    else:
        data, headers["X-Consent"] = whole, chance.choice(["", "0" * 64, CONSENT_SHA256.upper()])
    return "POST", "/api/portraits", headers, data


def stranger_case(chance: random.Random, number: int) -> Case:
    """A wrong token, a foreign origin, a foreign host."""
    path = chance.choice(["/api/sessions", "/api/portraits", "/metrics", "/api/sessions/x"])
    method = chance.choice(["GET", "POST", "DELETE", "PATCH"])
    wrong = [
        {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": "Bearer"},
        {"Authorization": f"Basic {TOKEN}"}, {"Authorization": f"Bearer {TOKEN}é"},
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": f"evil{number}.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ]  # fmt: skip
    return method, path, chance.choice(wrong), b"{}"


def path_case(chance: random.Random, number: int) -> Case:
    """A path that tries to leave its folder, or a method that is not there."""
    path = PATHS[number % len(PATHS)]
    return chance.choice(["GET", "GET", "PUT", "DELETE", "TRACE"]), path, {}, b""


async def ask(stage: Stage, case: Case) -> tuple[int, bytes]:
    """Status and body, over a socket of its own so that no client tidies the request up."""
    method, path, headers, body = case
    host, port = stage.client.host, stage.client.port
    sent = {
        "Host": f"{host}:{port}", "Authorization": f"Bearer {TOKEN}",
        "Content-Length": str(len(body)), "Connection": "close", **headers,
    }  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    reader, writer = await asyncio.open_connection(host, port, family=socket.AF_INET)
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    try:
        answer = await reader.read()
    finally:
        writer.close()
    top, _, rest = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), rest


@pytest.mark.parametrize("make", [session_case, upload_case, stranger_case, path_case])
def test_hostile_requests_get_4xx_in_the_error_shape(tmp_path: Path, make: Any) -> None:
    chance = random.Random(11)

    async def act() -> None:
        async with served(tmp_path, token=TOKEN) as stage:
            for number in range(SEED_CASES // 4):
                case = make(chance, number)
                status, body = await ask(stage, case)
                assert 400 <= status < 500, case
                error = json.loads(body)["error"]
                assert set(error) == {"code", "message"}, case
                assert b"secret" not in body
            assert (await ask(stage, ("GET", "/healthz", {}, b"")))[0] == 200
            assert stage.peers.made == []

    before = {path for path in tmp_path.parent.rglob("*") if tmp_path not in path.parents}
    asyncio.run(act())
    assert {path for path in tmp_path.parent.rglob("*") if tmp_path not in path.parents} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "P001.png", "log", "secret.txt", "web",
    ]  # fmt: skip
