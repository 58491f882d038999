"""A frame is prepared while the one before it is being finished, and nothing gets out of order."""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait

import pytest

from streamer.compute_child import SessionFailed, SlotAddress, _Desk
from streamer.controls import LiveControls
from streamer.frame_slot import Bell, FrameSlot
from streamer.live import LiveResult, SessionSettings, StagedLiveEngine, TimedFrame
from stub_compute import BYTES
from stub_engine import FAIL, StubEngine, frame, portrait

SECONDS = 20.0


class StagedStub(StubEngine):
    """Its second stage waits until the test lets a frame go."""

    def __init__(self) -> None:
        super().__init__("")
        self.prepared: list[int] = []
        self.may_finish = threading.Semaphore(0)

    def prepare(self, session: str, frame: TimedFrame) -> Callable[[], LiveResult]:
        self.prepared.append(frame.number)
        settings = self.settings[session]

        def finish() -> LiveResult:
            assert self.may_finish.acquire(timeout=SECONDS)
            if frame.image[0, 0, 0] == FAIL:
                raise ZeroDivisionError("asked to fail")
            still = self.portraits[settings.portrait]
            return LiveResult(image=still, number=frame.number, face="tracked", times_s={})

        return finish


class Room:
    """A desk with one session, of whose slots and bell the test holds the other ends."""

    def __init__(self) -> None:
        self.engine = StagedStub()
        name = self.engine.add_portrait(portrait())
        settings = SessionSettings(portrait=name, controls=LiveControls())
        self.parent, child = multiprocessing.Pipe()
        self.bell, other = Bell.pair()
        self.frames, self.results = FrameSlot.create(BYTES), FrameSlot.create(BYTES)
        addresses = [SlotAddress(name=s.name, capacity=s.capacity) for s in self.slots]
        self.desk = _Desk(self.engine, child, other)
        self.desk._open("a", settings, *addresses)
        self.results.read()
        self._ends: list[Connection | Bell] = [self.parent, child, self.bell, other]

    @property
    def slots(self) -> tuple[FrameSlot, FrameSlot]:
        return self.frames, self.results

    def put(self, number: int, order: int = 0) -> None:
        """A frame from the camera, and the desk's turn."""
        taken = frame(number, order)
        self.frames.write(taken.image, {"number": number, "times_s": {}})
        self.desk._serve_next()

    def finish(self) -> None:
        """Let the frame that is being finished go, and the desk see it."""
        self.engine.may_finish.release()
        assert wait([self.desk._painter], timeout=SECONDS)
        self.desk._settle()

    def close(self) -> None:
        for _ in range(9):
            self.engine.may_finish.release()
        self.desk._stop()
        self.desk.close()
        for end in (*self._ends, *self.slots):
            end.close()


@pytest.fixture
def room() -> Iterator[Room]:
    made = Room()
    yield made
    made.close()


def number_of(slot: FrameSlot) -> int | None:
    taken = slot.read()
    return None if taken is None else taken[1]["number"]


def test_the_stub_works_in_stages_and_the_plain_one_does_not() -> None:
    assert isinstance(StagedStub(), StagedLiveEngine)
    assert not isinstance(StubEngine(""), StagedLiveEngine)


def test_the_next_frame_is_prepared_while_one_is_held_in_the_second_stage(room: Room) -> None:
    room.put(1)
    room.put(2)
    assert room.engine.prepared == [1, 2]
    assert number_of(room.results) is None


def test_no_third_frame_is_begun_before_one_is_finished(room: Room) -> None:
    for number in (1, 2, 3, 4):
        room.put(number)
    assert room.engine.prepared == [1, 2]
    room.finish()
    assert number_of(room.results) == 1
    while room.frames.has_new:
        assert room.desk._serve_next() is not None
    assert room.engine.prepared == [1, 2, 4]


def test_results_come_in_the_order_of_the_frames(room: Room) -> None:
    room.put(1)
    room.put(2)
    numbers = []
    for _ in range(2):
        room.finish()
        numbers.append(number_of(room.results))
    assert numbers == [1, 2]


def test_the_parent_sees_work_in_hand_until_the_last_frame_is_finished(room: Room) -> None:
    assert not room.frames.is_at_work
    room.put(1)
    room.put(2)
    room.finish()
    assert room.frames.is_at_work
    room.finish()
    assert not room.frames.is_at_work


def test_who_reads_the_last_result_sees_no_work_in_hand_though_the_desk_has_not_looked(
    room: Room,
) -> None:
    room.put(1)
    room.engine.may_finish.release()
    assert wait([room.desk._painter], timeout=SECONDS)
    assert number_of(room.results) == 1
    assert not room.frames.is_at_work


def test_a_session_that_is_closed_meanwhile_is_given_no_result(room: Room) -> None:
    room.put(1)
    room.desk._close("a")
    room.finish()
    assert number_of(room.results) is None
    assert not room.parent.poll()


def test_a_fault_in_the_second_stage_closes_the_session_with_a_sentence(room: Room) -> None:
    room.put(1, FAIL)
    room.finish()
    told = room.parent.recv()
    assert isinstance(told, SessionFailed)
    assert told.session == "a"
    assert "ZeroDivisionError" in told.sentence
    assert "a" not in room.desk._sessions
