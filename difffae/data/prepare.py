"""`python -m difffae.data.prepare FOLDER OUT`: videos and stills in, tracked frame shards out.

Videos may be files or FOMM's folders of PNG frames named `person#video#start#end.mp4`; pictures are
stills of one person each. Every clip becomes one shard: a stopped run continues where it was.
"""

import argparse
import csv
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np

from difffae.arrays import ImageU8, Points3, SquareU8
from difffae.data.shards import ShardContents, encode_jpeg, write_shard
from difffae.face.crop import crop, portrait_box
from difffae.face.mediapipe import MediaPipeTracker, PersonSegmenter

CROP_SIZE_PX = 256
STILLS_PER_SHARD = 256
_VIDEOS = {".mp4", ".mkv", ".mov", ".webm", ".avi"}
_PICTURES = {".jpg", ".jpeg", ".png"}
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a folder is prepared."""

    folder: Path
    output: Path
    stride: int = 2  # every n-th frame of a video
    allowed: frozenset[str] | None = None  # file names to take; None = all


class Preparer:
    """Tracks and segments pictures, and collects them into shards."""

    def __init__(self) -> None:
        self._tracker = MediaPipeTracker()
        self._segmenter = PersonSegmenter()

    def clip(self, path: Path, stride: int) -> ShardContents | None:
        """The tracked frames of one clip; None where no face was found throughout."""
        samples, previous = [], None
        for number, frame in enumerate(read_clip(path)):
            if number % stride:
                continue
            square = _square(frame)
            previous = self._tracker.track(square, previous)
            if previous is not None:
                samples.append((square, previous, number))
        return self._contents(samples, path.name.split("#")[0], path.name) if samples else None

    def stills(self, paths: Iterable[Path]) -> ShardContents | None:
        """The crops of pictures that show exactly one face."""
        samples, names = [], []
        for path in paths:
            image = cast(ImageU8 | None, cv2.imread(str(path)))
            if image is None:
                log.warning("%s: not a picture, left out", path)
                continue
            rgb = np.ascontiguousarray(image[..., ::-1])
            faces = self._tracker.find_faces(rgb)
            if len(faces) != 1:
                log.warning("%s: %d faces, left out", path, len(faces))
                continue
            box = portrait_box(faces[0], *rgb.shape[:2])
            samples.append((crop(rgb, box, CROP_SIZE_PX), box.to_crop(faces[0], CROP_SIZE_PX), 0))
            names.append(path.stem)
        if not samples:
            return None
        contents = self._contents(samples, "", "")
        return ShardContents(
            pictures=contents.pictures,
            arrays=contents.arrays,
            labels={"person": names, "clip": names},
        )

    def _contents(
        self, samples: list[tuple[ImageU8, Points3, int]], person: str, clip: str
    ) -> ShardContents:
        masks = [
            np.rint(self._segmenter.segment(image) * 255).astype(np.uint8)
            for image, _, _ in samples
        ]
        return ShardContents(
            pictures={
                "image": [encode_jpeg(image) for image, _, _ in samples],
                "person_mask": [encode_jpeg(np.repeat(mask[..., None], 3, -1)) for mask in masks],
            },
            arrays={
                "points": np.stack([points for _, points, _ in samples]).astype(np.float32),
                "frame": np.array([number for _, _, number in samples], np.int32),
            },
            labels={"person": [person] * len(samples), "clip": [clip] * len(samples)},
        )


def read_clip(path: Path) -> Iterator[ImageU8]:
    """Frames in order, from a video file or from FOMM's folder of numbered PNGs."""
    if path.is_dir():
        for frame in sorted(path.glob("*.png")):
            image = cast(ImageU8 | None, cv2.imread(str(frame)))
            if image is None:
                raise ValueError(f"{frame.name} is not a picture")
            yield np.ascontiguousarray(image[..., ::-1])
        return
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError("it has no video")
        for decoded in container.decode(video=0):
            yield np.asarray(decoded.to_ndarray(format="rgb24"), np.uint8)


def _square(frame: ImageU8) -> SquareU8:
    side = min(frame.shape[:2])
    top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
    square = np.ascontiguousarray(frame[top : top + side, left : left + side])
    if side == CROP_SIZE_PX:
        return square
    shrinking = cv2.INTER_AREA if side > CROP_SIZE_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (CROP_SIZE_PX, CROP_SIZE_PX), interpolation=shrinking))


def prepare(job: Preparation) -> int:
    """Prepare a folder; shards already there are kept. Returns how many shards were written.

    Raises:
        ValueError: the folder holds neither videos nor pictures.
    """
    entries = sorted(
        path for path in job.folder.rglob("*") if job.allowed is None or path.name in job.allowed
    )
    clips = [path for path in entries if path.suffix.lower() in _VIDEOS]
    stills = [
        path for path in entries if path.suffix.lower() in _PICTURES and path.parent not in clips
    ]
    if not clips and not stills:
        raise ValueError(f"no videos and no pictures in {job.folder}")
    preparer, written = Preparer(), 0
    for path in clips:
        shard = job.output / f"frames-{path.stem}.safetensors"
        written += _write(shard, partial(preparer.clip, path, job.stride))
    for start in range(0, len(stills), STILLS_PER_SHARD):
        chunk = stills[start : start + STILLS_PER_SHARD]
        name = f"frames-stills-{job.folder.name}-{start:06d}.safetensors"
        written += _write(job.output / name, partial(preparer.stills, chunk))
    return written


def _write(path: Path, make: Callable[[], ShardContents | None]) -> int:
    if path.exists():
        return 0
    try:
        contents = make()
    except (av.FFmpegError, OSError, ValueError) as error:
        log.warning("%s: %s, left out", path.stem, error)
        return 0
    if contents is None:
        log.warning("%s: no face, left out", path.stem)
        return 0
    write_shard(path, contents)
    return 1


def _allowed(table: Path, split: str) -> frozenset[str]:
    with table.open(newline="") as file:
        return frozenset(row["file"] for row in csv.DictReader(file) if row["split"] == split)


def main() -> None:
    """Command line; see the module docstring."""
    parser = argparse.ArgumentParser(prog="python -m difffae.data.prepare", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of videos, FOMM clips or stills")
    parser.add_argument("output", type=Path, help="folder for the shards")
    parser.add_argument(
        "--stride", type=int, default=2, help="take every n-th frame of a video (default 2)"
    )
    parser.add_argument(
        "--csv", type=Path, help="table with columns file and split, to take one split alone"
    )
    parser.add_argument("--split", default="train", help="which split of the table (default train)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    allowed = _allowed(arguments.csv, arguments.split) if arguments.csv else None
    job = Preparation(
        folder=arguments.folder, output=arguments.output, stride=arguments.stride, allowed=allowed
    )
    try:
        log.info("%d shards written to %s", prepare(job), job.output)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
