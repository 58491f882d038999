"""Engines to measure with, loaded by the benchmark's own server only: one shows the camera.

`streamer.server` has no option that names an engine, so that none of these can be reached from it.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from streamer.bench import counter
from streamer.engine import EngineSettings
from streamer.live import (
    LiveEngine,
    LiveResult,
    Picture,
    ReferenceAction,
    SessionSettings,
    StagedLiveEngine,
    TimedFrame,
)
from streamer.live_engine import load_live_engine


class PassEngine:
    """Hands the camera's picture back after a delay: what is left is the way there and back.

    Args:
        delay_s: how long the model is said to take.
        sleep: `time.sleep`, or another in tests.
    """

    def __init__(self, delay_s: float = 0.0, sleep: Callable[[float], None] = time.sleep) -> None:
        self._delay_s = delay_s
        self._sleep = sleep
        self._portraits: dict[str, Picture] = {}

    def warm_up(self) -> None:
        """See `LiveEngine.warm_up`."""

    def add_portrait(self, image: Picture, face: int | None = None) -> str:
        """See `LiveEngine.add_portrait`; any picture will do."""
        name = hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()
        self._portraits[name] = image
        return name

    def make_ready(self, settings: SessionSettings) -> None:
        """See `LiveEngine.make_ready`: there is nothing to make."""

    def open(self, session: str, settings: SessionSettings) -> Picture:
        """See `LiveEngine.open`."""
        return self._portraits[settings.portrait]

    def update(self, session: str, settings: SessionSettings) -> None:
        """See `LiveEngine.update`."""

    def reference(self, session: str, action: ReferenceAction) -> None:
        """See `LiveEngine.reference`."""

    def process(self, session: str, frame: TimedFrame) -> LiveResult:
        """The frame's own picture."""
        begun_s = time.monotonic()
        if self._delay_s:
            self._sleep(self._delay_s)
        times_s = {**frame.times_s, "model_begun": begun_s, "model_done": time.monotonic()}
        return LiveResult(image=frame.image, number=frame.number, face="tracked", times_s=times_s)

    def close(self, session: str) -> None:
        """See `LiveEngine.close`."""


class CountedEngine:
    """Another engine at work; only the camera's frame number is copied into its results."""

    def __init__(self, engine: StagedLiveEngine) -> None:
        self._engine = engine
        self.warm_up = engine.warm_up
        self.add_portrait = engine.add_portrait
        self.make_ready = engine.make_ready
        self.open = engine.open
        self.update = engine.update
        self.reference = engine.reference
        self.close = engine.close

    def process(self, session: str, frame: TimedFrame) -> LiveResult:
        """The engine's result with the blocks of the camera's picture in it."""
        return self.prepare(session, frame)()

    def prepare(self, session: str, frame: TimedFrame) -> Callable[[], LiveResult]:
        """See `StagedLiveEngine.prepare`; the number is drawn at the end."""
        finish = self._engine.prepare(session, frame)

        def numbered() -> LiveResult:
            result = finish()
            image = result.image.copy()
            counter.copy(frame.image, image)
            return replace(result, image=image)

        return numbered


def load_pass(delay_s: float) -> LiveEngine:
    """What the compute process calls for `--engine pass`."""
    return PassEngine(delay_s)


def load_counted(settings: EngineSettings) -> LiveEngine:
    """What the compute process calls for a model by its name.

    Raises:
        ModelError: see `load_live_engine`.
    """
    return CountedEngine(load_live_engine(settings))
