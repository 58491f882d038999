"""What moves that should not: a portrait driven by a run of frames; background and shoulders."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np

from difffae.arrays import ImageU8, MaskF32
from difffae.data.split import read_frames
from difffae.figures.media import DriverClip
from difffae.figures.studio import Sitter, Studio

NUM_FRAMES = 40
_FACE_MARGIN = 1.25  # of the face's box, sideways: the head with its hair
_NECK = 0.35  # of the face's height below the chin: what turns with the head
_FULL_LEVELS = 24.0  # of a spread: drawn as the brightest
_SURE = 0.5  # of the person's mask


@dataclass(frozen=True, kw_only=True)
class Stillness:
    """How much each part of a portrait changes over a run: standard deviations over time.

    Attributes:
        portrait: its name.
        head, shoulders, background: means over the part [grey levels].
        picture: the portrait.
        spread: of each pixel, drawn.
    """

    portrait: str
    head: float
    shoulders: float
    background: float
    picture: ImageU8
    spread: ImageU8


def measure_stillness(studio: Studio, sitter: Sitter, clip: DriverClip) -> Stillness:
    """Drive a portrait by a driver's first frames, smoothed as commands do.

    Raises:
        ValueError: the video cannot be read.
    """
    outputs = list(studio.stream(sitter, islice(read_frames(clip.path), NUM_FRAMES)))
    spread = np.stack(outputs).astype(np.float32).std(0).mean(-1)
    head, shoulders, background = parts(sitter, sitter.source.face.layers.person)
    return Stillness(
        portrait=sitter.portrait.name,
        head=_mean(spread, head),
        shoulders=_mean(spread, shoulders),
        background=_mean(spread, background),
        picture=sitter.looks.image,
        spread=draw_spread(spread),
    )


def parts(sitter: Sitter, person: MaskF32) -> tuple[MaskF32, MaskF32, MaskF32]:
    """Masks of the head, of what is below the neck, and of what is not the person."""
    assert sitter.looks.points is not None
    points = sitter.looks.points[:, :2]
    low, high = points.min(0), points.max(0)
    bottom = float(high[1] + _NECK * (high[1] - low[1]))
    rows = np.arange(person.shape[0])[:, None]
    is_person = person > _SURE
    wide = cv2.dilate(person, np.ones((9, 9))) > _SURE
    masks = (is_person & (rows < high[1]), is_person & (rows > bottom), ~wide)
    head, shoulders, background = (mask.astype(np.float32) for mask in masks)
    return head, shoulders, background


def _mean(spread: MaskF32, mask: MaskF32) -> float:
    weight = float(mask.sum())
    return float((spread * mask).sum() / weight) if weight else float("nan")


def draw_spread(spread: MaskF32) -> ImageU8:
    """Dark where a pixel stays, bright where it changes."""
    levels = np.clip(spread / _FULL_LEVELS * 255, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1])


def table(rows: Sequence[Stillness]) -> list[str]:
    """The figures in Markdown."""
    lines = ["| portrait | head | shoulders | background |", "|---|---:|---:|---:|"]
    lines += [
        f"| {row.portrait} | {row.head:.1f} | {row.shoulders:.2f} | {row.background:.2f} |"
        for row in rows
    ]
    return lines
