"""What the compute process and its streams do under load, without a second process."""

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest

from streamer.compute_child import SlotAddress, _Desk
from streamer.controls import LiveControls
from streamer.frame_slot import Bell, FrameSlot
from streamer.live import SessionSettings
from streamer.load_ladder import LoadState
from streamer.slot_stream import SlotStream
from stub_compute import BYTES
from stub_engine import StubEngine, frame, portrait


class Line:
    """A desk with sessions whose slots the test holds the other ends of."""

    def __init__(self) -> None:
        self.engine = StubEngine("")
        self.portrait = self.engine.add_portrait(portrait())
        self.connection, child = multiprocessing.Pipe()
        bells = Bell.pair()
        self.closed: list[Connection | Bell] = [self.connection, child, *bells]
        self.desk = _Desk(self.engine, child, bells[1])
        self.slots: dict[str, tuple[FrameSlot, FrameSlot]] = {}

    def settings(self, steps: int) -> SessionSettings:
        return SessionSettings(portrait=self.portrait, controls=LiveControls(steps=steps))

    def open(self, name: str, steps: int = 1) -> SlotStream:
        _, results = slots = FrameSlot.create(BYTES), FrameSlot.create(BYTES)
        self.slots[name] = slots
        addresses = [SlotAddress(name=slot.name, capacity=slot.capacity) for slot in slots]
        self.desk._open(name, self.settings(steps), *addresses)
        link: Any = self
        stream = SlotStream(name, slots, link)
        taken = results.read()
        assert taken is not None
        stream._still = taken[0]
        return stream

    def ring(self) -> None:
        """Nobody listens."""


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.desk._stop()
    made.desk.close()
    for slots in made.slots.values():
        for slot in slots:
            slot.close()
    for thing in made.closed:
        thing.close()


def test_sessions_with_cameras_of_different_rates_are_served_in_turn(line: Line) -> None:
    rates = {"fast": 1, "half": 2, "slow": 6}  # a frame every so many turns of the model
    streams = {name: line.open(name) for name in rates}
    served: Counter[str] = Counter()
    for turn in range(120):
        for name, every in rates.items():
            if turn % every == 0:
                streams[name].put(frame(turn))
        before = {name: session.results.num_put for name, session in line.desk._sessions.items()}
        assert line.desk._serve_next() == 0
        served.update(
            name
            for name, session in line.desk._sessions.items()
            if session.results.num_put > before[name]
        )
    assert served["slow"] == 20
    assert served["fast"] == pytest.approx(50, abs=2)
    assert served["half"] == pytest.approx(50, abs=2)


def test_under_load_the_model_is_given_fewer_steps_and_all_of_them_afterwards(line: Line) -> None:
    stream = line.open("a", steps=4)
    line.open("b")
    steps = []
    for level, number in ((0, 1), (1, 2), (2, 3), (0, 4)):
        line.desk._load.state = LoadState(level=level)
        stream.put(frame(number))
        assert line.desk._serve_next() == 0
        steps.append(line.engine.settings["a"].controls.steps)
    assert steps == [4, 2, 1, 4]


def test_controls_that_change_under_load_stay_within_it_and_are_kept_for_later(line: Line) -> None:
    stream = line.open("a", steps=4)
    line.desk._load.state = LoadState(level=1)
    line.desk._update("a", line.settings(4))
    assert line.engine.settings["a"].controls.steps == 2
    line.desk._update("a", line.settings(1))
    assert line.engine.settings["a"].controls.steps == 1
    line.desk._update("a", line.settings(4))
    line.desk._load.state = LoadState(level=0)
    stream.put(frame(1))
    line.desk._serve_next()
    assert line.engine.settings["a"].controls.steps == 4


def test_a_stream_leaves_out_the_frames_that_it_is_told_to_and_counts_them(line: Line) -> None:
    stream = line.open("a")
    told = {"number": 0, "face": "tracked", "times_s": {}, "load_level": 3, "keep_every": 2.0}
    session = line.desk._sessions["a"]
    session.results.write(np.zeros((2, 2, 3), np.uint8), told)
    assert stream.collect()
    for number in range(1, 7):
        stream.put(frame(number))
        taken = session.frames.read()
        assert (taken is not None) == (number % 2 == 0)
    assert (stream.num_put, stream.num_dropped) == (6, 3)
    assert not stream._mailbox.is_closed
