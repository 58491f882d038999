"""The compute process: kept alive, and told again what it knew when it had to be replaced."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import chain, islice, repeat

from streamer.compute_child import EngineFactory
from streamer.compute_link import ComputeLink
from streamer.errors import (
    ComputeLostError,
    ModelError,
    PortraitError,
    SessionFailedError,
    StreamerError,
)
from streamer.live import Picture, SessionSettings
from streamer.slot_stream import SlotStream
from streamer.watchdog import Patience, Suspects


@dataclass(frozen=True, kw_only=True)
class ComputeSettings:
    """How the compute process is made and kept.

    Attributes:
        engine: 'module:function' that makes the `LiveEngine`, imported in the process.
        arguments: what that function is called with; picklable.
        max_frame_bytes: of the largest camera frame, 3 a pixel.
        max_result_bytes: of the largest result, 3 a pixel.
        back_off_s: seconds before each try to start a lost process again; the last one repeats.
        max_tries: processes that are lost without one result, or do not start, in a row before the
            model is given up.
        max_losses: while the model worked for one session or portrait before that is not served
            any more.
        patience_s: seconds it is given to end by itself.
        patience: how long it may be silent with work before it; then it is killed.
        max_portraits: pictures kept for a new process, the latest; sessions bring theirs again.
    """

    engine: str
    arguments: tuple[object, ...] = ()
    max_frame_bytes: int = 1920 * 1080 * 3
    max_result_bytes: int = 2048 * 2048 * 3
    back_off_s: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
    max_tries: int = 10
    max_losses: int = 3
    patience_s: float = 5.0
    patience: Patience = field(default_factory=Patience)
    max_portraits: int = 32


class ComputeProcess:
    """The `Compute` of one accelerator: a child process with the model, restarted when it dies."""

    def __init__(self, settings: ComputeSettings) -> None:
        self._settings = settings
        self._factory = EngineFactory(path=settings.engine, arguments=settings.arguments)
        self._link: ComputeLink | None = None
        self._is_ready = False
        self._is_stopped = False
        self._num_losses = 0
        self._failure = ""
        self._suspects = Suspects(settings.max_losses)
        self._recoveries: list[asyncio.Task[None]] = []
        self._one_recovery = asyncio.Lock()
        self._portraits: dict[str, tuple[Picture, int | None]] = {}
        self._told: list[Callable[[bool], Awaitable[None]]] = []

    @property
    def is_ready(self) -> bool:
        """See `Compute`."""
        return self._is_ready

    @property
    def failure(self) -> str:
        """Why no process is started any more, one sentence; empty while there is hope."""
        return self._failure

    @property
    def pid(self) -> int | None:
        """Of the process that serves now."""
        return None if self._link is None else self._link.pid

    @property
    def num_losses(self) -> int:
        """How often the process was lost since it last gave a result."""
        return self._num_losses

    async def start(self) -> None:
        """See `Compute`.

        Raises:
            ComputeLostError: the process died before it was warm.
            StreamerError: what kept the engine from being made.
        """
        self._is_stopped = False
        self._failure = ""
        await self._launch()

    async def add_portrait(self, image: Picture, face: int | None = None) -> str:
        """See `LiveEngine.add_portrait`; a new process is given the portrait again.

        Raises:
            ComputeLostError: the process is not there, or died over it.
            ModelError: it was given up.
            PortraitError: no face in it, or several and `face` is None; or processes died over it.
        """
        self._serving()
        about = await asyncio.to_thread(_digest, image, face)
        if self._suspects.is_banned(about):
            raise PortraitError("the model stops whenever it is given this portrait; use another")
        name = await self._serving().add_portrait(image, face, about)
        self._portraits.pop(name, None)
        self._portraits[name] = image, face  # the newest last
        while len(self._portraits) > self._settings.max_portraits:
            self.forget_portrait(next(iter(self._portraits)))
        return name

    def forget_portrait(self, name: str) -> None:
        """Do not give this portrait to a new process again."""
        self._portraits.pop(name, None)

    async def open(self, session: str, settings: SessionSettings) -> SlotStream:
        """See `LiveEngine.open`.

        Raises:
            ComputeLostError: the process is not there, or died over it.
            ModelError: it was given up.
            PortraitError: the portrait is not known.
            SessionFailedError: processes died over this session again and again.
        """
        if self._suspects.is_banned(session):
            raise SessionFailedError(
                "the model stopped again and again while it worked on this session, which was ended"
            )
        capacities = self._settings.max_frame_bytes, self._settings.max_result_bytes
        return await self._serving().open(session, settings, capacities)

    def on_change(self, told: Callable[[bool], Awaitable[None]]) -> None:
        """See `Compute`."""
        self._told.append(told)

    async def stop(self) -> None:
        """See `Compute`; streams that are still open raise ComputeLostError."""
        self._is_stopped = True
        self._is_ready = False
        for recovery in self._recoveries:
            recovery.cancel()
        await asyncio.gather(*self._recoveries, return_exceptions=True)
        self._recoveries = []
        if self._link is not None:
            await self._link.end(self._settings.patience_s)
            self._link = None

    def _serving(self) -> ComputeLink:
        if self._failure:
            raise ModelError(self._failure)
        if self._link is None or not self._is_ready:
            raise ComputeLostError("the model is starting; wait a few seconds")
        return self._link

    async def _launch(self) -> None:
        link = ComputeLink(self._factory, self._lose, self._settings.patience)
        try:
            await link.start()
            await self._add_again(link)
            if link.is_over:
                raise ComputeLostError("the model's process ended just after its start")
        except BaseException:
            self._suspects.blame(link.suspect)
            await link.end(0)
            raise
        self._link = link
        self._is_ready = True

    async def _add_again(self, link: ComputeLink) -> None:
        for name, (image, face) in list(self._portraits.items()):
            about = await asyncio.to_thread(_digest, image, face)
            if self._suspects.is_banned(about):
                self.forget_portrait(name)
                continue
            try:
                await link.add_portrait(image, face, about)
            except ComputeLostError:
                raise
            except StreamerError:
                logging.getLogger(__name__).exception("a portrait could not be added again")
                self.forget_portrait(name)

    def _lose(self, link: ComputeLink) -> None:
        if link is not self._link or self._is_stopped:
            return
        self._is_ready = False
        self._num_losses = 1 if link.num_results else self._num_losses + 1
        self._suspects.blame(link.suspect)
        logging.getLogger(__name__).error("the compute process was lost; it is started again")
        self._recoveries = [recovery for recovery in self._recoveries if not recovery.done()]
        self._recoveries.append(asyncio.get_running_loop().create_task(self._recover(link)))

    async def _recover(self, lost: ComputeLink) -> None:
        async with self._one_recovery:  # so that listeners hear of losses and returns in order
            await self._replace(lost)

    async def _replace(self, lost: ComputeLink) -> None:
        self._link = None
        await lost.end(0)
        await self._tell(False)
        waits = self._settings.back_off_s
        num_tries = max(0, self._settings.max_tries - self._num_losses)
        endless = chain(waits[self._num_losses - 1 :], repeat(waits[-1]))
        reason = "its process ended again and again"
        for wait_s in islice(endless, num_tries):
            await asyncio.sleep(wait_s)
            try:
                await self._launch()
            except StreamerError as error:
                reason = str(error)
                logging.getLogger(__name__).error("no new compute process: %s", reason)
            else:
                await self._tell(True)
                return
        self._failure = f"the model cannot be kept running ({reason}); start the server again"
        logging.getLogger(__name__).error("%s", self._failure)

    async def _tell(self, is_ready: bool) -> None:
        for told in list(self._told):
            try:
                await told(is_ready)
            except Exception:
                logging.getLogger(__name__).exception("a listener of the compute process failed")


def _digest(image: Picture, face: int | None) -> str:
    digest = hashlib.sha256(image.tobytes())
    digest.update(f"{image.shape} {face}".encode())
    return digest.hexdigest()
