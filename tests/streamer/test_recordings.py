import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from connected_peer import connected, is_portrait, opened
from live_stand_ins import Stage, served
from painted_media import (
    CAMERA_COLOUR,
    PORTRAIT_COLOUR,
    StubStream,
    is_like,
    number_in,
    painted,
    portrait_result,
    until,
)
from streamer.errors import OutputError, UsageError
from streamer.label import Label
from streamer.outgoing import render
from streamer.peering import RecordingRequest, RecordingView
from streamer.recordings import RecordingError, Recordings
from streamer.server_config import Limits, ServerConfig
from streamer.taps import Taps
from streamer.verify import verify
from streamer_media import read_video
from watched_session import camera_frame, is_labelled, show, sound

SIZE = (192, 128)
Scene = Callable[[Recordings, Taps], Awaitable[None]]


def request(taps: Taps, view: RecordingView = "edited", session: str = "s") -> RecordingRequest:
    return RecordingRequest(
        session=session, taps=taps, view=view, size=SIZE, portrait_sha256="ab" * 32
    )


def run(scene: Scene, folder: Path, **limits: Any) -> None:
    """Act with prepared recordings; afterwards nothing of them is left."""
    config = ServerConfig(
        recording_folder=folder, limits=Limits(**limits), model=str(folder / "model")
    )
    (folder / "model").mkdir()
    (folder / "model" / "config.yaml").write_text("size: 1\n", "utf-8")

    async def act() -> None:
        recordings = Recordings(config)
        await recordings.prepare()
        try:
            await scene(recordings, Taps())
        finally:
            await recordings.close()

    asyncio.run(act())
    assert [path.name for path in folder.iterdir()] == ["model"]


def identifier(download: str) -> str:
    assert download.startswith("/api/recordings/")
    return download.removeprefix("/api/recordings/")


async def show_some(taps: Taps, number: int = 5) -> None:
    label = Label()
    for index in range(number):
        await asyncio.to_thread(show, taps, index, label)


def names_in(folder: Path, part: str) -> set[str]:
    return {path.name for path in folder.rglob("*") if part in path.name}


async def path_of(recordings: Recordings, download: str) -> Path:
    found = await recordings.file(identifier(download))
    assert found is not None
    return found[0]


def test_a_recording_is_what_was_shown_labelled_and_signed(tmp_path: Path) -> None:
    async def scene(recordings: Recordings, taps: Taps) -> None:
        download = await recordings.start(request(taps))
        await show_some(taps)
        assert await recordings.stop("s") == download
        path = await path_of(recordings, download)
        images, _ = read_video(path)
        assert len(images) == 5
        for image in images:
            assert image.shape == (128, 192, 3)
            assert is_like(image, PORTRAIT_COLOUR)
            assert is_labelled(image)
        verdict = verify(path)
        assert verdict.is_good
        assert verdict.statement["portrait_sha256"] == "ab" * 32
        assert "driver_sha256" not in verdict.statement
        assert path.parent.stat().st_mode & 0o077 == 0

    run(scene, tmp_path)


def test_side_by_side_has_the_camera_s_picture_left_of_the_result(tmp_path: Path) -> None:
    async def scene(recordings: Recordings, taps: Taps) -> None:
        download = await recordings.start(request(taps, "side_by_side"))
        await show_some(taps)
        await recordings.stop("s")
        images, _ = read_video(await path_of(recordings, download))
        for image in images:
            assert image.shape == (128, 384, 3)
            assert is_like(image[:, :192], CAMERA_COLOUR)
            assert is_like(image[:, 192:], PORTRAIT_COLOUR)
            assert is_labelled(image, left=192)

    run(scene, tmp_path)


def test_a_model_that_takes_seconds_is_still_beside_the_picture_it_answers(tmp_path: Path) -> None:
    async def scene(recordings: Recordings, taps: Taps) -> None:
        download = await recordings.start(request(taps, "side_by_side"))
        label = Label()
        for number in range(90):
            taps.film(camera_frame(number))
        for number in (10, 50, 88):
            image, result = render(painted(number, PORTRAIT_COLOUR), label), camera_frame(number)
            await asyncio.to_thread(taps.see, *image, portrait_result(result))
        await recordings.stop("s")
        images, _ = read_video(await path_of(recordings, download))
        shown = [number_in(image[:, :192]) for image in images]
        assert np.abs(np.subtract(shown, [10, 50, 88])).max() <= 4

    run(scene, tmp_path)


