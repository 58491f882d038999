"""What a live session shows, recorded into an MP4 by a thread of its own.

Frames keep the times at which they were shown: the frame rate varies, in units of 1/90000 s. The
file exists under its name only once it is whole and signed.
"""

import contextlib
import math
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from numpy.typing import NDArray

from streamer.errors import OutputError, StreamerError
from streamer.recording_tracks import SoundTrack, VideoTrack, beside

Picture = NDArray[np.uint8]
TIME_BASE = Fraction(1, 90_000)


@dataclass(frozen=True, kw_only=True)
class RecordingSettings:
    """How a recording is made, and where it ends.

    Attributes:
        is_side_by_side: show the driver left of the result, at the result's size.
        has_sound: whether a sound track is written; it has to be known at the start.
        quality: x264's constant rate factor.
        max_duration_s: no frame later than this after the first is taken.
        max_bytes: no frame is taken once the file is this large.
        max_waiting: frames that may wait for the encoder; more are dropped.
    """

    is_side_by_side: bool = False
    has_sound: bool = False
    quality: int = 20
    max_duration_s: float = 600.0
    max_bytes: int = 500_000_000
    max_waiting: int = 30


@dataclass(frozen=True, kw_only=True)
class _Shown:
    picture: Picture
    driver: Picture | None
    time_s: float


@dataclass(frozen=True, kw_only=True)
class _Heard:
    frame: AudioFrame
    time_s: float | None


