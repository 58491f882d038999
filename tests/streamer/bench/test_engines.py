"""The engines to measure with do what they say, and the product's server cannot load one."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

import stub_engine
from streamer.bench import counter
from streamer.bench.engines import CountedEngine, PassEngine, load_pass
from streamer.errors import UsageError
from streamer.live import LiveResult, SessionSettings, StagedLiveEngine, TimedFrame
from streamer.server_config import ServerConfig, read_config


class Staged(stub_engine.StubEngine):
    """Does all of its work in the second stage."""

    def prepare(self, session: str, frame: TimedFrame) -> Callable[[], LiveResult]:
        return partial(self.process, session, frame)


def numbered(number: int) -> TimedFrame:
    (image,) = list(counter.numbered(1))
    counter.draw(image, number)
    return TimedFrame(image=image, number=number, times_s={"captured": 0.25})


def test_the_pass_engine_hands_the_picture_back_after_its_delay() -> None:
    waited: list[float] = []
    engine = PassEngine(0.067, waited.append)
    still = np.full((8, 6, 3), 9, np.uint8)
    settings = SessionSettings(portrait=engine.add_portrait(still))
    assert (engine.open("one", settings) == still).all()
    frame = numbered(300)
    result = engine.process("one", frame)
    assert waited == [0.067]
    assert counter.read(result.image) == 300
    assert (result.number, result.face) == (300, "tracked")
    assert {"captured", "model_begun", "model_done"} == set(result.times_s)


def test_the_pass_engine_without_delay_does_not_even_yield() -> None:
    def never(_: float) -> None:
        raise AssertionError("slept")

    PassEngine(0.0, never).process("one", numbered(1))
    assert isinstance(load_pass(0.1), PassEngine)


def test_a_counted_engine_works_as_its_own_and_shows_only_the_cameras_number() -> None:
    engine = CountedEngine(Staged(""))
    assert isinstance(engine, StagedLiveEngine)
    still = np.full((150, 120, 3), 9, np.uint8)
    settings = SessionSettings(portrait=engine.add_portrait(still))
    engine.open("one", settings)
    frame = numbered(41)
    frame.image[0, 0, 0] = stub_engine.PLAIN
    result = engine.process("one", frame)
    assert counter.read(result.image) == 41
    assert (result.image[:100] == 41).all()  # what the stub paints: no camera in it
    assert result.times_s["captured"] == 0.25
    engine.close("one")


def test_the_server_has_no_option_that_reaches_them() -> None:
    assert not any("engine" in name for name in vars(ServerConfig()))
    with pytest.raises(UsageError, match="engine"):
        read_config(["--engine", "pass"])
