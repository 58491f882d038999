"""Clips of one split, from a folder and its table: names, people, frames one by one."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from difffae.arrays import ImageU8


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One face crop video of one person."""

    path: Path
    person: str
    num_frames: int

    @property
    def stem(self) -> str:
        """The file's name without its suffix."""
        return self.path.name.removesuffix(self.path.suffix)


def read_clips(folder: Path, table: Path, split: str) -> list[Clip]:
    """The clips of a split, in the order of the table (columns file, person, split, frames).

    Raises:
        ValueError: no table, no such split, or a clip that is not in the folder.
    """
    if not table.is_file():
        raise ValueError(f"Got no table of clips at {table}: give it with --csv")
    with table.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == split]
    if not rows:
        raise ValueError(f"Got no clip of split {split!r} in {table}")
    clips = [
        Clip(path=folder / row["file"], person=row["person"], num_frames=int(row["frames"]))
        for row in rows
    ]
    missing = [clip.path for clip in clips if not clip.path.is_file()]
    if missing:
        raise ValueError(f"Got {len(missing)} clips of {table} not in {folder}: {missing[0].name}")
    return clips


def read_frames(path: Path) -> Iterator[ImageU8]:
    """The frames of a video, one at a time.

    Raises:
        ValueError: the file cannot be read as a video.
    """
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"Got a file that is not a readable video: {path}") from error


def first_frame(path: Path) -> ImageU8:
    """The first frame of a video.

    Raises:
        ValueError: the file cannot be read or has no frame.
    """
    for frame in read_frames(path):
        return frame
    raise ValueError(f"Got a video without frames: {path}")
