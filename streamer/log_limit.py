"""Keeps a log readable, and the disk free, whatever visitors do."""

import logging
import time
from collections.abc import Callable

MOST_LINES = 20
PERIOD_S = 60.0


class LogLimit(logging.Filter):
    """Lets a number of lines from each place in the code through, in each period of time.

    The first line of the next period says how many were left out. To be added to a handler.

    Args:
        most: lines in a period.
        period_s: its length.
        clock: `time.monotonic`, or another in tests.
    """

    def __init__(
        self,
        most: int = MOST_LINES,
        period_s: float = PERIOD_S,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._most = most
        self._period_s = period_s
        self._clock = clock
        self._counted: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write a line."""
        place, now_s = (record.pathname, record.lineno), self._clock()
        begun_s, num_lines = self._counted.get(place, (now_s, 0))
        if now_s - begun_s >= self._period_s:
            self._tell_left_out(record, num_lines - self._most)
            begun_s, num_lines = now_s, 0
        self._counted[place] = begun_s, num_lines + 1
        return num_lines < self._most

    def _tell_left_out(self, record: logging.LogRecord, num_left_out: int) -> None:
        if num_left_out > 0:
            record.msg = f"{record.getMessage()} (and {num_left_out} lines like this before)"
            record.args = None
