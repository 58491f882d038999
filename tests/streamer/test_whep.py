import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from connected_peer import QUICK, TIMEOUT_S, is_portrait
from live_stand_ins import OFFER, Client, FakeCompute, Stage, picture, served
from painted_media import PaintedCamera, StubStream, until
from streamer.capture import discard
from streamer.consent import CONSENT_SHA256
from streamer.live import SessionSettings
from streamer.peer import Peer
from streamer.peering import PeerRequest
from streamer.portraits import Portraits
from streamer.server_config import Limits, ServerConfig, Turn
from streamer.signaling import create_app
from streamer.whep import VIEWERS, add_whep
from streamer.whip import add_whip
from watched_session import Player, keep_showing

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
KEY = "a-key-of-the-camera-s-owner"
INGEST = f"/whip?portrait=P001&consent={CONSENT_SHA256}"
RECVONLY = OFFER.replace("sendrecv", "recvonly")


def run(scene: Callable[[Stage, str], Awaitable[None]], folder: Path, **config: Any) -> None:
    """Act on a session of stand-ins that shows pictures, and the address it is watched at."""

    async def act() -> None:
        async with served(folder, **config) as stage:
            _, body = await stage.begin()
            showing = asyncio.create_task(keep_showing(stage.peers.made[-1].taps))
            try:
                await scene(stage, body["watch"])
            finally:
                showing.cancel()

    asyncio.run(act())


@asynccontextmanager
async def watching(
    client: Client, address: str, **player: Any
) -> AsyncIterator[tuple[Player, str, str]]:
    """A connected player, the address and the tag of its viewer."""
    made = Player(**player)
    try:
        answer = await client.post(address, data=await made.offer(), headers=SDP)
        assert answer.status == 201, await answer.text()
        assert answer.headers["Content-Type"].startswith("application/sdp")
        sdp = await answer.text()
        assert "a=sendonly" in sdp
        assert "a=sendrecv" not in sdp
        assert "a=recvonly" not in sdp
        await made.take(sdp)
        yield made, answer.headers["Location"], answer.headers["ETag"]
    finally:
        await made.connection.close()


def test_a_viewer_sees_and_hears_what_is_shown_until_it_leaves(tmp_path: Path) -> None:
    async def scene(stage: Stage, watch: str) -> None:
        taps = stage.peers.made[-1].taps
        async with watching(stage.client, watch) as (player, address, tag):
            assert address.startswith(f"{watch}/")
            for _ in range(3):
                await player.picture()
            async with asyncio.timeout(TIMEOUT_S):
                assert (await player.tracks["audio"].recv()).samples > 0
            ufrag = player.connection.localDescription.sdp.split("a=ice-ufrag:")[1].split()[0]
            fragment = f"a=ice-ufrag:{ufrag}\r\n"
            for headers, sent, status in [
                ({"If-Match": tag}, fragment, 204),
                ({"If-Match": '"other"'}, fragment, 412),
                ({"If-Match": '"*"'}, "a=ice-ufrag:new\r\n", 422),
                ({}, "a=ice-ufrag:new\r\n", 422),
                ({}, "nothing", 400),
                ({"Content-Type": "text/plain"}, fragment, 415),
            ]:
                patched = await stage.client.patch(
                    address, data=sent, headers={**FRAGMENT, **headers}
                )
                assert patched.status == status
            for where in (address, watch):
                got = await stage.client.get(where)
                assert (got.status, await got.read()) == (204, b"")
            assert taps.is_watched
            elsewhere = f"/whep/wrong/{address.rsplit('/', 1)[1]}"
            assert (await stage.client.delete(elsewhere)).status == 404
            assert (await stage.client.delete(address)).status == 200
            assert (await stage.client.delete(address)).status == 404
            assert not taps.is_watched
            assert not stage.peers.made[-1].is_closed

    run(scene, tmp_path)


def test_a_player_s_trickled_candidates_are_tried(tmp_path: Path) -> None:
    async def scene(stage: Stage, watch: str) -> None:
        made = await stage.client.post(watch, data=RECVONLY, headers=SDP)
        host = re.findall(r"udp \d+ (\d+\.\S+) \d+ typ host", await made.text())[0]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as player:
            player.setblocking(False)
            player.bind((host, 0))
            way = f"a=candidate:1 1 udp 2130706431 {host} {player.getsockname()[1]} typ host"
            fragment = f"a=ice-ufrag:abcd\r\nm=video 9 RTP/AVP 0\r\na=mid:0\r\n{way}\r\n"
            address = made.headers["Location"]
            sent = await stage.client.patch(address, data=fragment, headers=FRAGMENT)
            assert sent.status == 204
            async with asyncio.timeout(TIMEOUT_S):
                check = await asyncio.get_running_loop().sock_recv(player, 2000)
            assert check[4:8] == b"\x21\x12\xa4\x42"  # STUN (RFC 8489, section 5)

    run(scene, tmp_path)


