"""Pictures through shared memory, also against a real second process."""

import asyncio
import errno
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer import frame_slot
from streamer.frame_slot import Bell, FrameSlot, FrameSlotError

pytestmark = pytest.mark.computes

CAPACITY = 64 * 48 * 3
NUM_PICTURES = 2000


@pytest.fixture
def ends() -> Iterator[tuple[FrameSlot, FrameSlot]]:
    writer = FrameSlot.create(CAPACITY)
    reader = FrameSlot.attach(writer.name, CAPACITY)
    yield writer, reader
    reader.close()
    writer.close()


def picture(value: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_what_is_read_is_what_was_written_last(ends: tuple[FrameSlot, FrameSlot]) -> None:
    writer, reader = ends
    assert reader.read() is None
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    writer.write(picture(1), {"number": 1})
    writer.write(image, {"number": 2, "times_s": {"captured": 0.1}})
    assert reader.has_new
    taken = reader.read()
    assert taken is not None
    np.testing.assert_array_equal(taken[0], image)
    assert taken[1] == {"number": 2, "times_s": {"captured": 0.1}}
    assert not reader.has_new
    assert reader.read() is None
    assert (writer.num_put, writer.num_dropped) == (2, 1)


def test_a_picture_read_before_the_next_is_not_counted_as_dropped(
    ends: tuple[FrameSlot, FrameSlot],
) -> None:
    writer, reader = ends
    for number in range(4):
        writer.write(picture(number), {})
        taken = reader.read()
        assert taken is not None
        assert taken[0].max() == number
    assert (writer.num_put, writer.num_dropped) == (4, 0)


def test_a_picture_that_is_read_stays_as_it_was_when_others_follow(
    ends: tuple[FrameSlot, FrameSlot],
) -> None:
    writer, reader = ends
    writer.write(picture(1), {})
    taken = reader.read()
    assert taken is not None
    for number in (2, 3, 4):
        writer.write(picture(number), {})
    assert taken[0].min() == taken[0].max() == 1


def test_a_part_of_a_larger_array_is_written_as_seen(ends: tuple[FrameSlot, FrameSlot]) -> None:
    writer, reader = ends
    image = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)[::-2, 3:9]
    writer.write(image, {})
    taken = reader.read()
    assert taken is not None
    np.testing.assert_array_equal(taken[0], image)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (picture(0, 49, 64), "64×49 is larger"),
        (np.zeros((4, 4), np.uint8), r"got \(4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
    ],
)
def test_what_does_not_fit_is_refused_and_what_waits_stays(
    ends: tuple[FrameSlot, FrameSlot], image: np.ndarray, words: str
) -> None:
    writer, reader = ends
    writer.write(picture(9), {})
    with pytest.raises(FrameSlotError, match=words):
        writer.write(image, {})
    taken = reader.read()
    assert taken is not None
    assert taken[0].max() == 9


def test_too_long_a_header_is_refused(ends: tuple[FrameSlot, FrameSlot]) -> None:
    with pytest.raises(FrameSlotError):
        ends[0].write(picture(1), {"text": "x" * 5000})
    assert ends[1].read() is None


