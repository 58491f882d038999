"""A number drawn into pictures as black and white blocks, and read back after any video codec.

Sixteen bits of number and eight of check (CRC-8, polynomial 0x07, start 0xFF: a plain black or
white area is no number) lie in eight columns and three rows at the lower left, away from the label
at the upper right. A block is 1/20 of the picture's width and 1/15 of its height: 32 × 32 pixels
of 640 × 480, whole macroblocks of VP8. Scaling the picture scales them along.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from streamer.live import Picture

NUM_NUMBERS = 1 << 16
COLUMNS, ROWS = 8, 3
WIDTH_PART, HEIGHT_PART = COLUMNS / 20, ROWS / 15
RATE = 30
SIZE = 480, 640
_NUM_CHECK_BITS = 8
_UNSURE = 96, 160
_CORE = slice(1, 3)  # of the four samples across a block: its edges are blurred
_QUALITY = 90


@dataclass(frozen=True, kw_only=True)
class Region:
    """Where the blocks are in a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


def region(height: int, width: int) -> Region:
    """The blocks' place in a picture of that size."""
    part = round(HEIGHT_PART * height)
    return Region(top=height - part, left=0, height=part, width=round(WIDTH_PART * width))


def draw(image: Picture, number: int) -> None:
    """Draw a number into an (H, W, 3) picture.

    Args:
        image: changed in place.
        number: in [0, 65536).
    """
    word = number << _NUM_CHECK_BITS | _check(number)
    num_bits = COLUMNS * ROWS
    bits = [word >> (num_bits - 1 - place) & 1 for place in range(num_bits)]
    blocks = 255 * np.array(bits, np.uint8).reshape(ROWS, COLUMNS)
    place = region(*image.shape[:2])
    size = place.width, place.height
    _patch(image)[:] = cv2.resize(blocks, size, interpolation=cv2.INTER_NEAREST)[..., None]


def read(image: Picture) -> int | None:
    """The number in an (H, W, 3) picture; None where there is none, or a block is unclear."""
    patch = _patch(image)
    size = 4 * COLUMNS, 4 * ROWS
    small = cv2.resize(patch, size, interpolation=cv2.INTER_AREA).mean(-1)
    means = small.reshape(ROWS, 4, COLUMNS, 4)[:, _CORE, :, _CORE].mean((1, 3))
    if ((means > _UNSURE[0]) & (means < _UNSURE[1])).any():
        return None
    return checked(int("".join("1" if mean > 128 else "0" for mean in means.ravel()), 2))


def checked(word: int) -> int | None:
    """The number of a word of all blocks, row by row, white for 1; None if its check is wrong."""
    number, check = divmod(word, 1 << _NUM_CHECK_BITS)
    return number if 0 <= number < NUM_NUMBERS and check == _check(number) else None


def copy(source: Picture, target: Picture) -> None:
    """Take the blocks of one picture over into another of any size, whatever they say."""
    place = region(*target.shape[:2])
    size = place.width, place.height
    _patch(target)[:] = cv2.resize(_patch(source), size, interpolation=cv2.INTER_NEAREST)


def write_camera(path: Path, pictures: Iterable[Picture]) -> int:
    """Write pictures as a fake camera of Chromium plays them: MJPEG, 30 a second, in a loop.

    Args:
        path: of the file, which must end in .mjpeg.
        pictures: (480, 640, 3) RGB.

    Returns:
        How many there were.
    """
    count = 0
    with path.open("wb") as sink:
        for picture in pictures:
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
            sink.write(encoded.tobytes())
            count += 1
    return count


def painter(clip: Path | None = None) -> Callable[[int], Picture]:
    """Makes the (480, 640, 3) picture of a number, over a clip forth and back, or soft stripes."""
    frames = [] if clip is None else list(_frames(clip))
    way = [*frames, *frames[-2:0:-1]]

    def paint(number: int) -> Picture:
        picture = way[number % len(way)].copy() if way else _gradient(number)
        draw(picture, number)
        return picture

    return paint


def numbered(count: int, clip: Path | None = None) -> Iterator[Picture]:
    """The pictures of a `painter` from number 0 on."""
    return map(painter(clip), range(count))


def _check(number: int) -> int:
    check = 0xFF
    for byte in number.to_bytes(2, "big"):
        check ^= byte
        for _ in range(8):
            check = (check << 1 ^ 0x07) & 0xFF if check & 0x80 else check << 1
    return check


def _patch(image: Picture) -> Picture:
    place = region(*image.shape[:2])
    return image[place.top : place.top + place.height, place.left : place.left + place.width]


def _frames(clip: Path) -> Iterator[Picture]:
    height, width = SIZE
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height), np.uint8)


def _gradient(number: int) -> Picture:
    """Soft stripes that wander, so that every frame costs a codec something."""
    height, width = SIZE
    across = np.arange(width, dtype=np.float32)[None] + 4 * number
    down = np.arange(height, dtype=np.float32)[:, None]
    wave = 128 + 60 * np.sin(across / 40) * np.cos(down / 60)
    return np.repeat(wave[..., None], 3, axis=-1).astype(np.uint8)
