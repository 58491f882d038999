"""Ctrl-C and termination as a wish to stop, so that a run can save itself first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether somebody asked the process to stop, and by which signal."""

    def __init__(self) -> None:
        """Nobody asked yet."""
        self.signal_number: int | None = None


@contextmanager
def noticed_interruption() -> Iterator[Interruption]:
    """Note SIGINT and SIGTERM instead of stopping at once.

    A second signal acts at once. On leaving, the noted signal is raised again, so that the caller
    and the exit status see it. Outside the main thread nothing is caught.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    earlier = {number: signal.getsignal(number) for number in numbers}

    def put_back() -> None:
        for number, handler in earlier.items():
            signal.signal(number, handler)

    def note(signal_number: int, _frame: FrameType | None) -> None:
        interruption.signal_number = signal_number
        put_back()

    for number in numbers:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        put_back()
    if interruption.signal_number is not None:
        signal.raise_signal(interruption.signal_number)
