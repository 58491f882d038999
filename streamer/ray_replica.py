"""What runs in a replica of the Ray Serve deployment: the engine, one piece of work at a time.

Portraits take seconds to encode and have a thread of their own, so that frames go on meanwhile.
Nothing here imports Ray; `streamer.ray_cluster` hands the class to it.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from streamer.compute_child import EngineFactory
from streamer.errors import ComputeLostError, SessionFailedError, StreamerError
from streamer.live import LiveResult, Picture, ReferenceAction, SessionSettings, TimedFrame

_LOG = logging.getLogger(__name__)
_PORTRAIT_NICENESS = 10
ReplicaRequest = Literal[
    "reset", "add_portrait", "make_ready", "open", "update", "reference", "process", "close"
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What became of a request.

    Attributes:
        value: what the engine gave.
        error: what it raised instead.
        clock_s: `time.monotonic` of the replica's machine at request and reply.
    """

    value: Any = None
    error: StreamerError | None = None
    clock_s: tuple[float, float] = (0.0, 0.0)


class LiveReplica:
    """One engine and its sessions; requests are served in the order in which they come.

    Since each session has one frame on its way at most, that order is also fair.

    Args:
        factory: of the engine.
        hang_s: longest that one piece of work may take before the replica calls itself unhealthy.
        clock: seconds.

    Raises:
        StreamerError: what kept the engine from being made.
    """

    def __init__(
        self,
        factory: EngineFactory,
        hang_s: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = factory.make()
        self._engine.warm_up()
        self._hang_s = hang_s
        self._clock = clock
        self._sessions: set[str] = set()
        self._began_s: float | None = None
        self._frames = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._portraits = ThreadPoolExecutor(1, "portraits", initializer=_give_way)
        self._requests: dict[ReplicaRequest, Callable[..., Any]] = {
            "reset": self._reset,
            "add_portrait": self._add_portrait,
            "make_ready": self._engine.make_ready,
            "open": self._open,
            "update": self._update,
            "reference": self._reference,
            "process": self._process,
            "close": self._close,
        }

    async def ask(self, kind: ReplicaRequest, *arguments: Any) -> Reply:
        """Do one thing on the engine's thread; what goes wrong is in the reply."""
        asked_s = self._clock()
        is_portrait = kind in ("add_portrait", "make_ready")
        reply = await asyncio.get_running_loop().run_in_executor(
            self._portraits if is_portrait else self._frames,
            self._replied if is_portrait else self._timed,
            kind,
            arguments,
        )
        return replace(reply, clock_s=(asked_s, self._clock()))

    async def live(self) -> None:
        """Never answers: who waits for it hears of the replica's end."""
        await asyncio.Event().wait()

    async def check_health(self) -> None:
        """For Ray Serve, which replaces a replica that fails here several times.

        Raises:
            RuntimeError: the engine does not come back from its work.
        """
        began_s = self._began_s
        if began_s is not None and self._clock() - began_s > self._hang_s:
            raise RuntimeError(f"the engine has been busy with one thing for {self._hang_s} s")

    def _timed(self, kind: ReplicaRequest, arguments: tuple[Any, ...]) -> Reply:
        self._began_s = self._clock()
        try:
            return self._replied(kind, arguments)
        finally:
            self._began_s = None

    def _replied(self, kind: ReplicaRequest, arguments: tuple[Any, ...]) -> Reply:
        try:
            return Reply(value=self._requests[kind](*arguments))
        except StreamerError as error:
            return Reply(error=error)
        except Exception as error:
            _LOG.exception("the model failed to %s", kind)
            said = f"({type(error).__name__}: {error!s:.200})"
            return Reply(error=SessionFailedError(f"the model failed to {kind} {said}"))

    def _reset(self) -> None:
        for session in list(self._sessions):
            self._close(session)

    def _add_portrait(self, image: Picture, face: int | None) -> str:
        return self._engine.add_portrait(np.require(image, requirements="W"), face)

    def _open(self, session: str, settings: SessionSettings) -> Picture:
        self._close(session)
        try:
            still = self._engine.open(session, settings)
        except BaseException:
            with suppress(Exception):
                self._engine.close(session)
            raise
        self._sessions.add(session)
        return still

    def _update(self, session: str, settings: SessionSettings) -> None:
        self._check(session)
        self._engine.update(session, settings)

    def _reference(self, session: str, action: ReferenceAction) -> None:
        self._check(session)
        self._engine.reference(session, action)

    def _process(self, session: str, frame: TimedFrame) -> LiveResult:
        self._check(session)
        times_s = {**frame.times_s, "taken": self._clock()}
        image = np.require(frame.image, requirements="W")  # Ray's own memory cannot be written
        try:
            return self._engine.process(session, replace(frame, image=image, times_s=times_s))
        except Exception:
            self._close(session)
            raise

    def _close(self, session: str) -> None:
        if session in self._sessions:
            self._sessions.discard(session)
            self._engine.close(session)

    def _check(self, session: str) -> None:
        if session not in self._sessions:
            raise ComputeLostError("this session is not open in this replica any more")


def _give_way() -> None:
    """Let the frames have the processor first; Linux keeps a niceness for each thread."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PORTRAIT_NICENESS)
