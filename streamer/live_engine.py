"""The model at work for live sessions: frames of cameras in, the moving portraits out."""

import hashlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.attributes import WORN, WORN_NUMBERS, source_name
from streamer.controls import LiveControls
from streamer.engine import (
    Engine,
    EngineSettings,
    driver_errors,
    load_engine,
    make_dresser,
    model_controls,
    portrait_errors,
)
from streamer.errors import DriverError, PortraitError
from streamer.live import (
    FaceState,
    LiveResult,
    Picture,
    ReferenceAction,
    SessionSettings,
    TimedFrame,
)

if TYPE_CHECKING:
    from streamer.engine import (
        Controls,
        Donor,
        Dresser,
        Reenactor,
        Source,
        StreamState,
        Trail,
    )

MAX_PORTRAITS = 32
"""Encoded portraits that are kept; past it the ones that no session uses go, oldest first."""
MAX_DRESSED = 8
"""Portraits in other clothes, or before other backgrounds, kept beside those that are shown."""
_Dress = tuple[str, tuple[str | float | None, ...]]
_LOOK = (
    "background_colour", "background_blur", *WORN_NUMBERS, "swap", *map(source_name, WORN),
)  # fmt: skip
_KEPT_FRAMES = 10
_KEPT_EVERY = 6  # frames: about two seconds in all
_LOOK_EVERY = 15  # frames: who else is in the picture
_GREY = 128


@dataclass(kw_only=True)
class _Session:
    """One person on camera."""

    settings: SessionSettings
    source: "Source"
    state: "StreamState"
    controls: "Controls"
    num_processed: int = 0
    trail: "Trail | None" = None  # of the frame painted last; the painting thread's alone
    is_reference_wanted: bool = False
    recent: deque[Picture] = field(default_factory=lambda: deque(maxlen=_KEPT_FRAMES))


