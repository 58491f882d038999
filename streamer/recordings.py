"""The server's recordings: who records what, limits, signatures, and how long a file is kept."""

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from streamer.certificate import Credentials, SigningSettings, load_credentials
from streamer.engine import find_model
from streamer.errors import OutputError, StreamerError
from streamer.partial import file_hash
from streamer.peering import RecordingRequest
from streamer.provenance import Statement, check_can_sign, sign_file
from streamer.recording import Recorder, RecordingSettings
from streamer.recording_watcher import RecordingWatcher
from streamer.server_config import ServerConfig
from streamer.sessions import new_key

_LOGGER = logging.getLogger(__name__)
_PREFIX = "difffae-recordings-"
_PATIENCE_S = 3.0
"""How long the answer to "stop" waits for the file; a download waits for the rest."""


class RecordingError(StreamerError):
    """Something that cannot be recorded, or a recording that cannot be given."""


@dataclass(frozen=True, kw_only=True)
class _Signer:
    credentials: Credentials
    model: str
    model_sha256: str

    def sign(self, path: Path, *, portrait_sha256: str) -> None:
        statement = Statement(
            model=self.model, model_sha256=self.model_sha256, portrait_sha256=portrait_sha256
        )
        sign_file(path, statement, self.credentials)


class Recording:
    """One recording, from its start until it is removed.

    Attributes:
        identifier: unguessable; whoever knows it may have the file.
        session: whose it is.
        name: of the file that is downloaded.
        finishing: ends with the file in place; None while recording.
        message: why it stopped, in words; None while recording or when it was asked to.
        has_failed: whether there will never be a file.
    """

    def __init__(self, request: RecordingRequest, *, path: Path, recorder: Recorder) -> None:
        self.identifier = path.stem
        self.session = request.session
        self.name = f"reenactment-{datetime.now(UTC):%Y%m%d-%H%M%S}.mp4"
        self.path = path
        self.view = request.view
        self.recorder = recorder
        self.watcher: RecordingWatcher | None = None
        self.finishing: asyncio.Task[None] | None = None
        self.message: str | None = None
        self.has_failed = False
        self.began_s = time.monotonic()
        self.ended_s: float | None = None

    @property
    def download(self) -> str:
        """The path of the file below the server's URL."""
        return f"/api/recordings/{self.identifier}"

    def state(self) -> dict[str, Any]:
        """What clients are told of it."""
        end_s = time.monotonic() if self.ended_s is None else self.ended_s
        return {
            "is_recording": self.finishing is None,
            "seconds": round(end_s - self.began_s, 1),
            "view": self.view,
            "download": self.download,
            "message": self.message,
        }