def test_sound_is_recorded_where_there_is_any_and_none_of_a_burst_is_lost(tmp_path: Path) -> None:
    async def scene(recordings: Recordings, taps: Taps) -> None:
        taps.hear(sound(0))
        download = await recordings.start(request(taps))
        await show_some(taps, 1)
        for number in range(1, 11):
            taps.hear(sound(number))
        await show_some(taps)
        await recordings.stop("s")
        with av.open(str(await path_of(recordings, download))) as container:
            assert [stream.type for stream in container.streams] == ["video", "audio"]
            assert sum(frame.samples for frame in container.decode(audio=0)) >= 9600

    run(scene, tmp_path)


def test_one_at_a_time_and_the_second_stop_is_refused(tmp_path: Path) -> None:
    async def scene(recordings: Recordings, taps: Taps) -> None:
        with pytest.raises(RecordingError, match="nothing is being recorded"):
            await recordings.stop("s")
        await recordings.start(request(taps))
        with pytest.raises(RecordingError, match="running already"):
            await recordings.start(request(taps))
        await show_some(taps)
        await recordings.stop("s")
        with pytest.raises(RecordingError, match="nothing is being recorded"):
            await recordings.stop("s")
        assert not taps.is_watched

    run(scene, tmp_path)


def test_a_recording_without_a_picture_is_said_to_have_failed(tmp_path: Path) -> None:
    async def scene(recordings: Recordings, taps: Taps) -> None:
        download = await recordings.start(request(taps))
        with pytest.raises(OutputError, match="nothing was recorded"):
            await recordings.stop("s")
        assert await recordings.file(identifier(download)) is None
        state = recordings.state("s")
        assert state is not None
        assert "nothing was recorded" in state["message"]

    run(scene, tmp_path)


def test_at_its_longest_it_ends_itself_says_why_and_can_be_fetched(tmp_path: Path) -> None:
    async def scene(recordings: Recordings, taps: Taps) -> None:
        download = await recordings.start(request(taps))
        assert recordings.state("other") is None
        told = recordings.state("s")
        assert told is not None
        assert (told["is_recording"], told["message"], told["view"]) == (True, None, "edited")
        label = Label()
        async with asyncio.timeout(10):
            while taps.is_watched:
                await asyncio.to_thread(show, taps, 1, label)
                await asyncio.sleep(0.005)
        told = recordings.state("s")
        assert told is not None
        assert not told["is_recording"]
        assert "longest duration" in told["message"]
        assert await recordings.stop("s") == download
        assert (await path_of(recordings, download)).stat().st_size > 1000

    run(scene, tmp_path, recording_s=0.05)


def test_a_session_s_end_finishes_its_recording(tmp_path: Path) -> None:
    async def scene(recordings: Recordings, taps: Taps) -> None:
        download = await recordings.start(request(taps))
        await show_some(taps)
        with pytest.raises(RecordingError, match="still being recorded"):
            await recordings.file(identifier(download))
        taps.end()
        path = await path_of(recordings, download)
        assert len(read_video(path)[0]) == 5
        late = await recordings.start(request(taps, session="late"))
        assert await recordings.file(identifier(late)) is None

    run(scene, tmp_path)


def test_a_finished_one_is_removed_after_its_time(tmp_path: Path) -> None:
    async def scene(recordings: Recordings, taps: Taps) -> None:
        download = await recordings.start(request(taps))
        await show_some(taps)
        await recordings.stop("s")
        await until(lambda: recordings.state("s") is None)
        assert await recordings.file(identifier(download)) is None
        assert not names_in(tmp_path, "mp4")

    run(scene, tmp_path, recording_kept_s=0.01)


def test_past_the_number_kept_the_oldest_goes_and_running_ones_stay(tmp_path: Path) -> None:
    async def scene(recordings: Recordings, taps: Taps) -> None:
        async def made(session: str) -> str:
            download = await recordings.start(request(taps, session=session))
            await show_some(taps)
            await recordings.stop(session)
            return identifier(download)

        first, second = await made("a"), await made("b")
        third = await made("b")
        assert await recordings.file(first) is not None
        assert await recordings.file(second) is None
        fourth = await made("c")
        assert await recordings.file(first) is None
        assert await recordings.file(third) is not None
        await recordings.remove(third)
        await recordings.start(request(taps, session="running"))
        await made("d")
        assert await recordings.file(fourth) is None
        await recordings.start(request(taps, session="also running"))
        with pytest.raises(RecordingError, match="no room"):
            await recordings.start(request(taps, session="too many"))

    run(scene, tmp_path, num_recordings=2)


def test_one_that_runs_can_be_removed(tmp_path: Path) -> None:
    async def scene(recordings: Recordings, taps: Taps) -> None:
        download = await recordings.start(request(taps))
        await show_some(taps)
        assert await recordings.remove(identifier(download))
        assert not taps.is_watched
        assert not names_in(tmp_path, "mp4")
        assert not await recordings.remove(identifier(download))

    run(scene, tmp_path)