def test_a_picture_that_was_only_begun_is_never_read(ends: tuple[FrameSlot, FrameSlot]) -> None:
    writer, reader = ends
    writer.write(picture(1), {})

    class HalfWayError(RuntimeError):
        pass

    def stop_half_way(start: int, size: int) -> np.ndarray:
        np.frombuffer(writer._memory.buf, np.uint8, size, start + 4096)[: size // 2] = 2
        raise HalfWayError

    writer._pixels = stop_half_way  # type: ignore[method-assign]
    with pytest.raises(HalfWayError):
        writer.write(picture(2), {})
    taken = reader.read()
    assert taken is not None
    assert taken[0].min() == taken[0].max() == 1
    assert reader.read() is None


def test_more_than_the_machine_has_is_refused_before_anything_is_taken() -> None:
    before = set(os.listdir("/dev/shm"))
    with pytest.raises(FrameSlotError, match="--shm-size"):
        FrameSlot.create(1 << 50)
    assert set(os.listdir("/dev/shm")) == before


def test_an_unlinked_slot_has_no_name_and_still_works() -> None:
    writer = FrameSlot.create(CAPACITY)
    reader = FrameSlot.attach(writer.name, CAPACITY)
    assert Path("/dev/shm", writer.name).exists()
    writer.unlink()
    assert not Path("/dev/shm", writer.name).exists()
    writer.write(picture(5), {})
    taken = reader.read()
    assert taken is not None
    assert taken[0].max() == 5
    writer.close()
    reader.close()


def write_many(name: str, bell: Bell) -> None:
    slot = FrameSlot.attach(name, CAPACITY)
    for number in range(1, NUM_PICTURES + 1):
        height, width = 8 + number % 40, 8 + number % 56
        slot.write(picture(number % 251, height, width), {"number": number})
        bell.ring()
    slot.close()


def test_a_second_process_writing_at_full_speed_never_shows_a_torn_picture() -> None:
    context = multiprocessing.get_context("spawn")
    slot = FrameSlot.create(CAPACITY)
    near, far = Bell.pair()

    async def read_all() -> list[int]:
        rung = asyncio.Event()
        asyncio.get_running_loop().add_reader(near.fileno(), rung.set)
        numbers: list[int] = []
        while not numbers or numbers[-1] < NUM_PICTURES:
            await rung.wait()
            near.silence()
            rung.clear()
            taken = slot.read()
            if taken is None:
                continue
            image, header = taken
            number = header["number"]
            assert image.shape == (8 + number % 40, 8 + number % 56, 3)
            assert image.min() == image.max() == number % 251
            numbers.append(number)
        asyncio.get_running_loop().remove_reader(near.fileno())
        return numbers

    process = context.Process(target=write_many, args=(slot.name, far))
    process.start()
    far.close()
    numbers = asyncio.run(read_all())
    process.join()
    assert process.exitcode == 0
    assert numbers == sorted(set(numbers))
    near.close()
    slot.close()


def write_and_die(name: str) -> None:
    FrameSlot.attach(name, CAPACITY).write(picture(3), {})
    os.kill(os.getpid(), signal.SIGKILL)


def test_after_the_writer_was_killed_its_last_picture_is_read_and_nothing_stays_behind() -> None:
    slot = FrameSlot.create(CAPACITY)
    process = multiprocessing.get_context("spawn").Process(target=write_and_die, args=(slot.name,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    taken = slot.read()
    assert taken is not None
    assert taken[0].max() == 3
    slot.close()
    assert not Path("/dev/shm", slot.name).exists()


def test_ringing_never_waits_and_many_rings_are_one() -> None:
    one, other = Bell.pair()
    for _ in range(100_000):
        one.ring()
    other.silence()
    with pytest.raises(BlockingIOError):
        other._end.recv(1)
    other.close()
    one.ring()
    one.close()


def test_memory_that_is_taken_meanwhile_is_a_sentence_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    made: list[str] = []
    create = frame_slot.SharedMemory

    def noted(**arguments: Any) -> Any:
        memory = create(**arguments)
        made.append(memory.name)
        return memory

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(frame_slot, "SharedMemory", noted)
    with pytest.raises(FrameSlotError, match="--shm-size"):
        FrameSlot.create(CAPACITY)
    assert not Path("/dev/shm", made[0]).exists()


def test_the_writer_sees_whether_the_reader_is_at_work(ends: tuple[FrameSlot, FrameSlot]) -> None:
    writer, reader = ends
    assert not writer.is_at_work
    reader.is_at_work = True
    assert writer.is_at_work
    reader.is_at_work = False
    assert not writer.is_at_work
