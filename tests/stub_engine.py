"""A `LiveEngine` that paints frame numbers, and waits, fails or dies when a test asks for it."""

import hashlib
import os
import signal
from pathlib import Path

import numpy as np

from streamer.errors import ModelError, PortraitError
from streamer.live import LiveResult, Picture, ReferenceAction, SessionSettings, TimedFrame

PLAIN, FAIL, HOLD, DIE = 0, 1, 2, 3
HOLD_OPENING = 0.125
HOLD_PORTRAIT, DIE_PORTRAIT = 254, 253
HOLD_BLUR = 50


def frame(number: int, order: int = PLAIN, shape: tuple[int, int] = (4, 6)) -> TimedFrame:
    """A frame whose pixels are an order to the engine."""
    image = np.full((*shape, 3), order, np.uint8)
    return TimedFrame(image=image, number=number, times_s={"captured": 0.25})


def portrait(value: int = 7, shape: tuple[int, int] = (5, 3)) -> Picture:
    """A portrait of one grey; one of 0 has no face."""
    return np.full((*shape, 3), value, np.uint8)


class StubEngine:
    """Answers each frame with the portrait's size in the colour of the frame's number."""

    def __init__(self, gate: str) -> None:
        self.gate = gate
        self.num_processed = 0
        self.portraits: dict[str, Picture] = {}
        self.ready = {0.0}  # backgrounds
        self.settings: dict[str, SessionSettings] = {}
        self.actions: dict[str, list[str]] = {}

    def warm_up(self) -> None:
        self.num_processed = 0

    def add_portrait(self, image: Picture, face: int | None = None) -> str:
        if not image.any():
            raise PortraitError("no face found in the portrait")
        if image.max() == 255:
            raise ZeroDivisionError("a fault of the engine")
        if image.max() == DIE_PORTRAIT:
            os.kill(os.getpid(), signal.SIGKILL)
        if image.max() == HOLD_PORTRAIT:
            Path(self.gate).read_bytes()
        name = hashlib.sha256(image.tobytes()).hexdigest() + (f"-{face}" if face else "")
        self.portraits[name] = image
        return name

    def make_ready(self, settings: SessionSettings) -> None:
        if not set(settings.portraits) <= self.portraits.keys():
            raise PortraitError("there is no such portrait")
        if settings.controls.background_blur == HOLD_BLUR:
            Path(self.gate).read_bytes()
        self.ready.add(settings.controls.background_blur)

    def open(self, session: str, settings: SessionSettings) -> Picture:
        self.update(session, settings)
        self.actions[session] = []
        if settings.controls.smoothing == HOLD_OPENING:
            Path(self.gate).read_bytes()
        return self.portraits[settings.portrait]

    def update(self, session: str, settings: SessionSettings) -> None:
        if not set(settings.portraits) <= self.portraits.keys():
            raise PortraitError("there is no such portrait")
        if settings.controls.background_blur not in self.ready:
            raise PortraitError("there is no such background")
        self.settings[session] = settings

    def reference(self, session: str, action: ReferenceAction) -> None:
        self.actions[session].append(action)

    def process(self, session: str, frame: TimedFrame) -> LiveResult:
        order = int(frame.image[0, 0, 0])
        if order == FAIL:
            raise ZeroDivisionError("asked to fail")
        if order == DIE:
            os.kill(os.getpid(), signal.SIGKILL)
        if order == HOLD:
            Path(self.gate).read_bytes()
        self.num_processed += 1
        still = self.portraits[self.settings[session].portrait]
        times_s = {
            **frame.times_s,
            "turn": float(self.num_processed),
            "num_sessions": float(len(self.settings)),
            "strength": self.settings[session].controls.strength,
            "num_actions": float(len(self.actions[session])),
        }
        image = np.full_like(still, frame.number % 256)
        return LiveResult(image=image, number=frame.number, face="tracked", times_s=times_s)

    def close(self, session: str) -> None:
        del self.settings[session], self.actions[session]


def make(gate: str = "") -> StubEngine:
    """The engine; what it is held by is a named pipe."""
    return StubEngine(gate)


def make_none() -> StubEngine:
    """As where the weights are missing."""
    raise ModelError("there is no model of that name")


def make_dead() -> StubEngine:
    """As where the driver crashes while the model is loaded."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def make_stuck(gate: str) -> StubEngine:
    """As where the driver hangs while the model is loaded."""
    Path(gate).read_bytes()
    raise AssertionError("nobody opens the gate")


def make_countdown(folder: str) -> StubEngine:
    """Dies as often as there are files in the folder; works after that."""
    for file in sorted(Path(folder).iterdir()):
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return StubEngine("")