def test_what_a_killed_server_left_is_removed_and_a_running_one_s_is_not(tmp_path: Path) -> None:
    left = tmp_path / "difffae-recordings-left"
    left.mkdir()
    (left / "face.mp4").write_bytes(b"face")

    async def scene(recordings: Recordings, taps: Taps) -> None:
        assert not names_in(tmp_path, "face")
        mine = names_in(tmp_path, "difffae-recordings")
        other = Recordings(ServerConfig(recording_folder=tmp_path, model=str(tmp_path / "model")))
        await other.prepare()
        assert mine < names_in(tmp_path, "difffae-recordings")
        await other.close()

    run(scene, tmp_path)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    config = ServerConfig(recording_folder=tmp_path / "file")
    with pytest.raises(OutputError, match="--recording_folder"):
        asyncio.run(Recordings(config).prepare())


def test_a_certificate_that_cannot_sign_is_known_at_the_start(tmp_path: Path) -> None:
    config = ServerConfig(certificate=tmp_path / "none.pem", key=tmp_path / "none.pem")
    with pytest.raises(UsageError, match="cannot read"):
        asyncio.run(Recordings(config).prepare())


def test_a_failing_watcher_is_let_go_and_the_others_go_on(tmp_path: Path) -> None:
    async def scene(recordings: Recordings, taps: Taps) -> None:
        class Broken:
            num_told = 0

            def see(self, *_: object) -> None:
                self.num_told += 1
                raise RuntimeError("a bug")

            hear = film = end = see

        broken = Broken()
        taps.add(broken)
        download = await recordings.start(request(taps))
        await show_some(taps)
        await recordings.stop("s")
        assert broken.num_told == 1
        assert len(read_video(await path_of(recordings, download))[0]) == 5

    run(scene, tmp_path)


def test_a_real_connection_s_pictures_and_sound_are_recorded(tmp_path: Path) -> None:
    async def scene(recordings: Recordings, _: Taps) -> None:
        async with connected(lambda: opened(StubStream()), has_audio=True) as (client, peer, _told):
            await client.picture(is_portrait)
            await until(lambda: peer.taps.has_sound)
            download = await recordings.start(request(peer.taps, "side_by_side"))
            for _ in range(10):
                await client.picture(is_portrait)
        path = await path_of(recordings, download)
        images, _times = read_video(path)
        assert is_like(images[-1][:, :192], CAMERA_COLOUR)
        assert is_like(images[-1][:, 192:], PORTRAIT_COLOUR)
        assert is_labelled(images[-1], left=192)
        with av.open(str(path)) as container:
            assert [stream.type for stream in container.streams] == ["video", "audio"]

    run(scene, tmp_path)


async def tell(stage: Stage, **message: object) -> dict[str, Any]:
    """Send on the data channel and wait for the answer."""
    peer = stage.peers.made[-1]
    peer.request.on_message(json.dumps({"id": len(peer.sent), "type": "recording", **message}))
    wanted = f'"id": {len(peer.sent)},'
    await until(lambda: any(wanted in text for text in peer.sent))
    answer: dict[str, Any] = json.loads(next(text for text in peer.sent if wanted in text))
    return answer


def test_over_http_a_recording_is_started_fetched_and_deleted(tmp_path: Path) -> None:
    recordings = Recordings(ServerConfig(recording_folder=tmp_path / "recordings"))

    async def act() -> None:
        async with served(tmp_path, recorder=recordings) as stage:
            assert (await (await stage.client.get("/api/config")).json())["can_record"]
            status, body = await stage.begin()
            assert status == 201
            taps = stage.peers.made[-1].taps
            assert (await tell(stage, action="start", view="wide"))["code"] == "bad_message"
            assert (await tell(stage, action="stop", view="edited"))["code"] == "bad_message"
            download = (await tell(stage, action="start", view="side_by_side"))["download"]
            assert (await stage.client.get(download)).status == 409
            await show_some(taps)
            told = await (await stage.client.get(f"/api/sessions/{body['id']}")).json()
            assert told["stats"]["recording"]["is_recording"]
            assert told["stats"]["recording"]["download"] == download
            assert (await stage.client.delete(f"/api/sessions/{body['id']}")).status == 204
            answer = await stage.client.get(download)
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "video/mp4"
            assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            (tmp_path / "got.mp4").write_bytes(await answer.read())
            assert verify(tmp_path / "got.mp4").is_good
            assert (await stage.client.delete(download)).status == 204
            for method in ("GET", "DELETE"):
                gone = await stage.client.request(method, download)
                assert (await gone.json())["error"]["code"] == "unknown_recording"
            assert (await stage.client.get("/api/recordings/..%2F..%2Fsecret.txt")).status == 404

    asyncio.run(act())
    assert os.listdir(tmp_path / "recordings") == []
