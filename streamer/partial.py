"""The folder of an unfinished run: finished segments and a manifest that says what made them."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from streamer.errors import OutputError, ResumeError

_MANIFEST = "manifest.json"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One finished stretch of frames.

    Attributes:
        num_held: frames without a face, in which the motion was held.
        end_pts: when its last frame goes, in the driver's time base units.
        num_bytes: size of the file of each view.
    """

    num_frames: int
    num_held: int
    end_pts: int
    num_bytes: Mapping[str, int]


class PartialRun:
    """Finished work beside the output, added segment by segment; every step is atomic.

    Attributes:
        segments: what is finished, in order.
        is_resumed: whether the folder was there before this run.
    """

    def __init__(self, folder: Path, made_from: Mapping[str, str]) -> None:
        self.folder = folder
        self.segments: list[Segment] = []
        self.is_resumed = False
        self._made_from = dict(made_from)

    @classmethod
    def create(cls, folder: Path, made_from: Mapping[str, str]) -> Self:
        """Start a run; this is also the proof that the output's folder can be written.

        Raises:
            OutputError: the folder cannot be made.
        """
        run = cls(folder, made_from)
        try:
            folder.mkdir()
            run._write_manifest()
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise OutputError(
                f"cannot write in {folder.parent}: {error.strerror}; choose another --output"
            ) from error
        return run

    @classmethod
    def resume(cls, folder: Path, made_from: Mapping[str, str]) -> Self:
        """Take up a run where its last finished segment ends.

        Raises:
            ResumeError: the folder is damaged or was made from something else.
        """
        run = cls(folder, made_from)
        try:
            manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            segments = [Segment(**record) for record in manifest["segments"]]
            before = dict(manifest["made_from"])
            is_known = manifest["version"] == _VERSION
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResumeError(f"{folder} is damaged; {_START_AGAIN}") from error
        if not is_known:
            raise ResumeError(f"{folder} is of another version of this program; {_START_AGAIN}")
        changed = sorted(
            name
            for name in before.keys() | run._made_from.keys()
            if before.get(name) != run._made_from.get(name)
        )
        if changed:
            raise ResumeError(
                f"{folder} was made with another {', '.join(changed)}; use the same, or "
                f"{_START_AGAIN}"
            )
        run.segments = run._whole(segments)
        run.is_resumed = True
        return run

    @property
    def made_from(self) -> Mapping[str, str]:
        """What decides how the frames look, with the inputs' hashes."""
        return self._made_from

    @property
    def num_frames(self) -> int:
        """Frames finished so far."""
        return sum(segment.num_frames for segment in self.segments)

    @property
    def num_held(self) -> int:
        """Finished frames in which the motion was held for want of a face."""
        return sum(segment.num_held for segment in self.segments)

    def segment_path(self, index: int, view: str) -> Path:
        """Where the file of that segment and view belongs."""
        return self.folder / f"{index:06d}.{view}.nut"

    def segment_paths(self, view: str) -> list[Path]:
        """The finished files of one view, in order."""
        return [self.segment_path(index, view) for index in range(len(self.segments))]

    def add(self, segment: Segment) -> None:
        """Record a segment whose files are in place."""
        self.segments.append(segment)
        self._write_manifest()

    def remove(self) -> None:
        """Delete the folder and all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _whole(self, segments: list[Segment]) -> list[Segment]:
        """The segments up to the first whose files are missing or of another size."""
        for index, segment in enumerate(segments):
            for view, num_bytes in segment.num_bytes.items():
                path = self.segment_path(index, view)
                if not path.is_file() or path.stat().st_size != num_bytes:
                    return segments[:index]
        return segments

    def _write_manifest(self) -> None:
        manifest = {
            "version": _VERSION,
            "made_from": self._made_from,
            "segments": [asdict(segment) for segment in self.segments],
        }
        unfinished = self.folder / (_MANIFEST + ".unfinished")
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.folder / _MANIFEST)


_START_AGAIN = "add --overwrite instead of --resume to start again"


def file_hash(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files in a folder."""
    if path.is_dir():
        digest = hashlib.sha256()
        for member in sorted(path.rglob("*")):
            if member.is_file():
                digest.update(f"{member.relative_to(path)}={file_hash(member)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
