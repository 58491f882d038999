"""The pump between a received track and the compute stream."""

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from painted_media import CAMERA_COLOUR, StubStream, number_in, painted, until, video_frame
from streamer.capture import Capture, CaptureClock, CaptureSettings, to_picture
from streamer.delayed_audio import DelayedAudio
from streamer.live import TimedFrame
from streamer.taps import ShownPicture, Taps


class Played(MediaStreamTrack):
    """A track that gives its frames at once and ends."""

    kind = "video"

    def __init__(self, frames: list[Any]) -> None:
        super().__init__()
        self.frames = list(frames)

    async def recv(self) -> Any:
        await asyncio.sleep(0)
        if not self.frames:
            raise MediaStreamError
        return self.frames.pop(0)


class Held(ThreadPoolExecutor):
    """Does nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__(1)
        self.calls: list[tuple[Future[Any], Any]] = []
        self.was_called = asyncio.Event()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.calls.append((future, lambda: fn(*args, **kwargs)))
        self.was_called.set()
        return future

    def do_next(self) -> None:
        future, work = self.calls.pop(0)
        future.set_result(work())


def numbered(count: int) -> list[VideoFrame]:
    return [video_frame(painted(i, CAMERA_COLOUR), 3000 * i) for i in range(count)]


def test_pictures_arrive_as_rgb_with_running_numbers_and_increasing_times() -> None:
    async def scene() -> None:
        stream = StubStream()
        queue: asyncio.Queue[VideoFrame] = asyncio.Queue()

        class Fed(Played):
            async def recv(self) -> VideoFrame:
                return await queue.get()

        with ThreadPoolExecutor(1) as executor:
            capture = Capture(lambda: stream, executor)
            pump = asyncio.ensure_future(capture.run(Fed([])))
            for i, frame in enumerate(numbered(3)):
                queue.put_nowait(frame)
                await until(lambda wanted=i: len(stream.frames) > wanted)
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
        assert [frame.number for frame in stream.frames] == [0, 1, 2]
        assert [number_in(frame.image) for frame in stream.frames] == [0, 1, 2]
        assert np.abs(stream.frames[0].image[0, 0].astype(int) - CAMERA_COLOUR).max() < 12
        times = stream.frames[2].times_s
        assert times["captured"] <= times["received"] <= times["converted"]
        assert (capture.num_received, capture.num_dropped) == (3, 0)

    asyncio.run(scene())


def test_pictures_overtaken_during_conversion_are_counted_and_never_converted() -> None:
    async def scene() -> None:
        stream, executor = StubStream(), Held()
        capture = Capture(lambda: stream, executor)
        frames: asyncio.Queue[VideoFrame] = asyncio.Queue()

        class Fed(Played):
            async def recv(self) -> VideoFrame:
                return await frames.get()

        pump = asyncio.ensure_future(capture.run(Fed([])))
        pictures = numbered(5)
        frames.put_nowait(pictures[0])
        await until(lambda: executor.calls)
        for picture in pictures[1:]:
            frames.put_nowait(picture)
        await until(lambda: capture.num_received == 5)
        executor.do_next()
        await until(lambda: executor.calls)
        executor.do_next()
        await until(lambda: len(stream.frames) == 2)
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)
        assert [frame.number for frame in stream.frames] == [0, 4]
        assert capture.num_dropped == 3

    asyncio.run(scene())


def test_pictures_with_nowhere_to_go_are_read_and_dropped() -> None:
    async def scene() -> None:
        frames: asyncio.Queue[VideoFrame] = asyncio.Queue()

        class Fed(Played):
            async def recv(self) -> VideoFrame:
                return await frames.get()

        with ThreadPoolExecutor(1) as executor:
            capture = Capture(lambda: None, executor)
            pump = asyncio.ensure_future(capture.run(Fed([])))
            for frame in numbered(4):
                frames.put_nowait(frame)
            await until(lambda: capture.num_dropped == 4)
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
        assert capture.num_received == 4

    asyncio.run(scene())


def test_the_pump_ends_with_its_track_and_leaves_no_task() -> None:
    async def scene() -> None:
        with ThreadPoolExecutor(1) as executor:
            await Capture(lambda: None, executor).run(Played(numbered(2)))
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scene())


def test_conversion_happens_in_the_executor() -> None:
    names: list[str] = []

    class Stream(StubStream):
        def put(self, frame: Any) -> None:
            super().put(frame)

    async def scene() -> None:
        stream = Stream()
        with ThreadPoolExecutor(1, thread_name_prefix="converts") as executor:
            submit = executor.submit

            def spied(fn: Any, /, *args: Any, **kwargs: Any) -> Any:
                return submit(lambda: (names.append(threading.current_thread().name), fn(*args))[1])

            executor.submit = spied  # type: ignore[method-assign]
            frames: asyncio.Queue[VideoFrame] = asyncio.Queue()

            class Fed(Played):
                async def recv(self) -> VideoFrame:
                    return await frames.get()

            frames.put_nowait(numbered(1)[0])
            pump = asyncio.ensure_future(Capture(lambda: stream, executor).run(Fed([])))
            await until(lambda: stream.frames)
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    asyncio.run(scene())
    assert names[0].startswith("converts")


def test_pictures_that_are_too_large_are_reduced_in_proportion() -> None:
    large = video_frame(painted(0, CAMERA_COLOUR, 400, 800))
    assert to_picture(large, CaptureSettings(most_px=200)).shape == (100, 200, 3)


def test_the_time_of_capture_is_told_from_the_quickest_frame_and_follows_drift() -> None:
    clock = CaptureClock()
    assert clock.captured_s(0.0, 100.05) == pytest.approx(100.05)
    assert clock.captured_s(1.0, 101.02) == pytest.approx(101.02)
    late = clock.captured_s(2.0, 102.30)
    assert late == pytest.approx(102.02, abs=1e-3)
    for second in range(3, 1000):
        captured = clock.captured_s(second, 100.02 + second * 1.0001)
    assert captured == pytest.approx(100.02 + 999 * 1.0001)


def test_sound_leaves_as_late_as_it_is_told_and_in_order() -> None:
    async def scene() -> None:
        now, delay = [10.0], [0.3]
        audio = DelayedAudio(lambda: delay[0], clock=lambda: now[0])
        sent = [AudioFrame(samples=960) for _ in range(2)]
        audio.put(sent[0])
        now[0] = 10.02
        audio.put(sent[1])
        getting = asyncio.ensure_future(audio.recv())
        now[0] = 10.29
        await asyncio.sleep(0)
        assert not getting.done()
        now[0] = 10.31
        assert await asyncio.wait_for(getting, 5) is sent[0]
        delay[0] = 0.1
        assert await asyncio.wait_for(audio.recv(), 5) is sent[1]

    asyncio.run(scene())


def test_sound_that_is_not_to_go_back_goes_to_watchers_alone() -> None:
    class Listener:
        def __init__(self) -> None:
            self.heard: list[AudioFrame] = []

        def see(self, shown: ShownPicture) -> None: ...

        def hear(self, frame: AudioFrame, time_s: float) -> None:
            self.heard.append(frame)

        def film(self, frame: TimedFrame) -> None: ...

        def end(self) -> None: ...

    async def scene() -> None:
        taps, listener = Taps(), Listener()
        taps.add(listener)
        audio = DelayedAudio(lambda: 0.0, taps=taps)
        first, second, third = (AudioFrame(samples=960) for _ in range(3))
        taps.is_sound_returned = False
        getting = asyncio.ensure_future(audio.recv())
        audio.put(first)
        audio.put(second)
        await until(lambda: len(listener.heard) == 2)
        assert not getting.done()
        taps.is_sound_returned = True
        audio.put(third)
        assert await asyncio.wait_for(getting, 5) is third
        assert listener.heard == [first, second, third]
        assert audio.num_dropped == 0

    asyncio.run(scene())


def test_sound_that_nobody_fetches_stays_bounded_and_a_stopped_track_says_so() -> None:
    async def scene() -> None:
        audio = DelayedAudio(lambda: 0.0)
        for _ in range(250):
            audio.put(AudioFrame(samples=960))
        assert audio.num_dropped == 50
        waiting = DelayedAudio(lambda: 0.0)
        getting = asyncio.ensure_future(waiting.recv())
        await asyncio.sleep(0)
        waiting.stop()
        with pytest.raises(MediaStreamError):
            await asyncio.wait_for(getting, 5)

    asyncio.run(scene())
