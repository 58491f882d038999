"""What a folder holds that can be prepared: clips, stills, and what of it cannot be read."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from difffae.data.clip_tasks import CropTask, StillsTask, VideoTask
from difffae.data.report import Finding
from difffae.data.video import VIDEO_SUFFIXES

STILLS_PER_SHARD = 256
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
_FOMM_NAME = re.compile(r"[^#]+#[^#]+#\d+#\d+")


@dataclass(frozen=True, kw_only=True)
class MediaFolder:
    """A folder's media, in the order of their paths.

    Attributes:
        clips: videos, and folders of PNG frames that are named like one.
        stills: pictures.
        findings: of subfolders that cannot be read.
    """

    clips: tuple[Path, ...]
    stills: tuple[Path, ...]
    findings: tuple[Finding, ...]


def list_media(folder: Path, output: Path, allowed: frozenset[str] | None) -> MediaFolder:
    """Look through a folder and its subfolders, but not through the output in it.

    Args:
        folder: to look through.
        output: where prepared data goes.
        allowed: names, or paths within the folder, of the files to take; None = all.

    Raises:
        ValueError: the folder cannot be read, or holds neither videos nor pictures.
    """
    folder = folder.resolve()
    clips: list[Path] = []
    stills: list[Path] = []
    troubles: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=troubles.append):
        here = Path(place)
        clips += [here / name for name in folders if _has_suffix(name, VIDEO_SUFFIXES)]
        folders[:] = [
            name
            for name in folders
            if not _has_suffix(name, VIDEO_SUFFIXES) and (here / name).resolve() != output.resolve()
        ]
        clips += [here / name for name in files if _has_suffix(name, VIDEO_SUFFIXES)]
        stills += [here / name for name in files if _has_suffix(name, PICTURE_SUFFIXES)]
    findings = [_unreadable(folder, trouble) for trouble in troubles]

    def taken(paths: list[Path]) -> tuple[Path, ...]:
        names = {path: {path.name, path.relative_to(folder).as_posix()} for path in paths}
        return tuple(sorted(p for p in paths if allowed is None or names[p] & allowed))

    media = MediaFolder(clips=taken(clips), stills=taken(stills), findings=tuple(findings))
    if not media.clips and not media.stills:
        raise ValueError(f"no videos and no pictures in {folder}")
    return media


def clip_tasks(
    folder: Path, clips: Sequence[Path], is_person_folder: bool
) -> tuple[list[CropTask | VideoTask], list[Finding]]:
    """A task for each clip, and a finding for each whose clips' names another has already.

    Args:
        folder: that they lie in, somewhere.
        clips: their paths.
        is_person_folder: whether a video's first folder names its person; else each is of its own.
    """
    tasks: list[CropTask | VideoTask] = []
    findings: list[Finding] = []
    owners: dict[str, Path] = {}
    for path in clips:
        is_crop = path.is_dir() or _FOMM_NAME.fullmatch(path.stem) is not None
        inner = path.relative_to(folder.resolve()).with_suffix("")
        key = path.stem if is_crop else _part_of_name(inner.as_posix())
        if owners.setdefault(key, path) != path:
            reason = f"its clips would have the names of those of {owners[key]}"
            findings.append(Finding(file=str(path), result="rejected", reason=reason))
        elif is_crop:
            tasks.append(CropTask(path=path))
        else:
            has_folder = is_person_folder and len(inner.parts) > 1
            person = _part_of_name(inner.parts[0]) if has_folder else key
            tasks.append(VideoTask(path=path, person=person, video=key))
    return tasks, findings


def stills_tasks(stills: Sequence[Path], shards: Path, first: int) -> list[StillsTask]:
    """Tasks of stills, a shard each.

    Args:
        stills: those that are not done yet.
        shards: path of a shard, but for the number that its name ends with.
        first: how many are done.
    """
    return [
        StillsTask(
            paths=tuple(stills[start : start + STILLS_PER_SHARD]),
            shard=shards.with_name(f"{shards.name}{first + start:06d}.safetensors"),
        )
        for start in range(0, len(stills), STILLS_PER_SHARD)
    ]


def _part_of_name(text: str) -> str:
    return re.sub(r"[#/\s]+", "-", text)


def _has_suffix(name: str, suffixes: frozenset[str]) -> bool:
    return Path(name).suffix.lower() in suffixes


def _unreadable(folder: Path, trouble: OSError) -> Finding:
    place = Path(trouble.filename)
    if place == folder:
        raise ValueError(
            f"cannot read the folder {folder} ({trouble.strerror}): give one that can be listed"
        ) from trouble
    return Finding(file=str(place), result="rejected", reason=f"folder: {trouble.strerror}")
