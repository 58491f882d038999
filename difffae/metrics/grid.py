"""Pictures side by side: one row a case, one labelled column an output."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from difffae.arrays import ImageU8

LABEL_HEIGHT_PX = 22
LABEL_COLOUR = (230, 230, 230)


@dataclass(frozen=True, kw_only=True)
class GridRow:
    """One case at one moment: pictures of one size by column name, in the columns' order."""

    label: str
    pictures: dict[str, ImageU8]


def _label(text: str, width: int) -> ImageU8:
    strip = np.zeros((LABEL_HEIGHT_PX, width, 3), np.uint8)
    ascii_text = text.encode("ascii", "replace").decode()
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.42
    return np.asarray(
        cv2.putText(strip, ascii_text, (4, 15), font, scale, LABEL_COLOUR, 1, cv2.LINE_AA)
    )


def draw_grid(rows: Sequence[GridRow]) -> ImageU8:
    """All rows below one another under the column names.

    Raises:
        ValueError: no rows, or rows of different columns.
    """
    if not rows:
        raise ValueError("Got no rows but expected at least one to draw")
    columns = list(rows[0].pictures)
    lines: list[ImageU8] = []
    for row in rows:
        if list(row.pictures) != columns:
            raise ValueError(f"Got columns {list(row.pictures)} but expected {columns}")
        pictures = [row.pictures[name] for name in columns]
        if not lines:
            lines.append(
                np.hstack([_label(n, p.shape[1]) for n, p in zip(columns, pictures, strict=True)])
            )
        strip = np.hstack(pictures)
        lines += [strip, _label(row.label, strip.shape[1])]
    return np.vstack(lines)
