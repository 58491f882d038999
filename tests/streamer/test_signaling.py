import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from live_stand_ins import OFFER, FakeRecorder, Stage, picture, served
from streamer.consent import CONSENT_SHA256, CONSENT_TEXT
from streamer.errors import PortraitError, StreamerError
from streamer.server_config import Limits, Turn

TOKEN = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CONSENT = {"X-Consent": CONSENT_SHA256, "Content-Type": "image/png"}


def run(
    scene: Callable[[Stage], Awaitable[None]],
    folder: Path,
    **config: Any,
) -> None:
    async def act() -> None:
        async with served(folder, **config) as stage:
            await scene(stage)

    asyncio.run(act())


async def error_of(answer: aiohttp.ClientResponse) -> tuple[int, str]:
    body = await answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert "Traceback" not in body["error"]["message"]
    return answer.status, body["error"]["code"]


def test_config_holds_what_a_page_needs(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        answer = await stage.client.get("/api/config")
        config = await answer.json()
        assert config["consent"] == {"text": CONSENT_TEXT, "sha256": CONSENT_SHA256}
        assert config["portraits"] == [{"id": "P001", "name": "Person 001"}]
        assert config["controls"]["strength"] == {"min": 0, "max": 2, "step": 0.05, "default": 1.0}
        assert config["ice_servers"] == []
        assert config["limits"]["max_sessions"] == 2
        assert config["needs_token"] is False

    run(scene, tmp_path)


def test_every_answer_carries_the_security_headers(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        for path in ("/", "/static/main.js", "/api/config", "/nowhere", "/api/sessions/x"):
            answer = await stage.client.get(path)
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert not any(name.startswith("Access-Control") for name in answer.headers)

    run(scene, tmp_path)


def test_the_page_is_served_and_a_missing_one_is_a_json_404(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        page = await stage.client.get("/")
        assert "page" in await page.text()
        assert page.headers["Content-Type"].startswith("text/html")
        (tmp_path / "web" / "index.html").unlink()
        assert await error_of(await stage.client.get("/")) == (404, "not_found")

    run(scene, tmp_path)


def test_links_out_of_the_web_folder_are_not_followed(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (tmp_path / "web" / "link.txt").symlink_to(tmp_path / "secret.txt")
        assert await error_of(await stage.client.get("/static/link.txt")) == (404, "not_found")

    run(scene, tmp_path)


def test_a_session_begins_is_described_and_ends_and_all_is_on_record(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        status, begun = await stage.begin(mirror=True)
        assert (status, begun["type"]) == (201, "answer")
        assert begun["sdp"].startswith("v=0")
        assert len(begun["id"]) >= 24
        assert stage.compute.streams[begun["id"]].settings.controls.mirror
        address = f"/api/sessions/{begun['id']}"
        described = await (await stage.client.get(address)).json()
        assert described["state"] == "connecting"
        assert described["stats"]["received"] == 7
        assert (await stage.client.delete(address)).status == 204
        assert await error_of(await stage.client.delete(address)) == (404, "unknown_session")
        assert stage.peers.made[0].is_closed
        assert stage.compute.streams[begun["id"]].is_closed
        start, stop = map(json.loads, stage.log.read_text("utf-8").splitlines())
        assert (start["event"], stop["event"]) == ("start", "stop")
        assert start["consent_sha256"] == CONSENT_SHA256
        assert start["remote"] == "127.0.0.1"
        assert len(start["portrait_sha256"]) == 64
        assert begun["id"] not in stage.log.read_text("utf-8")

    run(scene, tmp_path)


def test_sessions_past_the_limit_get_503_until_one_ends(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        answers = await asyncio.gather(*(stage.begin() for _ in range(5)))
        assert sorted(status for status, _ in answers) == [201, 201, 503, 503, 503]
        body = {"sdp": OFFER, "portrait": "P001", "consent": CONSENT_SHA256}
        refused = await stage.client.post("/api/sessions", json=body)
        assert int(refused.headers["Retry-After"]) > 0
        assert await error_of(refused) == (503, "full")
        await stage.peers.made[0].close("the connection was lost")
        for _ in range(3):
            await stage.client.get("/healthz")
        assert (await stage.begin())[0] == 201

    run(scene, tmp_path)


def test_a_session_that_fails_leaves_nothing_and_frees_its_place(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        cases: list[tuple[Exception, int, str]] = [
            (StreamerError("no"), 422, "bad_offer"),
            (PortraitError("no face"), 422, "bad_portrait"),
            (RuntimeError("secret of the inside"), 500, "internal"),
        ]
        for failure, status, code in cases * 3:
            stage.peers.failure = failure
            answered, body = await stage.begin()
            assert (answered, body["error"]["code"]) == (status, code)
            assert "inside" not in body["error"]["message"]
        assert all(peer.is_closed for peer in stage.peers.made)
        stage.peers.failure = None
        assert (await stage.begin())[0] == 201

    run(scene, tmp_path)


def test_a_cold_model_means_503_everywhere_but_health(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.compute.is_ready = False
        assert (await stage.client.get("/healthz")).status == 200
        assert await error_of(await stage.client.get("/readyz")) == (503, "not_ready")
        status, body = await stage.begin()
        assert (status, body["error"]["code"]) == (503, "not_ready")
        stage.compute.is_ready = True
        assert (await stage.client.get("/readyz")).status == 200

    run(scene, tmp_path)


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"consent": None}, 403, "consent"),
        ({"consent": "0" * 64}, 403, "consent"),
        ({"consent": "ü"}, 403, "consent"),
        ({"sdp": 7}, 400, "bad_request"),
        ({"sdp": ""}, 400, "bad_request"),
        ({"type": "answer"}, 400, "bad_request"),
        ({"portrait": ["P001"]}, 400, "bad_request"),
        ({"portrait": "P999"}, 422, "unknown_portrait"),
        ({"portrait": "../secret.txt"}, 422, "unknown_portrait"),
        ({"mirror": 1}, 400, "bad_request"),
        ({"sdp": "v=0\r\n"}, 422, "bad_offer"),
        ({"sdp": OFFER.replace("sendrecv", "recvonly")}, 422, "bad_offer"),
        ({"sdp": OFFER.replace("a=fingerprint", "a=nothing")}, 422, "bad_offer"),
        ({"sdp": OFFER.replace("a=ice-ufrag", "a=nothing")}, 422, "bad_offer"),
        ({"sdp": OFFER.replace("m=video 9", "m=video x")}, 422, "bad_offer"),
        ({"sdp": OFFER + "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n" * 65}, 422, "bad_offer"),
        ({"sdp": OFFER + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" * 9}, 422, "bad_offer"),
    ],
)
def test_a_wrong_session_request_is_refused_by_its_fault(
    tmp_path: Path, changed: dict[str, Any], status: int, code: str
) -> None:
    async def scene(stage: Stage) -> None:
        answered, body = await stage.begin(**changed)
        assert (answered, body["error"]["code"]) == (status, code)
        assert stage.peers.made == []

    run(scene, tmp_path)


def test_bodies_of_the_wrong_kind_or_size_are_refused(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        kind = {"Content-Type": "application/json"}
        for body, status, code in [
            (b"{", 400, "not_json"),
            (b"[]", 400, "not_json"),
            (b"[" * 40_000, 400, "not_json"),
            (b"\xff\xfe", 400, "not_json"),
            (b" " * 70_000, 413, "too_large"),
        ]:
            answer = await stage.client.post("/api/sessions", data=body, headers=kind)
            assert await error_of(answer) == (status, code)
        answer = await stage.client.post("/api/sessions", data=b"{}")
        assert await error_of(answer) == (415, "content_type")

        async def endless() -> Any:
            for _ in range(200):
                yield b" " * 1000

        answer = await stage.client.post("/api/sessions", data=endless(), headers=kind)
        assert await error_of(answer) == (413, "too_large")

    run(scene, tmp_path)


def test_an_uploaded_portrait_is_kept_shown_and_driven(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        for kind in ("PNG", "JPEG", "WEBP"):
            data = picture(130, kind=kind)
            headers = {**CONSENT, "Content-Type": f"image/{kind.lower()}"}
            answer = await stage.client.post("/api/portraits", data=data, headers=headers)
            assert answer.status == 201
            identifier = (await answer.json())["id"]
            assert len(identifier) == 64
        shown = await stage.client.get(f"/api/portraits/{identifier}/picture")
        assert (await shown.read()).startswith(b"\xff\xd8\xff")
        assert (await stage.begin(portrait=identifier))[0] == 201
        config = await (await stage.client.get("/api/config")).json()
        assert identifier not in json.dumps(config["portraits"])

    run(scene, tmp_path)


def bits(side: int) -> bytes:
    """A picture of one bit a pixel: few bytes, whatever its side."""
    written = io.BytesIO()
    Image.new("1", (side, side)).save(written, "PNG")
    return written.getvalue()


def test_unsuitable_uploads_are_refused_by_their_fault(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        whole = picture()
        for data, status, code in [
            (b"", 415, "not_a_picture"),
            (b"GIF89a" + b"0" * 500, 415, "not_a_picture"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not_a_picture"),
            (whole[: len(whole) // 2], 422, "bad_portrait"),
            (b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, 422, "bad_portrait"),
            (picture(side=40), 422, "bad_portrait"),
            (picture(shade=0), 422, "bad_portrait"),
            (picture(side=600), 413, "too_large"),
            (bits(side=14_000), 413, "too_large"),
            (b"\xff\xd8\xff" * 100_000, 413, "too_large"),
        ]:
            answer = await stage.client.post("/api/portraits", data=data, headers=CONSENT)
            assert await error_of(answer) == (status, code)
        answer = await stage.client.post(
            "/api/portraits", data=whole, headers={"Content-Type": "image/png"}
        )
        assert await error_of(answer) == (403, "consent")
        answer = await stage.client.post(
            "/api/portraits", data=whole, headers={**CONSENT, "Content-Type": "image/gif"}
        )
        assert await error_of(answer) == (415, "content_type")

    run(scene, tmp_path)


def test_trickled_candidates_are_taken_and_a_restart_refused(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        address = f"/api/sessions/{(await stage.begin())[1]['id']}"
        kind = {"Content-Type": "application/trickle-ice-sdpfrag"}
        for fragment, status in [
            ("a=ice-ufrag:abcd\r\na=ice-pwd:x\r\nm=video 9 RTP/AVP 0\r\na=mid:0\r\n", 204),
            ("a=ice-ufrag:other\r\n", 422),
            ("nothing", 400),
        ]:
            answer = await stage.client.patch(address, data=fragment, headers=kind)
            assert answer.status == status

    run(scene, tmp_path)


def test_a_token_is_asked_for_where_one_is_set(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.client.get("/")).status == 200
        assert (await stage.client.get("/healthz")).status == 200
        config = await (await stage.client.get("/api/config")).json()
        assert config["needs_token"] is True
        assert config["ice_servers"] == []
        for given in ({}, {"Authorization": "Bearer no"}, {"Authorization": f"Basic {TOKEN}"}):
            answer = await stage.client.get("/metrics", headers=given)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert await error_of(answer) == (401, "token")
        wrong = await stage.client.get("/api/config", headers={"Authorization": "Bearer no"})
        assert await error_of(wrong) == (401, "token")
        assert (await stage.client.get("/metrics", headers=BEARER)).status == 200
        assert (await stage.client.get(f"/metrics?token={TOKEN}")).status == 200
        posted = await stage.client.post(f"/api/sessions?token={TOKEN}", json={})
        assert await error_of(posted) == (401, "token")
        config = await (await stage.client.get("/api/config", headers=BEARER)).json()
        assert config["ice_servers"][0]["urls"] == ["turn:relay.example:3478"]

    turn = Turn(urls=("turn:relay.example:3478",), secret="shared")
    run(scene, tmp_path, token=TOKEN, turn=turn)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Origin": "https://evil.example"}, "cross_origin"),
        ({"Origin": "null"}, "cross_origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "cross_origin"),
        ({"Host": "evil.example"}, "host"),
        ({"Host": "127.0.0.1.evil.example:80"}, "host"),
    ],
)
def test_other_sites_are_kept_out(tmp_path: Path, headers: dict[str, str], code: str) -> None:
    async def scene(stage: Stage) -> None:
        answer = await stage.client.get("/api/config", headers=headers)
        assert await error_of(answer) == (403, code)

    run(scene, tmp_path)


def test_the_page_s_own_origin_is_let_in(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        origin = {"Origin": str(stage.client.make_url("/")).rstrip("/")}
        assert (await stage.client.get("/api/config", headers=origin)).status == 200

    run(scene, tmp_path)


def test_wrong_methods_are_told_which_are_right(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        answer = await stage.client.put("/api/sessions", json={})
        assert answer.headers["Allow"] == "POST"
        assert await error_of(answer) == (405, "method_not_allowed")

    run(scene, tmp_path)


def test_metrics_count_sessions_and_errors(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.begin()
        await stage.begin(consent="no")
        text = await (await stage.client.get("/metrics")).text()
        assert "streamer_sessions 1.0" in text
        assert "streamer_sessions_started_total 1.0" in text
        assert 'streamer_errors_total{code="consent"} 1.0' in text
        assert "streamer_ready 1.0" in text

    run(scene, tmp_path)


def test_all_sessions_end_with_the_server(tmp_path: Path) -> None:
    kept: list[Any] = []

    async def scene(stage: Stage) -> None:
        await stage.begin()
        await stage.begin()
        kept.extend(stage.peers.made)

    run(scene, tmp_path)
    assert [peer.is_closed for peer in kept] == [True, True]


def test_a_full_disk_means_no_session(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.log.unlink()
        stage.log.mkdir()
        status, body = await stage.begin()
        assert (status, body["error"]["code"]) == (503, "no_record")
        assert stage.peers.made[0].is_closed

    run(scene, tmp_path, recorder=FakeRecorder(), limits=Limits())


def test_a_model_that_was_given_up_is_told_with_the_reason(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.compute.is_ready = False
        stage.compute.failure = "the model cannot be kept running (no such device)"
        assert await error_of(await stage.client.get("/readyz")) == (503, "not_ready")
        status, told = await stage.begin()
        assert (status, told["error"]["code"]) == (503, "not_ready")
        assert "no such device" in told["error"]["message"]

    run(scene, tmp_path)
