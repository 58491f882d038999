"""What a still or a long driver does to a portrait: flicker, and identity over 1,000 frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, pairwise

import numpy as np

from difffae.arrays import ImageU8
from difffae.data.codec import through_codec
from difffae.data.split import read_frames
from difffae.figures.media import DriverClip
from difffae.figures.studio import Sitter, Studio
from difffae.metrics.image import mean_change

NOISES = (0.0, 3.0)  # of a camera's sensor: standard deviation [of 255]
NUM_STILL, NUM_SETTLING = (
    60,
    20,
)  # frames of a still driver; of these, until nothing settles any more
NUM_REPEATED, NUM_LONG, NUM_COMPARED = 100, 1000, 20


@dataclass(frozen=True, kw_only=True)
class Flicker:
    """How much a picture that stands still changes from frame to frame, before and after.

    Attributes:
        driver: whose picture it is.
        noise: that was added to it [of 255].
        before: mean change of the driver's frames, as the codec leaves them [grey levels].
        after: of the portrait's.
    """

    driver: str
    noise: float
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class LongRun:
    """Identity with the portrait, cosine, at both ends of a long run.

    Attributes:
        portrait: its name.
        first, last: means over the first and the last frames, which show the driver doing the same.
    """

    portrait: str
    first: float
    last: float


def measure_flicker(studio: Studio, sitter: Sitter, clip: DriverClip) -> list[Flicker]:
    """Drive a portrait by the first frame of a clip, again and again, through VP8 as a call has it.

    Raises:
        ValueError: the video cannot be read.
    """
    picture = next(read_frames(clip.path))
    rows = []
    for noise in NOISES:
        frames = list(through_codec(still(picture, noise), (picture.shape[1], picture.shape[0])))
        outputs = list(studio.stream(sitter, frames))
        before, after = (_flicker(each[NUM_SETTLING:]) for each in (frames, outputs))
        rows.append(Flicker(driver=clip.name, noise=noise, before=before, after=after))
    return rows


def measure_long_run(studio: Studio, sitter: Sitter, clip: DriverClip) -> LongRun:
    """Drive a portrait for a thousand frames: a clip's first hundred, ten times.

    Raises:
        ValueError: the video cannot be read.
    """
    frames = islice(cycle(islice(read_frames(clip.path), NUM_REPEATED)), NUM_LONG)
    start = NUM_LONG - NUM_REPEATED
    found: dict[int, float] = {}
    for number, image in enumerate(studio.stream(sitter, frames)):
        if number % NUM_REPEATED < NUM_COMPARED and (number < NUM_COMPARED or number >= start):
            found[number] = studio.judge(sitter, image).identity
    first = [value for number, value in found.items() if number < NUM_COMPARED]
    last = [value for number, value in found.items() if number >= start]
    return LongRun(
        portrait=sitter.portrait.name, first=float(np.mean(first)), last=float(np.mean(last))
    )


def still(picture: ImageU8, noise: float) -> Iterator[ImageU8]:
    """A camera before something that does not move; its noise is the same in every run."""
    random = np.random.default_rng(0)
    for _ in range(NUM_STILL):
        noisy = picture + random.normal(0, noise, picture.shape)
        yield np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _flicker(frames: Sequence[ImageU8]) -> float:
    changes = [mean_change(frame, before) for before, frame in pairwise(frames)]
    return float(np.mean(changes))


def flicker_table(rows: Sequence[Flicker]) -> list[str]:
    """The figures in Markdown: means over drivers."""
    lines = ["| noise of the camera | driver | portrait |", "|---:|---:|---:|"]
    for noise in NOISES:
        of_noise = [row for row in rows if row.noise == noise]
        before, after = (
            np.mean([getattr(row, name) for row in of_noise]) for name in ("before", "after")
        )
        lines.append(f"| {noise:.0f} | {before:.2f} | {after:.2f} |")
    return lines


def long_run_table(rows: Sequence[LongRun]) -> list[str]:
    """The figures in Markdown."""
    lines = ["| portrait | first frames | last frames |", "|---|---:|---:|"]
    lines += [f"| {row.portrait} | {row.first:.3f} | {row.last:.3f} |" for row in rows]
    return lines
