"""Pictures with captions in rows, written as small WebP files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from difffae.arrays import ImageU8
from difffae.checkpoint import write_atomically

CAPTION_PX = 13
HEADING_PX = 16
_GROUND, _INK, _MARK = (255, 255, 255), (40, 40, 40), (220, 30, 30)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPTION_SCALE, _HEADING_SCALE = 0.33, 0.38
_QUALITIES = (88, 84, 80, 75, 70, 64, 58, 52, 46, 40)
_MARK_PX = 3


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One picture.

    Attributes:
        image: of any size; None leaves the place empty.
        caption: stands below it.
        is_marked: framed in red.
    """

    image: ImageU8 | None = None
    caption: str = ""
    is_marked: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """Pictures side by side, with a heading above them or none."""

    cells: Sequence[Cell]
    heading: str = ""


def draw_sheet(
    rows: Sequence[Row], *, side: int, headings: Sequence[str] = (), captions: bool = True
) -> ImageU8:
    """All rows below one another; shorter rows end with empty places.

    Args:
        rows: of cells.
        side: of each picture [px].
        headings: of the columns.
        captions: whether room is left for them.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("Got no rows but expected at least one to draw")
    width = max(len(row.cells) for row in rows) * side
    parts: list[ImageU8] = []
    if headings:
        labels = [_label(text, side, HEADING_PX, _HEADING_SCALE) for text in headings]
        parts.append(_widened(np.hstack(labels), width))
    for row in rows:
        if row.heading:
            parts.append(_label(row.heading, width, HEADING_PX, _HEADING_SCALE))
        cells = [_draw(cell, side, captions) for cell in row.cells]
        parts.append(_widened(np.hstack(cells), width))
    return np.vstack(parts)


def _draw(cell: Cell, side: int, has_caption: bool) -> ImageU8:
    picture = np.full((side, side, 3), _GROUND, np.uint8)
    if cell.image is not None:
        picture = _fitted(cell.image, side)
    if cell.is_marked:
        corner = side - 1
        cv2.rectangle(picture, (0, 0), (corner, corner), _MARK, _MARK_PX)
    if not has_caption:
        return picture
    return np.vstack([picture, _label(cell.caption, side, CAPTION_PX, _CAPTION_SCALE)])


def _fitted(image: ImageU8, side: int) -> ImageU8:
    """The middle square of a picture at a size."""
    height, width = image.shape[:2]
    size = min(height, width)
    top, left = (height - size) // 2, (width - size) // 2
    square = image[top : top + size, left : left + size]
    way = cv2.INTER_AREA if size > side else cv2.INTER_CUBIC
    return np.array(cv2.resize(square, (side, side), interpolation=way), np.uint8)


def _label(text: str, width: int, height: int, scale: float) -> ImageU8:
    strip = np.full((height, width, 3), _GROUND, np.uint8)
    plain = text.encode("ascii", "replace").decode()
    place = (3, height - 4)
    return np.asarray(cv2.putText(strip, plain, place, _FONT, scale, _INK, 1, cv2.LINE_AA))


def _widened(strip: ImageU8, width: int) -> ImageU8:
    missing = width - strip.shape[1]
    return np.asarray(np.pad(strip, ((0, 0), (0, missing), (0, 0)), constant_values=255), np.uint8)


def write_webp(path: Path, image: ImageU8, *, max_bytes: int) -> int:
    """Write a picture as well as so many bytes allow; returns how many it took.

    Raises:
        ValueError: even at the lowest quality it is larger.
        OSError: it cannot be written.
    """
    smallest = 0
    for quality in _QUALITIES:
        options = [cv2.IMWRITE_WEBP_QUALITY, quality]
        _, data = cv2.imencode(".webp", np.ascontiguousarray(image[..., ::-1]), options)
        smallest = len(data)
        if smallest <= max_bytes:
            write_atomically(path, data.tobytes())
            return smallest
    raise ValueError(f"Got {smallest} bytes for {path.name}, expected {max_bytes}: draw it smaller")