class Recordings:
    """Fulfils `peering.Recorder`; to be used in one event loop.

    Args:
        config: limits, folder, certificate, model.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._limits = config.limits
        self._folder: Path | None = None
        self._lock: int | None = None
        self._signer: _Signer | None = None
        self._kept: dict[str, Recording] = {}
        self._expiring: dict[str, asyncio.TimerHandle] = {}

    async def prepare(self) -> None:
        """Make the folder and see that recordings can be signed.

        Raises:
            OutputError: the folder cannot be made.
            UsageError: the certificate cannot sign.
            ModelError: there is no such model.
        """
        self._signer = await asyncio.to_thread(_signer, self._config)
        folder, self._lock = await asyncio.to_thread(_private_folder, self._config.recording_folder)
        self._folder = folder

    async def start(self, request: RecordingRequest) -> str:
        """See `peering.Recorder`."""
        if self._folder is None or self._signer is None:
            raise RecordingError("the server is not ready to record; try again in a moment")
        if any(each.session == request.session for each in self._running()):
            raise RecordingError("a recording is running already; stop it first")
        await self._make_room(request.session)
        path = self._folder / f"{new_key()}.mp4"
        recorder = self._recorder(request, self._signer)
        recording = Recording(request, path=path, recorder=recorder)
        self._kept[recording.identifier] = recording
        try:
            await asyncio.to_thread(recorder.start, path, request.size)
        except BaseException:
            self._kept.pop(recording.identifier, None)
            raise
        recording.watcher = RecordingWatcher(
            recorder,
            request.taps,
            has_driver=request.view == "side_by_side",
            on_end=partial(self._finish, recording),
        )
        request.taps.add(recording.watcher)
        return recording.download

    async def stop(self, session: str) -> str:
        """See `peering.Recorder`."""
        recording = self._last(session)
        if recording is None:
            raise RecordingError("nothing is being recorded; start a recording first")
        is_over = recording.finishing is not None and recording.message is None
        if is_over:
            raise RecordingError("nothing is being recorded; start a recording first")
        task = self._finish(recording, None)
        await asyncio.wait({task}, timeout=_PATIENCE_S)
        if task.done():
            task.result()
        return recording.download

    def state(self, session: str) -> Mapping[str, Any] | None:
        """See `peering.Recorder`."""
        recording = self._last(session)
        return None if recording is None else recording.state()

    async def file(self, identifier: str) -> tuple[Path, str] | None:
        """Where a finished file is, and what to call it; None where there is none of that id.

        Raises:
            RecordingError: it is still being recorded.
        """
        recording = self._kept.get(identifier)
        if recording is None:
            return None
        if recording.finishing is None:
            raise RecordingError("this is still being recorded; stop it first")
        await asyncio.wait({recording.finishing})
        is_there = identifier in self._kept and not recording.has_failed
        return (recording.path, recording.name) if is_there else None

    async def remove(self, identifier: str) -> bool:
        """Remove a recording, also one that runs; False where there is none of that id."""
        recording = self._kept.pop(identifier, None)
        if recording is None:
            return False
        if (timer := self._expiring.pop(identifier, None)) is not None:
            timer.cancel()
        if recording.watcher is not None:
            recording.watcher.release()
        if recording.finishing is None:
            await asyncio.to_thread(recording.recorder.abandon)
        else:
            await asyncio.wait({recording.finishing})
        await asyncio.to_thread(recording.path.unlink, missing_ok=True)
        return True

    async def close(self) -> None:
        """Remove everything; nothing can be fetched afterwards."""
        for identifier in list(self._kept):
            await self.remove(identifier)
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            self._folder = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _recorder(self, request: RecordingRequest, signer: _Signer) -> Recorder:
        settings = RecordingSettings(
            is_side_by_side=request.view == "side_by_side",
            has_sound=request.taps.has_sound,
            max_duration_s=self._limits.recording_s,
            max_bytes=self._limits.recording_bytes,
        )
        sign = partial(signer.sign, portrait_sha256=request.portrait_sha256)
        return Recorder(settings, sign=sign)

    def _running(self) -> list[Recording]:
        return [each for each in self._kept.values() if each.finishing is None]

    def _last(self, session: str) -> Recording | None:
        return next((e for e in reversed(self._kept.values()) if e.session == session), None)

    async def _make_room(self, session: str) -> None:
        """At the limit the oldest finished one goes, of the same session where it has any."""
        while len(self._kept) >= self._limits.num_recordings:
            ended = [each for each in self._kept.values() if each.finishing is not None]
            if not ended:
                raise RecordingError("the server has no room for a recording; try again later")
            own = [each for each in ended if each.session == session]
            await self.remove((own or ended)[0].identifier)

    def _finish(self, recording: Recording, message: str | None) -> asyncio.Task[None]:
        """Let the file be finished, once; the message says why."""
        if recording.finishing is None:
            recording.message = message
            recording.ended_s = time.monotonic()
            if recording.watcher is not None:
                recording.watcher.release()
            recording.finishing = asyncio.ensure_future(self._finished(recording))
            recording.finishing.add_done_callback(_retrieve)
        return recording.finishing

    async def _finished(self, recording: Recording) -> None:
        try:
            await asyncio.to_thread(recording.recorder.finish)
        except StreamerError as error:
            recording.message, recording.has_failed = str(error), True
            _LOGGER.warning("a recording came to nothing: %s", error)
            raise
        finally:
            self._forget_later(recording)

    def _forget_later(self, recording: Recording) -> None:
        if recording.identifier in self._kept:
            self._expiring[recording.identifier] = asyncio.get_running_loop().call_later(
                self._limits.recording_kept_s, self._expire, recording.identifier
            )

    def _expire(self, identifier: str) -> None:
        recording = self._kept.pop(identifier, None)
        self._expiring.pop(identifier, None)
        if recording is not None:
            recording.path.unlink(missing_ok=True)


def _retrieve(task: asyncio.Task[None]) -> None:
    """Look at what a task came to, or asyncio complains where nobody awaits it."""
    if not task.cancelled():
        task.exception()


def _signer(config: ServerConfig) -> _Signer:
    credentials = load_credentials(SigningSettings(certificate=config.certificate, key=config.key))
    check_can_sign(credentials)
    return _Signer(
        credentials=credentials,
        model=config.model,
        model_sha256=file_hash(find_model(config.model)),
    )


def _private_folder(parent: Path | None) -> tuple[Path, int]:
    """A new folder for its owner only, and the lock that says it is in use.

    Folders that a server left behind which ended without tidying up are removed first.
    """
    try:
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_left_behind(parent or Path(tempfile.gettempdir()))
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise OutputError(
            f"cannot make a folder for recordings in {parent or tempfile.gettempdir()}: "
            f"{error.strerror}; choose another --recording_folder"
        ) from error
    return folder, lock


def _remove_left_behind(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # a link, a file, another's, in use, or gone by now
            _remove_unused(folder)


def _remove_unused(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(lock).st_uid == os.getuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