def test_a_player_s_fragments_are_read_as_those_of_a_session(tmp_path: Path) -> None:
    async def scene(stage: Stage, watch: str) -> None:
        made = await stage.client.post(watch, data=RECVONLY, headers=SDP)
        way = "a=candidate:1 1 udp 2130706431 192.0.2.7 5000 typ host\r\n"
        for lines, status in [
            (way * 40, 204),
            (way * 25, 400),
            (way * 65, 400),
            ("a=mid:9\r\n", 400),
            ("nonsense\r\n", 400),
            ("a=candidate:1 1 udp 1 example.com 5000 typ host\r\n", 400),
        ]:
            fragment = "a=ice-ufrag:abcd\r\n" + lines
            answer = await stage.client.patch(
                made.headers["Location"], data=fragment, headers=FRAGMENT
            )
            assert answer.status == status, lines[:60]
        other = await stage.client.post(watch, data=RECVONLY, headers=SDP)
        answer = await stage.client.patch(
            other.headers["Location"],
            data="a=ice-ufrag:abcd\r\na=end-of-candidates\r\n",
            headers=FRAGMENT,
        )
        assert answer.status == 204

    run(scene, tmp_path)


def test_several_watch_at_once_and_past_the_limit_one_is_told_to_wait(tmp_path: Path) -> None:
    async def scene(stage: Stage, watch: str) -> None:
        async with (
            watching(stage.client, watch) as (first, address, _),
            watching(stage.client, watch) as (second, _, _),
        ):
            await asyncio.gather(first.picture(), second.picture())
            refused = await stage.client.post(watch, data=RECVONLY, headers=SDP)
            assert refused.status == 503
            assert int(refused.headers["Retry-After"]) > 0
            assert (await refused.json())["error"]["code"] == "full"
            await stage.client.delete(address)
            async with watching(stage.client, watch) as (third, _, _):
                await third.picture()

    run(scene, tmp_path, limits=Limits(num_viewers=2))


def test_the_end_of_the_session_is_the_end_of_its_viewers(tmp_path: Path) -> None:
    async def scene(stage: Stage, watch: str) -> None:
        async with watching(stage.client, watch) as (player, address, _):
            await player.picture()
            await stage.peers.made[-1].close("bye")
            async with asyncio.timeout(TIMEOUT_S):
                await discard(player.tracks["video"])
            for method, where in [("GET", watch), ("POST", watch), ("DELETE", address)]:
                assert (await stage.client.request(method, where)).status == 404

    run(scene, tmp_path)


def test_a_viewer_that_never_connects_gives_its_place_back(tmp_path: Path) -> None:
    async def scene(stage: Stage, watch: str) -> None:
        taps = stage.peers.made[-1].taps
        made = await stage.client.post(watch, data=RECVONLY, headers=SDP)
        assert made.status == 201
        await until(lambda: stage.app[VIEWERS].num_watching == 0)
        assert not taps.is_watched
        assert (await stage.client.get(made.headers["Location"])).status == 404

    run(scene, tmp_path, limits=Limits(connect_s=0.3))


def test_an_offer_that_sends_too_is_only_answered_with_sending(tmp_path: Path) -> None:
    async def scene(stage: Stage, watch: str) -> None:
        async with watching(stage.client, watch, direction="sendrecv") as (player, _, _):
            await player.picture()

    run(scene, tmp_path)


def test_what_cannot_be_watched_is_refused_and_takes_no_place(tmp_path: Path) -> None:
    async def scene(stage: Stage, watch: str) -> None:
        session = stage.app[VIEWERS]
        two = RECVONLY + RECVONLY[RECVONLY.index("m=video") :].replace("mid:0", "mid:1")
        data = RECVONLY + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
        for address, body, headers, status in [
            (watch, RECVONLY, {"Content-Type": "application/json"}, 415),
            (watch, b"\xff", SDP, 400),
            (watch, "", SDP, 422),
            (watch, "v=0", SDP, 422),
            (watch, "garbage" * 50, SDP, 422),
            (watch, b" " * 70_000, SDP, 413),
            (watch, two, SDP, 422),
            (watch, data, SDP, 422),
            (watch, OFFER.replace("sendrecv", "sendonly"), SDP, 422),
            (watch, OFFER.replace("sendrecv", "inactive"), SDP, 422),
            (watch, RECVONLY.replace("m=video 9", "m=video 0"), SDP, 422),
            (watch, RECVONLY.replace("m=video", "m=audio"), SDP, 422),
            (watch, RECVONLY.replace("a=fingerprint", "a=x"), SDP, 422),
            (watch, RECVONLY.replace("VP8/90000", "XX/90000"), SDP, 422),
            ("/whep/wrong", RECVONLY, SDP, 404),
            (f"{watch}x", RECVONLY, SDP, 404),
            (watch[:-1], RECVONLY, SDP, 404),
        ]:
            answer = await stage.client.post(address, data=body, headers=headers)
            assert answer.status == status, (body[:80], await answer.text())
            assert set((await answer.json())["error"]) == {"code", "message"}
        assert session.num_watching == 0
        assert not stage.peers.made[-1].taps.is_watched

    run(scene, tmp_path)


