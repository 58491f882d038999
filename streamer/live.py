"""What travels between the event loop and the model while a person is on camera."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from streamer.controls import LiveControls

Picture = NDArray[np.uint8]
ReferenceAction = Literal["set", "auto", "reset"]
FaceState = Literal["tracked", "lost", "several"]


@dataclass(frozen=True, kw_only=True)
class TimedFrame:
    """One frame of the driver's camera.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        number: running number in the session, 0 the first received.
        times_s: when each stage was passed, seconds of `time.monotonic`: "captured", "received" …
    """

    image: Picture
    number: int
    times_s: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class LiveResult:
    """What the model made of a frame; the camera's own picture is never in it.

    Attributes:
        image: (H, W, 3) uint8 RGB, the edited portrait.
        number: of the frame it answers.
        face: whether the driver's face was followed.
        times_s: the frame's, and those of the model's stages.
        load_level: how much is given up under load, 0 nothing; see `streamer.load_control`.
    """

    image: Picture
    number: int
    face: FaceState
    times_s: Mapping[str, float]
    load_level: int = 0


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """What a session begins with: the portrait by its content hash, and the controls."""

    portrait: str
    controls: LiveControls = field(default_factory=LiveControls)

    @property
    def portraits(self) -> tuple[str, ...]:
        """All that it needs, by content hash: as the sources that its controls name are, here."""
        return (self.portrait, *self.controls.sources.values())


class LiveEngine(Protocol):
    """The model at work for several sessions; synchronous.

    One thread uses all of it, except `add_portrait` and `make_ready`: these are called in other
    threads, several at once too, while the first goes on with frames and with everything else.
    """

    def warm_up(self) -> None:
        """Compile and run everything once, so that the first real frame is no slower."""
        ...

    def add_portrait(self, image: Picture, face: int | None = None) -> str:
        """Encode a portrait once; its content hash. Known ones are not encoded again.

        Raises:
            PortraitError: no face in it, or several and `face` is None.
        """
        ...

    def make_ready(self, settings: SessionSettings) -> None:
        """Dress the portrait as the controls ask, its background too, once for all sessions.

        Raises:
            PortraitError: a portrait is not known.
            ControlError: the model cannot swap what is asked for.
        """
        ...

    def open(self, session: str, settings: SessionSettings) -> Picture:
        """Begin a session; the still portrait at the size of its results.

        Raises:
            PortraitError: a portrait is not known, or it was not dressed so before.
        """
        ...

    def update(self, session: str, settings: SessionSettings) -> None:
        """Change a session's portrait or controls between two frames.

        Raises:
            PortraitError: as for `open`; then nothing was changed.
        """
        ...

    def reference(self, session: str, action: ReferenceAction) -> None:
        """Measure relative motion from the next frame, from the best of the last ones, or anew."""
        ...

    def process(self, session: str, frame: TimedFrame) -> LiveResult:
        """The portrait as the frame's face moves it."""
        ...

    def close(self, session: str) -> None:
        """Forget a session; portraits stay."""
        ...


@runtime_checkable
class StagedLiveEngine(LiveEngine, Protocol):
    """One whose frames overlap: the next is begun while the one before is being finished."""

    def prepare(self, session: str, frame: TimedFrame) -> Callable[[], LiveResult]:
        """The part of `process` that the session's next frame waits for, and the rest to be called.

        The rest may be called in another thread, once, in the order of the frames.
        """
        ...


class ComputeStream(Protocol):
    """One session's way to the model and back, on the event loop's side."""

    @property
    def still(self) -> Picture:
        """The unmoved portrait: shown before the first result and after the last."""
        ...

    @property
    def num_dropped(self) -> int:
        """Frames that were replaced before the model took them."""
        ...

    def put(self, frame: TimedFrame) -> None:
        """Offer a frame; one that was not taken yet is replaced and counted as dropped."""
        ...

    async def get(self) -> LiveResult:
        """The newest result that was not handed out yet.

        Raises:
            ComputeLostError: the compute process died; a new stream is to be opened.
        """
        ...

    async def make_ready(self, settings: SessionSettings) -> None:
        """See `LiveEngine.make_ready`: to be awaited before `update` is; frames go on meanwhile."""
        ...

    async def update(self, settings: SessionSettings) -> None:
        """See `LiveEngine.update`."""
        ...

    async def reference(self, action: ReferenceAction) -> None:
        """See `LiveEngine.reference`."""
        ...

    async def close(self) -> None:
        """End the session in the compute process."""
        ...


class Compute(Protocol):
    """The compute process as the event loop sees it."""

    @property
    def is_ready(self) -> bool:
        """Warm, and answering."""
        ...

    async def start(self) -> None:
        """Start it and wait until it is warm."""
        ...

    async def add_portrait(self, image: Picture, face: int | None = None) -> str:
        """See `LiveEngine.add_portrait`."""
        ...

    async def open(self, session: str, settings: SessionSettings) -> ComputeStream:
        """See `LiveEngine.open`."""
        ...

    def on_change(self, told: Callable[[bool], Awaitable[None]]) -> None:
        """Call with False when the process was lost, with True when a new one is warm."""
        ...

    async def stop(self) -> None:
        """End the process; nothing of it stays behind."""
        ...


@runtime_checkable
class CanFail(Protocol):
    """A `Compute` that may be given up for good."""

    @property
    def failure(self) -> str:
        """Why, one sentence; empty while there is hope."""
        ...


def why_not_ready(compute: Compute) -> str:
    """A sentence for those who would begin a session now; empty where they can."""
    if compute.is_ready:
        return ""
    failure = compute.failure if isinstance(compute, CanFail) else ""
    return failure or "the model is warming up; try again in a moment"
