"""The track that goes back: what is on it in good times and bad, and never the camera."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

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
from streamer.errors import ComputeLostError
from streamer.label import Label, notice_card
from streamer.live import LiveResult, Picture, TimedFrame
from streamer.outgoing import OutgoingSettings, OutgoingTrack, render
from streamer.stage_times import StageTimes

QUICK = OutgoingSettings(repeat_s=0.02)


def camera_frame(number: int) -> TimedFrame:
    image = painted(number, CAMERA_COLOUR)
    return TimedFrame(image=image, number=number, times_s={"captured": 1.0, "received": 1.01})


def shown(frame: VideoFrame) -> Picture:
    return frame.to_ndarray(format="rgb24")


def is_labelled(image: Picture) -> bool:
    """Whether bright text stands on a dark plate in the top right corner."""
    left, top, right, bottom = Label().box(*image.shape[:2])
    plate = image[top:bottom, left:right].mean(-1)
    return bool(plate.max() > 200 and 0.03 < (plate > 150).mean() < 0.5 and plate.min() < 100)


def run_scene(scene: Callable[[OutgoingTrack, list[Any]], Awaitable[None]]) -> None:
    async def whole() -> None:
        told: list[Any] = []
        with ThreadPoolExecutor(1) as executor:
            track = OutgoingTrack(executor, QUICK, on_face=told.append, on_failure=told.append)
            await asyncio.wait_for(scene(track, told), 10)
            track.stop()

    asyncio.run(whole())


async def recv_until(track: OutgoingTrack, wanted: Callable[[Picture], bool]) -> Picture:
    while not wanted(image := shown(await track.recv())):
        assert is_labelled(image)
    return image


def test_results_come_out_labelled_with_their_number() -> None:
    async def scene(track: OutgoingTrack, told: list[Any]) -> None:
        stream = StubStream()
        track.show(stream)
        await track.recv()
        for number in (3, 170):
            stream.put(camera_frame(number))
            image = await recv_until(track, lambda image, n=number: number_in(image) == n)
            assert is_like(image, PORTRAIT_COLOUR)
            assert is_labelled(image)
        assert told == ["tracked"]
        assert track.stage_times.median_s("total") > 0

    run_scene(scene)


def test_only_the_newest_result_is_sent() -> None:
    async def scene(track: OutgoingTrack, told: list[Any]) -> None:
        stream = StubStream()
        track.show(stream)
        await track.recv()
        for number in range(5):
            stream.put(camera_frame(number))
        assert number_in(shown(await track.recv())) == 4

    run_scene(scene)


def test_a_loading_card_and_then_the_still_portrait_are_shown_while_warming() -> None:
    async def scene(track: OutgoingTrack, told: list[Any]) -> None:
        first = shown(await track.recv())
        assert first.shape == (512, 512, 3)
        assert is_labelled(first)
        stream = StubStream()
        track.show(stream)
        still = shown(await track.recv())
        assert is_like(still, tuple(channel // 2 for channel in PORTRAIT_COLOUR))
        assert is_labelled(still)
        assert is_like(shown(await track.recv()), tuple(c // 2 for c in PORTRAIT_COLOUR))

    run_scene(scene)


def test_the_last_result_is_repeated_when_none_follows() -> None:
    async def scene(track: OutgoingTrack, told: list[Any]) -> None:
        stream = StubStream()
        track.show(stream)
        await track.recv()
        stream.put(camera_frame(9))
        assert [number_in(shown(await track.recv())) for _ in range(3)] == [9, 9, 9]

    run_scene(scene)


@pytest.mark.parametrize("error", [ValueError("a bug"), ComputeLostError("it died")])
def test_on_any_failure_a_card_is_shown_until_the_next_result(error: Exception) -> None:
    async def scene(track: OutgoingTrack, told: list[Any]) -> None:
        def fail(frame: TimedFrame) -> LiveResult:
            raise error

        stream = StubStream()
        track.show(stream)
        await track.recv()
        stream.put(camera_frame(1))
        await track.recv()
        stream.make = fail
        stream.put(camera_frame(2))
        for _ in range(2):
            card = shown(await track.recv())
            assert is_like(card, (28, 30, 36))
            assert is_labelled(card)
        assert told == ["tracked", error]
        stream.make = portrait_result
        stream.put(camera_frame(77))
        await recv_until(track, lambda image: number_in(image) == 77)
        assert told == ["tracked", error, "tracked"]

    run_scene(scene)


def test_a_lost_process_is_told_also_right_after_another_failure() -> None:
    async def scene(track: OutgoingTrack, told: list[Any]) -> None:
        errors = [ValueError("a bug"), ValueError("again"), ComputeLostError("it died")]

        def fail(frame: TimedFrame) -> LiveResult:
            raise errors[frame.number]

        stream = StubStream(fail)
        track.show(stream)
        await track.recv()
        for number in range(3):
            stream.put(camera_frame(number))
            await track.recv()
        assert told == [errors[0], errors[2]]

    run_scene(scene)


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8), None]
)
def test_a_result_that_is_no_picture_gives_a_card(image: Any) -> None:
    async def scene(track: OutgoingTrack, told: list[Any]) -> None:
        stream = StubStream(
            lambda frame: LiveResult(image=image, number=0, face="tracked", times_s={})
        )
        track.show(stream)
        await track.recv()
        stream.put(camera_frame(1))
        card = shown(await track.recv())
        assert is_like(card, (28, 30, 36))
        assert is_labelled(card)
        assert len(told) == 1

    run_scene(scene)


def test_times_on_the_track_increase_with_the_clock() -> None:
    async def scene(track: OutgoingTrack, told: list[Any]) -> None:
        stream = StubStream()
        track.show(stream)
        stamps = [(await track.recv()).pts for _ in range(4)]
        assert all(later > earlier for earlier, later in pairwise(stamps))
        assert stamps[0] == 0
        assert stamps[-1] >= 3 * 0.02 * 90000 * 0.9

    run_scene(scene)


def test_times_on_the_track_increase_also_when_the_clock_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(track: OutgoingTrack, told: list[Any]) -> None:
        track.show(StubStream())
        assert [(await track.recv()).pts for _ in range(3)] == [0, 1, 2]

    monkeypatch.setattr("streamer.outgoing.time", SimpleNamespace(monotonic=lambda: 5.0))
    run_scene(scene)


def test_a_stopped_track_ends_who_waits_for_it_and_leaves_no_task() -> None:
    async def scene() -> None:
        with ThreadPoolExecutor(1) as executor:
            track = OutgoingTrack(executor, OutgoingSettings(repeat_s=0.05))
            track.show(StubStream())
            await track.recv()
            waiting = asyncio.ensure_future(track.recv())
            await asyncio.sleep(0)
            track.stop()
            with pytest.raises(MediaStreamError):
                await asyncio.wait_for(waiting, 5)
            await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})

    asyncio.run(scene())


def test_a_stopped_track_asks_its_stream_for_nothing_and_complains_of_nothing() -> None:
    """The stream is being closed by then, and says so with an error."""

    async def scene(track: OutgoingTrack, told: list[Any]) -> None:
        stream = StubStream()
        track.show(stream)
        await track.recv()
        stream._results.put_nowait(ComputeLostError("closed"))
        track.stop()
        with pytest.raises(MediaStreamError):
            await track.recv()
        await asyncio.sleep(0)
        assert told == []
        assert stream._results.qsize() == 1

    run_scene(scene)


@pytest.mark.parametrize("size", [(16, 16), (48, 64), (128, 192), (480, 640), (1080, 1920)])
def test_the_label_is_in_the_corner_at_any_size_and_nowhere_else(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 200, np.uint8)
    labelled = Label().burn_in(image)
    left, top, right, bottom = Label().box(*size)
    assert (top, right) == (0, size[1])
    assert bottom >= min(14, size[0] // 8)
    assert labelled[top:bottom, left:right].std() > 10
    labelled[top:bottom, left:right] = 200
    assert (labelled == 200).all()
    assert (image == 200).all()


def test_odd_sizes_become_even_for_the_encoder() -> None:
    frame, _ = render(np.zeros((33, 65, 3), np.uint8), Label())
    assert (frame.height, frame.width, frame.format.name) == (32, 64, "yuv420p")


def test_a_card_shows_its_sentence() -> None:
    card = notice_card("The picture cannot be edited right now.", 120, 160)
    assert card.shape == (120, 160, 3)
    assert (card > 200).any()
    assert not (card[:8] > 200).any()


def test_stage_times_are_differences_in_order_and_fps_counts_the_last_seconds() -> None:
    times = StageTimes(num_kept=10)
    for i in range(20):
        begin = i / 10
        times.add_frame({"captured": begin, "model": begin + 0.03, "received": begin + 0.01})
    times.add("encode", 0.004)
    stages = times.stages_ms()
    assert list(stages) == ["receive", "model", "total", "encode"]
    assert stages["receive"] == {"p50": 10.0, "p95": 10.0}
    assert stages["model"]["p50"] == 20.0
    assert stages["total"]["p95"] == 30.0
    assert times.fps(2.0) == pytest.approx(10, rel=0.15)
    assert times.fps(100.0) == 0
