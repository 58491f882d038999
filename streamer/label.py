"""The words that every picture sent carries, and the card that stands in for a picture."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from streamer.live import Picture

LABEL = "AI MODIFIED"
_LEAST_TEXT_PX = 12
_TEXT_PART = 0.055  # of the shorter side
_PLATE_OPACITY = 0.65
_CARD_COLOUR = (28, 30, 36)


class Label:
    """Burns a text into the top right corner of pictures; the last size's is kept ready.

    Args:
        text: what it says; sizes follow the picture, so that it stays legible and within it.
    """

    def __init__(self, text: str = LABEL) -> None:
        self._text = text
        self._size = (0, 0)
        self._ink: NDArray[np.float32] = np.zeros((0, 0, 1), np.float32)

    def burn_in(self, image: Picture) -> Picture:
        """A copy of an (H, W, 3) picture with the label on it."""
        labelled = image.copy()
        ink = self._ink_for(*image.shape[:2])
        corner = labelled[: ink.shape[0], image.shape[1] - ink.shape[1] :]
        corner[:] = corner * (1 - _PLATE_OPACITY) * (1 - ink) + 255 * ink
        return labelled

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the label in a picture of that size, in pixels."""
        ink = self._ink_for(height, width)
        return width - ink.shape[1], 0, width, ink.shape[0]

    def _ink_for(self, height: int, width: int) -> NDArray[np.float32]:
        if self._size != (height, width):
            self._ink = _plate(self._text, height, width)
            self._size = (height, width)
        return self._ink


def _plate(text: str, height: int, width: int) -> NDArray[np.float32]:
    """How much of each pixel of the label is text, (h, w, 1) in [0, 1]."""
    wanted_px = max(_LEAST_TEXT_PX, round(_TEXT_PART * min(height, width)))
    font = ImageFont.load_default(wanted_px)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    pad = max(2, wanted_px // 3)
    plate = Image.new("L", (right - left + 2 * pad, bottom - top + 2 * pad), 0)
    ImageDraw.Draw(plate).text((pad - left, pad - top), text, fill=255, font=font)
    scale = min(width / plate.width, height / plate.height, 1.0)
    if scale < 1:
        size = (max(1, int(plate.width * scale)), max(1, int(plate.height * scale)))
        plate = plate.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(plate, np.float32)[..., None] / 255


def notice_card(sentence: str, height: int, width: int) -> Picture:
    """A plain dark picture that says something; it holds nothing of any camera."""
    card = Image.new("RGB", (width, height), _CARD_COLOUR)
    _write(card, sentence, top=height / 2)
    return np.asarray(card, np.uint8).copy()


def captioned(image: Picture, sentence: str) -> Picture:
    """A dimmed copy of a picture with a sentence across its lower part."""
    dimmed = Image.fromarray((image // 2).astype(np.uint8))
    _write(dimmed, sentence, top=image.shape[0] * 0.8)
    return np.asarray(dimmed, np.uint8).copy()


def _write(picture: Image.Image, sentence: str, *, top: float) -> None:
    """Centre the sentence at a height, broken into lines that fit the width."""
    font = ImageFont.load_default(max(10, round(0.05 * min(picture.size))))
    lines = [""]
    for word in sentence.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > 0.9 * picture.width:
            lines.append(word)
        else:
            lines[-1] = longer
    draw = ImageDraw.Draw(picture)
    draw.multiline_text(
        (picture.width / 2, top), "\n".join(lines), fill="white", font=font, anchor="mm",
        align="center",
    )  # fmt: skip
