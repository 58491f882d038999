"""Pictures from one process to another: a slot in shared memory where the latest wins.

The slot holds two pictures. The writer fills the one that is not the newest, marks it with its
number and only then announces that number; the reader copies the newest and looks at the mark
again. Neither waits for the other, and one that is killed leaves the other a whole picture.
Order of the stores is what x86-64 guarantees; elsewhere the bell's system call gives it.
"""

import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.shared_memory import SharedMemory
from typing import Any, cast

import numpy as np

from streamer.errors import StreamerError
from streamer.live import Picture

_WORDS = 8  # newest number, number taken, marks of both pictures, lengths of both headers, at work
_NEWEST, _TAKEN, _MARK, _LENGTH, _AT_WORK = 0, 1, 2, 4, 6
_WORD_BYTES = 8
_HEADER_BYTES = 4096
_SHARED_MEMORY = "/dev/shm"


class FrameSlotError(StreamerError):
    """A picture that does not fit, or no shared memory for one that would."""


class FrameSlot:
    """One end of a slot; one process writes and one reads.

    Attributes:
        name: by which the other process attaches.
        capacity: bytes of the largest picture.
        num_put: pictures written by this end.
        num_dropped: of those, replaced before they were read.
    """

    def __init__(self, memory: SharedMemory, capacity: int) -> None:
        self.name = memory.name
        self.capacity = capacity
        self.num_put = 0
        self.num_dropped = 0
        self._memory = memory
        self._buffer = cast(memoryview, memory.buf)
        self._words = self._buffer[: _WORDS * _WORD_BYTES].cast("Q")
        self._is_linked = True

    @classmethod
    def create(cls, capacity: int) -> "FrameSlot":
        """A new, empty slot.

        Raises:
            FrameSlotError: the machine has not that much shared memory left.
        """
        size = _start(2, capacity)
        full = FrameSlotError(
            f"{_SHARED_MEMORY} has no {size >> 20} MB left for a camera's frames; give it more "
            "(docker: --shm-size=1g) or allow fewer sessions"
        )
        space = os.statvfs(_SHARED_MEMORY)
        if space.f_bavail * space.f_frsize < size:
            raise full
        memory = SharedMemory(create=True, size=size)
        try:
            _reserve(memory)
        except OSError as error:
            memory.close()
            memory.unlink()
            raise full from error
        return cls(memory, capacity)

    @classmethod
    def attach(cls, name: str, capacity: int) -> "FrameSlot":
        """The other end of a slot that was created with the same capacity."""
        slot = cls(SharedMemory(name=name), capacity)
        slot._is_linked = False
        return slot

    @property
    def has_new(self) -> bool:
        """Whether a picture waits that was not read yet."""
        return self._words[_NEWEST] != self._words[_TAKEN]

    @property
    def is_at_work(self) -> bool:
        """Whether the reader works on what it read, also where it died over it."""
        return bool(self._words[_AT_WORK])

    @is_at_work.setter
    def is_at_work(self, value: bool) -> None:
        self._words[_AT_WORK] = int(value)

    def write(self, image: Picture, header: Mapping[str, Any]) -> None:
        """Replace the waiting picture.

        Args:
            image: (H, W, 3) uint8.
            header: what JSON can hold, 4 kB of it.

        Raises:
            FrameSlotError: larger than the slot, or no picture.
        """
        text = json.dumps({**header, "shape": image.shape}).encode()
        self._check(image, len(text))
        words = self._words
        number = words[_NEWEST] + 1
        place = number % 2
        start = _start(place, self.capacity)
        words[_MARK + place] = 0
        words[_LENGTH + place] = len(text)
        self._buffer[start : start + len(text)] = text
        self._pixels(start, image.nbytes).reshape(image.shape)[...] = image
        words[_MARK + place] = number
        self.num_put += 1
        self.num_dropped += self.has_new
        words[_NEWEST] = number

    def read(self) -> tuple[Picture, dict[str, Any]] | None:
        """A copy of the newest picture and its header; None where it was read before."""
        words = self._words
        while (number := words[_NEWEST]) != words[_TAKEN]:
            place = number % 2
            start = _start(place, self.capacity)
            length = words[_LENGTH + place]
            if words[_MARK + place] != number:
                continue
            text = bytes(self._buffer[start : start + min(length, _HEADER_BYTES)])
            pixels = self._copy(start, text)
            if words[_MARK + place] != number:
                continue  # the writer came round: a newer one is announced already
            words[_TAKEN] = number
            if pixels is None:
                raise FrameSlotError("a picture was handed on with an unreadable header")
            image, header = pixels
            return image, header
        return None

    def _check(self, image: Picture, num_header_bytes: int) -> None:
        if image.ndim != 3 or image.dtype != np.uint8:
            raise FrameSlotError(
                f"expected a picture (H, W, 3) of uint8, got {image.shape} of {image.dtype}"
            )
        if image.nbytes > self.capacity or num_header_bytes > _HEADER_BYTES:
            raise FrameSlotError(
                f"a picture of {image.shape[1]}×{image.shape[0]} is larger than the "
                f"{self.capacity // 3} pixels that are handed on; choose a smaller one"
            )

    def _copy(self, start: int, text: bytes) -> tuple[Picture, dict[str, Any]] | None:
        with suppress(ValueError, KeyError):  # a header overwritten while it was copied
            header: dict[str, Any] = json.loads(text)
            height, width, channels = header.pop("shape")
            pixels = self._pixels(start, height * width * channels)
            return pixels.reshape(height, width, channels).copy(), header
        return None

    def _pixels(self, start: int, size: int) -> Picture:
        return np.frombuffer(self._buffer, dtype=np.uint8, count=size, offset=start + _HEADER_BYTES)

    def unlink(self) -> None:
        """Take its name away once both ends are attached: its memory then ends with them."""
        if self._is_linked:
            self._is_linked = False
            self._memory.unlink()

    def close(self) -> None:
        """Give this end up; the creator's also takes the name away."""
        self.unlink()
        self._words.release()
        self._memory.close()


def _start(place: int, capacity: int) -> int:
    rounded = -(-(_HEADER_BYTES + capacity) // _WORD_BYTES) * _WORD_BYTES
    return _WORDS * _WORD_BYTES + place * rounded


def _reserve(memory: SharedMemory) -> None:
    """Have every page now: without, one that is missing later ends the process by SIGBUS.

    Raises:
        OSError: there is not enough.
    """
    descriptor = os.open(os.path.join(_SHARED_MEMORY, memory.name), os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, memory.size)
    finally:
        os.close(descriptor)


class Bell:
    """One end of a wake-up between two processes: many rings before an answer are one.

    Picklable while a process is being spawned; `fileno` is for `loop.add_reader` and `wait`.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end

    @classmethod
    def pair(cls) -> tuple["Bell", "Bell"]:
        """Two ends; what one rings, the other hears."""
        one, other = socket.socketpair()
        return cls(one), cls(other)

    def fileno(self) -> int:
        """Readable when the other end rang."""
        return self._end.fileno()

    def ring(self) -> None:
        """Wake the other end; never waits, and does not mind that it is gone."""
        with suppress(OSError):
            self._end.send(b"\0")

    def silence(self) -> None:
        """Forget the rings so far; look at the slots after that, not before."""
        with suppress(OSError):
            while self._end.recv(4096):
                pass

    def close(self) -> None:
        """Give this end up."""
        self._end.close()