def test_the_key_ends_nothing_and_the_session_s_id_shows_nothing(tmp_path: Path) -> None:
    async def act() -> None:
        async with served(tmp_path) as stage:
            _, body = await stage.begin()
            key = body["watch"].removeprefix("/whep/")
            assert key != body["id"]
            assert (await stage.client.delete(f"/api/sessions/{key}")).status == 404
            assert (await stage.client.get(f"/api/sessions/{key}")).status == 404
            assert (await stage.client.delete(f"/whip/{key}")).status == 404
            assert (await stage.client.delete(body["watch"])).status == 405
            wrong = await stage.client.post(f"/whep/{body['id']}", data=RECVONLY, headers=SDP)
            assert wrong.status == 404
            options = await stage.client.options(body["watch"])
            assert options.status == 204
            assert options.headers["Accept-Post"] == "application/sdp"

    asyncio.run(act())


def test_the_token_and_the_page_s_origin_guard_watching_too(tmp_path: Path) -> None:
    async def act() -> None:
        async with served(tmp_path, token="long-enough") as stage:
            for where in ("/whep/x", "/api/recordings/x"):
                assert (await stage.client.get(where)).status == 401
        async with served(tmp_path) as stage:
            evil = {"Origin": "https://evil.example"}
            assert (await stage.client.get("/whep/x", headers=evil)).status == 403

    asyncio.run(act())


def test_relays_are_named_to_players(tmp_path: Path) -> None:
    async def scene(stage: Stage, watch: str) -> None:
        made = await stage.client.post(watch, data=RECVONLY, headers=SDP)
        assert made.headers["Link"].startswith(
            '<turn:127.0.0.1:9?transport=tcp>; rel="ice-server"; username='
        )

    run(scene, tmp_path, turn=Turn(urls=("turn:127.0.0.1:9?transport=tcp",), secret="shared"))


def test_an_ingest_names_its_playback_or_takes_the_owner_s_key(tmp_path: Path) -> None:
    async def act() -> None:
        async with served(tmp_path, max_sessions=3) as stage:
            made = await stage.client.post(INGEST, data=OFFER, headers=SDP)
            link = made.headers["Link"]
            assert 'rel="related"' in link
            assert (await stage.client.get(link[1 : link.index(">")])).status == 204
            for key, status in [(KEY, 201), (KEY, 409), ("short", 400), ("/" * 20, 400)]:
                made = await stage.client.post(f"{INGEST}&watch={key}", data=OFFER, headers=SDP)
                assert made.status == status
            assert (await stage.client.get(f"/whep/{KEY}")).status == 204

    asyncio.run(act())


class _StubbedCompute(FakeCompute):
    async def open(self, session: str, settings: SessionSettings) -> Any:
        return StubStream()


def real_peer(request: PeerRequest) -> Peer:
    """As the server makes them, with short times."""
    return Peer(
        request.open_stream,
        replace(QUICK),
        on_state=request.on_state,
        on_message=request.on_message,
    )


def test_a_camera_over_whip_is_watched_over_whep_as_the_labelled_portrait(tmp_path: Path) -> None:
    async def act() -> None:
        bundled = tmp_path / "P001.png"
        bundled.write_bytes(picture(90))
        config = ServerConfig(log_folder=tmp_path / "log", web_folder=tmp_path)
        portraits = Portraits(config.limits, {"P001": bundled})
        app = create_app(config, _StubbedCompute(), real_peer, portraits=portraits)
        add_whip(app)
        add_whep(app)
        camera = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for track in (PaintedCamera(), AudioStreamTrack()):
            camera.addTransceiver(track, direction="sendonly")
        async with TestClient(TestServer(app)) as client:
            await camera.setLocalDescription(await camera.createOffer())
            offer = camera.localDescription.sdp
            made = await client.post(f"{INGEST}&watch={KEY}", data=offer, headers=SDP)
            answer = await made.text()
            assert "a=recvonly" in answer
            assert "a=sendrecv" not in answer
            await camera.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
            async with watching(client, f"/whep/{KEY}") as (player, _, _):
                for _ in range(3):
                    assert is_portrait(await player.picture())
                async with asyncio.timeout(TIMEOUT_S):
                    assert (await player.tracks["audio"].recv()).samples > 0
            assert (await client.delete(made.headers["Location"])).status == 200
        await camera.close()

    asyncio.run(act())
