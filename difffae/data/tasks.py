"""Units of preparation: a task is small and can be sent elsewhere, tools stay in a process."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import av
import cv2

from difffae.data.clip_writers import (
    ClipForm,
    ClipWriter,
    FaceTools,
    Mp4Writer,
    PngWriter,
    ShardWriter,
)
from difffae.data.quality import ClipLimits
from difffae.data.report import Finding
from difffae.data.shards import CannotWriteError


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What all tasks of a run share.

    Attributes:
        output: where clips go.
        size: side of the square crops [px].
        stride: frames are tracked and stored in shards at every n-th of 25 a second.
        form: what clips are written as.
        limits: what clips cut from whole videos have to hold to.
    """

    output: Path
    size: int = 256
    stride: int = 2
    form: ClipForm = "shards"
    limits: ClipLimits = field(default_factory=ClipLimits)

    def finding(self, file: str, clip: str, path: Path, reason: str | None) -> Finding:
        """What became of a clip that was to be written: `reason` speaks against it."""
        if reason is not None:
            return Finding(file=file, clip=clip, result="rejected", reason=reason)
        return Finding(file=file, clip=clip, result="written", output=self._place(path))

    def kept(self, file: str, clip: str, path: Path) -> Finding:
        """The finding of a clip that is there already."""
        return Finding(file=file, clip=clip, result="kept", output=self._place(path))

    def _place(self, path: Path) -> str:
        return path.relative_to(self.output).as_posix()


class Bench:
    """The tools of one process and the settings of the run."""

    def __init__(self, settings: TaskSettings) -> None:
        self.settings = settings
        self.tools = FaceTools()

    def writer(self, path: Path, person: str, clip: str) -> ClipWriter:
        """A writer of the form that is asked for.

        Args:
            path: what it writes, as `clip_path` names it.
            person: label of the frames in a shard.
            clip: the same.
        """
        if self.settings.form == "mp4":
            return Mp4Writer(path)
        if self.settings.form == "png":
            return PngWriter(path)
        return ShardWriter(path, person, clip, self.settings.stride, self.tools)


class Task(Protocol):
    """One piece of work; `stamps` are the files it finishes and how they are now."""

    @property
    def stamps(self) -> Mapping[str, str]:
        """Files, relative to the folder, with their stamps."""
        ...

    def run(self, bench: Bench) -> list[Finding]:
        """Do it; what it does not handle of a broken file it may raise."""
        ...


def run_task(task: Task, bench: Bench) -> list[Finding]:
    """Do a task; a file that cannot be used becomes a finding, a full disk stops the run.

    Raises:
        CannotWriteError: the disk is full, read-only or gone.
    """
    try:
        findings = task.run(bench)
    except CannotWriteError:
        raise
    except (av.FFmpegError, cv2.error, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        findings = [Finding(file=file, result="rejected", reason=reason) for file in task.stamps]
    done = [
        Finding(file=file, result="finished", stamp=stamp) for file, stamp in task.stamps.items()
    ]
    return [*findings, *done]


def file_stamp(path: Path) -> str:
    """Size and time of a file or folder: another stamp means other content."""
    with suppress(OSError):
        status = path.stat()
        return f"{status.st_size}-{status.st_mtime_ns}"
    return "unreadable"