class Recorder:
    """One recording, from `start` to `finish` or `abandon`.

    `add` and `add_audio` never wait; `finish` does, so an event loop calls it in a thread.

    Args:
        settings: how and how long.
        sign: puts the label into the finished file; without it the file is not labelled.

    Attributes:
        num_written: pictures in the file so far.
        num_dropped: pictures and sounds that came faster than they could be encoded, in the wrong
            order, or when the file was full already.
        stop_reason: why nothing more is taken, in words; None while recording.
    """

    def __init__(
        self,
        settings: RecordingSettings | None = None,
        *,
        sign: Callable[[Path], None] | None = None,
    ) -> None:
        self.num_written = 0
        self.num_dropped = 0
        self.stop_reason: str | None = None
        self._settings = settings or RecordingSettings()
        self._sign = sign
        self._queue: queue.Queue[_Shown | _Heard | None] = queue.Queue(self._settings.max_waiting)
        self._thread: threading.Thread | None = None
        self._failure: StreamerError | None = None
        self._path = Path()
        self._size = (0, 0)
        self._first_s: float | None = None
        self._last_pts = -1
        self._num_bytes = 0
        self._is_at_end = False

    def start(self, path: Path, size: tuple[int, int]) -> None:
        """Begin a file.

        Args:
            path: where it goes, .mp4; nothing may be there yet.
            size: (width, height) of the result; pictures of other sizes are fitted into it.

        Raises:
            OutputError: there is something at `path`, or its folder cannot be written.
        """
        if self._thread is not None:
            raise OutputError(f"{self._path} is being recorded already; finish it first")
        if path.exists():
            raise OutputError(f"{path} exists; choose another name for the recording")
        self._path, self._size = path, size
        try:
            self._unfinished.touch()
        except OSError as error:
            raise OutputError(f"cannot record in {path.parent}: {error.strerror}") from error
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def add(self, picture: Picture, time_s: float, driver: Picture | None = None) -> bool:
        """Offer one picture; whether it was taken. Both are copied.

        Args:
            picture: (H, W, 3) uint8 RGB, the edited portrait.
            time_s: when it was shown, on any clock that only rises.
            driver: (H, W, 3) uint8 RGB, the camera's frame it answers, for side by side.
        """
        if not math.isfinite(time_s):
            self.num_dropped += 1
            return False
        if self._first_s is None:
            self._first_s = time_s
        if time_s - self._first_s > self._settings.max_duration_s:
            self._stop(f"it reached its longest duration, {self._settings.max_duration_s:g} s")
        pts = round((time_s - self._first_s) / TIME_BASE)
        if pts <= self._last_pts:
            self.num_dropped += 1
            return False
        is_shown = driver is not None and self._settings.is_side_by_side
        shown = _Shown(
            picture=picture.copy(),
            driver=driver.copy() if driver is not None and is_shown else None,
            time_s=time_s - self._first_s,
        )
        is_taken = self._offer(shown)
        if is_taken:
            self._last_pts = pts
        return is_taken

    def add_audio(self, frame: AudioFrame, time_s: float | None = None) -> bool:
        """Offer sound; whether it was taken.

        Args:
            frame: of any rate and layout.
            time_s: when its first sample is heard, on the clock of `add`; None for right after the
                sound before it. Gaps become silence.
        """
        if not self._settings.has_sound:
            return False
        if time_s is None:
            return self._offer(_Heard(frame=frame, time_s=None))
        if self._first_s is None or not math.isfinite(time_s) or time_s < self._first_s:
            return False
        if time_s - self._first_s > self._settings.max_duration_s:
            return False
        return self._offer(_Heard(frame=frame, time_s=time_s - self._first_s))

    def finish(self) -> Path:
        """Write what waits, sign the file and put it in place.

        Raises:
            OutputError: nothing was recorded, or it could not be written; then nothing is left.
            UsageError: it could not be signed; then nothing is left either.
        """
        thread = self._thread
        if thread is None:
            raise OutputError("nothing is being recorded; start a recording first")
        self._queue.put(None)
        thread.join()
        self._thread = None
        try:
            self._publish()
        finally:
            self._unfinished.unlink(missing_ok=True)
        return self._path

    def abandon(self) -> None:
        """Stop, and leave nothing."""
        if self._thread is None:
            return
        self._stop("it was abandoned")
        self._queue.put(None)
        self._thread.join()
        self._thread = None
        self._unfinished.unlink(missing_ok=True)

    @property
    def _unfinished(self) -> Path:
        return self._path.with_name(f".{self._path.name}.unfinished")

    def _offer(self, item: _Shown | _Heard) -> bool:
        if self._thread is None or self.stop_reason is not None:
            return False
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self.num_dropped += 1
            return False
        return True

    def _stop(self, reason: str) -> None:
        if self.stop_reason is None:
            self.stop_reason = reason

    def _publish(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self.num_written == 0:
            raise OutputError("nothing was recorded: no picture came; try again once one is shown")
        if self._sign is not None:
            self._sign(self._unfinished)
        try:
            with self._unfinished.open("rb") as file:
                os.fsync(file.fileno())
            self._unfinished.replace(self._path)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from error

    def _run(self) -> None:
        """Encode until told to end; after a failure only drain, so that no caller waits."""
        try:
            self._encode()
        except Exception as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._failure = OutputError(
                f"cannot record {self._path}: {reason}; free some space and record again"
            )
            self._failure.__cause__ = error
            self._stop("it could not be written")
            while not self._is_at_end:
                self._next()

    def _next(self) -> _Shown | _Heard | None:
        """Wait for what comes next; None, and only once, at the end."""
        item = self._queue.get()
        self._is_at_end = item is None
        return item

    def _encode(self) -> None:
        options = {
            "movflags": "+faststart",
            "video_track_timescale": str(TIME_BASE.denominator),
        }
        output = av.open(self._unfinished, "w", format="mp4", options=options)
        try:
            self._encode_into(output)
            output.close()
        except BaseException:
            with contextlib.suppress(OSError, av.error.FFmpegError):
                output.close()
            raise

    def _encode_into(self, output: OutputContainer) -> None:
        width, height = self._size
        if self._settings.is_side_by_side:
            width *= 2
        video = VideoTrack(output, (width, height), TIME_BASE, quality=self._settings.quality)
        sound = SoundTrack(output) if self._settings.has_sound else None
        while (item := self._next()) is not None:
            if self._num_bytes >= self._settings.max_bytes:
                self._stop(f"it reached its largest size, {self._settings.max_bytes} bytes")
                self.num_dropped += 1
            elif isinstance(item, _Heard):
                self._num_bytes += sound.add(item.frame, item.time_s) if sound else 0
            else:
                self._num_bytes += video.add(self._layout(item), round(item.time_s / TIME_BASE))
                self.num_written += 1
        if self.num_written:
            video.close()
            if sound is not None:
                sound.close()

    def _layout(self, shown: _Shown) -> Picture:
        return beside(shown.picture, shown.driver, self._size, self._settings.is_side_by_side)
