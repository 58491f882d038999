"""An engine that returns the frame itself, and fails or dies on a white one: for tests of links."""

import hashlib
import os
import signal

from streamer.live import LiveResult, Picture, ReferenceAction, SessionSettings, TimedFrame

WHITE = 200


class LinkEngine:
    """Knows every portrait; what it shows is the camera's picture, which the product never does."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.portraits: dict[str, Picture] = {}

    def warm_up(self) -> None:
        pass

    def add_portrait(self, image: Picture, face: int | None = None) -> str:
        name = hashlib.sha256(image.tobytes()).hexdigest()
        self.portraits[name] = image
        return name

    def make_ready(self, settings: SessionSettings) -> None:
        pass

    def open(self, session: str, settings: SessionSettings) -> Picture:
        return self.portraits[settings.portrait]

    def update(self, session: str, settings: SessionSettings) -> None:
        pass

    def reference(self, session: str, action: ReferenceAction) -> None:
        pass

    def process(self, session: str, frame: TimedFrame) -> LiveResult:
        if frame.image[: frame.image.shape[0] // 2].mean() > WHITE:
            if self.order == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ZeroDivisionError("asked to fail")
        return LiveResult(
            image=frame.image, number=frame.number, face="tracked", times_s=frame.times_s
        )

    def close(self, session: str) -> None:
        pass


def make(order: str = "fail") -> LinkEngine:
    """The engine."""
    return LinkEngine(order)
