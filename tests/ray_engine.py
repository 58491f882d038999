"""A `LiveEngine` for replicas: its pictures say in which process they were made."""

import os
from dataclasses import replace

import numpy as np

from streamer.live import LiveResult, TimedFrame
from stub_engine import StubEngine

PIXELS = (2, 2, 3)


class TellingEngine(StubEngine):
    """Answers with four bytes of its process's number, and the count of portraits it encoded."""

    def process(self, session: str, frame: TimedFrame) -> LiveResult:
        result = super().process(session, frame)
        image = np.zeros(PIXELS, np.uint8)
        image.reshape(-1)[:4] = np.array([os.getpid()], np.uint32).view(np.uint8)
        image.reshape(-1)[4] = len(self.portraits)
        return replace(result, image=image)


def pid_of(result: LiveResult) -> int:
    """The process that a result was made in."""
    return int(np.ascontiguousarray(result.image.reshape(-1)[:4]).view(np.uint32)[0])


def make() -> TellingEngine:
    """The engine."""
    return TellingEngine("")