class PipelineEngine:
    """See `streamer.live.LiveEngine`.

    Args:
        engine: a loaded model.
        clock: seconds, as `TimedFrame.times_s` has them.
        max_side_px: a portrait is scaled down to this before it is edited.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], float] = time.monotonic,
        *,
        max_side_px: int = EngineSettings.max_side_px,
    ) -> None:
        self._max_side_px = max_side_px
        self._reenactor = engine.reenactor
        self._make_encoder = engine.make_encoder
        self._encoder: Reenactor | None = None
        self._dresser: Dresser | None = None
        self._one_encoding = threading.Lock()
        self._choosing = threading.Lock()  # which portraits are kept, and which one a session has
        self._seed = engine.controls.seed
        self._is_warm = engine.controls.warm_start is not None
        self._clock = clock
        self._portraits: dict[str, Source] = {}
        self._dressed: OrderedDict[_Dress, Source] = OrderedDict()
        self._sessions: dict[str, _Session] = {}

    def warm_up(self) -> None:
        """See `LiveEngine.warm_up`: networks compile as they load, the rest with a portrait."""

    def add_portrait(self, image: Picture, face: int | None = None) -> str:
        """See `LiveEngine.add_portrait`: may be called beside frames; unseen ones wait in turn."""
        digest = hashlib.sha256(np.ascontiguousarray(image).data)
        digest.update(f"{image.shape} {face}".encode())
        name = digest.hexdigest()
        if name in self._portraits:
            return name
        with self._one_encoding:
            if name not in self._portraits:
                encoder = self._own_encoder()
                with portrait_errors("the portrait"):
                    source = encoder.encode_source(_scaled(image, self._max_side_px), face=face)
                self._run_once(source, encoder)
                self._keep(name, source)
        return name

    def make_ready(self, settings: SessionSettings) -> None:
        """See `LiveEngine.make_ready`: may be called beside frames."""
        dress = _dress(settings)
        if dress is None or dress in self._dressed:
            return
        with self._one_encoding:
            if dress in self._dressed:
                return
            source = self._portrait(settings.portrait)
            given = {
                place: self._portrait(name)
                for place, name in settings.controls.sources.items()
                if place in WORN
            }
            if self._dresser is None:
                self._dresser = make_dresser(self._own_encoder())
            made = self._dresser(source, settings.controls, given)
            with self._choosing:
                self._dressed[dress] = made
                while len(self._dressed) > MAX_DRESSED:
                    self._dressed.popitem(last=False)

    def open(self, session: str, settings: SessionSettings) -> Picture:
        """See `LiveEngine.open`."""
        with self._choosing:
            source = self._source(settings)
            controls = self._controls(settings.controls)
            state = self._reenactor.open_stream(source, controls)
            self._sessions[session] = _Session(
                settings=settings, source=source, state=state, controls=controls
            )
        return source.image

    def update(self, session: str, settings: SessionSettings) -> None:
        """See `LiveEngine.update`; another portrait begins with a new reference.

        So does another mirroring: what was tracked so far is on the other side.
        """
        live = self._sessions[session]
        with self._choosing:
            is_same = _scene(settings) == _scene(live.settings)
            source = live.source if is_same else self._source(settings)
            controls = self._controls(settings.controls)
            if settings.controls.mirror != live.settings.controls.mirror:
                live.state = self._reenactor.open_stream(source, live.controls)
                live.recent.clear()
            elif settings.portrait != live.settings.portrait:
                live.state = self._reenactor.restart(live.state)
            live.settings, live.controls, live.source = settings, controls, source

    def reference(self, session: str, action: ReferenceAction) -> None:
        """See `LiveEngine.reference`."""
        live = self._sessions[session]
        live.is_reference_wanted = action == "set"
        source = live.source
        if action == "reset":
            live.state = self._reenactor.restart(live.state)
        elif action == "auto" and live.recent:
            frames = list(live.recent)
            with driver_errors("the last seconds"):
                best = self._reenactor.choose_reference(frames, source, live.controls)
                live.state = self._reenactor.set_reference(best, source, live.state)

    def process(self, session: str, frame: TimedFrame) -> LiveResult:
        """See `LiveEngine.process`."""
        return self.prepare(session, frame)()

    def prepare(self, session: str, frame: TimedFrame) -> Callable[[], LiveResult]:
        """See `StagedLiveEngine.prepare`."""
        live = self._sessions[session]
        source, begun = live.source, self._clock()
        image = _mirrored(frame.image) if live.settings.controls.mirror else frame.image
        if live.num_processed % _KEPT_EVERY == 0:
            live.recent.append(image)
        if live.is_reference_wanted:
            self._take_reference(live, source, image)
        controls = live.controls
        prepared, live.state = self._reenactor.prepare(image, source, live.state, controls)
        live.num_processed += 1
        if live.num_processed % _LOOK_EVERY == 0:
            live.state = self._reenactor.look_around(image, live.state)
        times = {**frame.times_s, "model_begun": begun, "prepared": self._clock()}

        def finish() -> LiveResult:
            painting = self._clock()
            made = self._reenactor.paint(prepared, source, controls, live.trail)
            live.trail = made.trail
            all_times = {**times, "painting": painting, "model_done": self._clock()}
            face: FaceState = "lost"
            if made.is_tracked:
                face = "several" if made.is_in_company else "tracked"
            return LiveResult(image=made.image, number=frame.number, face=face, times_s=all_times)

        return finish

    def close(self, session: str) -> None:
        """See `LiveEngine.close`."""
        with self._choosing:
            self._sessions.pop(session, None)

    def _keep(self, name: str, source: "Source") -> None:
        """Put a portrait in, and those out that no session uses and there is no room for."""
        with self._choosing:
            used = {known for live in self._sessions.values() for known in live.settings.portraits}
            unused = [known for known in self._portraits if known not in used]
            for known in unused[: max(0, len(self._portraits) - MAX_PORTRAITS + 1)]:
                del self._portraits[known]
            self._portraits[name] = source

    def _take_reference(self, live: _Session, source: "Source", image: Picture) -> None:
        """Measure motion from this frame if it shows a face; else from the next that does."""
        try:
            with driver_errors("this frame"):
                live.state = self._reenactor.set_reference(image, source, live.state)
        except DriverError:
            return
        live.is_reference_wanted = False

    def _run_once(self, source: "Source", reenactor: "Reenactor") -> None:
        """Two frames without a face, so that a session's first real frame is no slower."""
        controls = self._controls(LiveControls())
        state = reenactor.open_stream(source, controls)
        blank = np.full((240, 320, 3), _GREY, np.uint8)
        for _ in range(2):
            prepared, state = reenactor.prepare(blank, source, state, controls)
            reenactor.paint(prepared, source, controls)

    def _own_encoder(self) -> "Reenactor":
        self._encoder = self._encoder or self._make_encoder()
        return self._encoder

    def _portrait(self, name: str) -> "Source":
        source = self._portraits.get(name)
        if source is None:
            raise PortraitError("this portrait is not known here any more; choose it again")
        return source

    def _source(self, settings: SessionSettings) -> "Source":
        dress = _dress(settings)
        if dress is None:
            return self._portrait(settings.portrait)
        if dress not in self._dressed:
            raise PortraitError("this background or swap is not there any more; choose it again")
        self._dressed.move_to_end(dress)
        return self._dressed[dress]

    def _controls(self, controls: LiveControls) -> "Controls":
        donors: dict[str, Donor] = {
            place: self._reenactor.donor(self._portrait(name))
            for place, name in controls.sources.items()
            if place not in WORN
        }
        return model_controls(controls, self._seed, donors, is_warm=self._is_warm)


def _dress(settings: SessionSettings) -> _Dress | None:
    """What a portrait in other hair, clothes or background is known by; None: in its own."""
    controls = settings.controls
    if not controls.is_dressed:
        return None
    return settings.portrait, tuple(getattr(controls, name) for name in _LOOK)


def _scene(settings: SessionSettings) -> tuple[str, _Dress | None]:
    return settings.portrait, _dress(settings)


def load_live_engine(settings: EngineSettings) -> PipelineEngine:
    """Load the model for live use: what the compute process calls.

    Raises:
        ModelError: see `load_engine`.
    """
    return PipelineEngine(load_engine(settings), max_side_px=settings.max_side_px)


def _scaled(image: Picture, max_side_px: int) -> NDArray[np.uint8]:
    factor = max_side_px / max(image.shape[:2])
    if factor >= 1:
        return image
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _mirrored(image: Picture) -> Picture:
    return np.asarray(cv2.flip(image, 1), np.uint8)
