"""The portraits that can be driven: a bundled gallery of synthetic people, and uploads.

Uploads stay in memory, known by the hash of their pixels; nothing a visitor names is a path.
"""

import asyncio
import hashlib
import io
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streamer.demo import bundled_file
from streamer.errors import PortraitError, UsageError
from streamer.portrait import read_portrait
from streamer.server_config import Limits

PREVIEW_PX = 512
_BUNDLED = "openpeople/data/curated/{person}/assets/studio_portrait.jpg"
_PEOPLE = tuple(f"P{number:03d}" for number in range(1, 11))
_MAX_SCANS = 64
"""A progressive JPEG has about ten; each goes over the whole picture, in 60 bytes if need be."""
_SIGNATURES = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"))


class PictureTypeError(PortraitError):
    """What was sent is neither JPEG, PNG nor WebP, by its content."""


class PictureSizeError(PortraitError):
    """The picture has more pixels than the server takes."""


@dataclass(frozen=True, kw_only=True)
class Portrait:
    """A portrait ready to be driven.

    Attributes:
        identifier: what clients call it.
        sha256: of its pixels and their shape.
        image: (H, W, 3) uint8 RGB.
        preview: JPEG of at most 512 pixels a side.
    """

    identifier: str
    sha256: str
    image: NDArray[np.uint8]
    preview: bytes


class Portraits:
    """The gallery and the uploads of all visitors; uploads are not listed.

    Args:
        limits: bytes, pixels and number of uploads.
        bundled: id and file of the gallery's pictures; by default those of openpeople.
    """

    def __init__(self, limits: Limits, bundled: dict[str, Path] | None = None) -> None:
        self._limits = limits
        self._bundled = bundled_people() if bundled is None else bundled
        self._opened: dict[str, Portrait] = {}
        self._uploads: OrderedDict[str, Portrait] = OrderedDict()
        self._decoders = asyncio.Semaphore(2)

    def listed(self) -> list[dict[str, str]]:
        """Id and name of every bundled portrait."""
        return [{"id": known, "name": f"Person {known[1:]}"} for known in self._bundled]

    async def get(self, identifier: str) -> Portrait | None:
        """The portrait of that id, or None."""
        if identifier in self._uploads:
            self._uploads.move_to_end(identifier)
            return self._uploads[identifier]
        if identifier not in self._bundled:
            return None
        if identifier not in self._opened:
            async with self._decoders:
                self._opened[identifier] = await asyncio.to_thread(
                    _from_file, self._bundled[identifier], identifier
                )
        return self._opened[identifier]

    async def decode(self, data: bytes) -> Portrait:
        """Decode an upload, without keeping it.

        Raises:
            PictureTypeError: neither JPEG, PNG nor WebP.
            PictureSizeError: too many pixels.
            PortraitError: damaged, animated, too small, or far too long to decode.
        """
        async with self._decoders:
            return await asyncio.to_thread(_from_bytes, data, self._limits.upload_pixels)

    def keep(self, portrait: Portrait) -> None:
        """Keep an upload; past the limits the ones unused for longest go, never this one."""
        self._uploads[portrait.identifier] = portrait
        self._uploads.move_to_end(portrait.identifier)
        while len(self._uploads) > 1 and self._has_too_many():
            self._uploads.popitem(last=False)

    def _has_too_many(self) -> bool:
        num_bytes = sum(portrait.image.nbytes for portrait in self._uploads.values())
        limits = self._limits
        return len(self._uploads) > limits.num_portraits or num_bytes > limits.portraits_bytes


def bundled_people() -> dict[str, Path]:
    """The synthetic people of openpeople, as far as it is installed."""
    found = {}
    for person in _PEOPLE:
        try:
            found[person] = bundled_file("openpeople", _BUNDLED.format(person=person))
        except UsageError:
            continue
    return found


def _from_file(path: Path, identifier: str) -> Portrait:
    return _portrait(read_portrait(path), identifier)


def _from_bytes(data: bytes, max_pixels: int) -> Portrait:
    kind = _kind(data)
    if kind == "JPEG" and data.count(b"\xff\xda") > _MAX_SCANS:
        raise PortraitError("the picture has too many scans; save it again as a plain JPEG")
    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as picture:
            width, height = picture.size
    except Image.DecompressionBombError as error:
        raise PictureSizeError(_too_many(max_pixels)) from error
    except Exception as error:  # Pillow's parsers raise whatever a damaged header leads to
        raise PortraitError("the picture is damaged; save it again as JPEG or PNG") from error
    if width * height > max_pixels:
        raise PictureSizeError(_too_many(max_pixels))
    with tempfile.TemporaryDirectory(prefix="portrait-") as folder:
        path = Path(folder) / "picture"
        path.write_bytes(data)
        try:
            image = read_portrait(path)
        except PortraitError as error:
            raise PortraitError(str(error).replace(str(path), "the picture")) from None
    return _portrait(image, None)


def _kind(data: bytes) -> str:
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    raise PictureTypeError("the file is not a JPEG, PNG or WebP picture; save it as one of these")


def _too_many(max_pixels: int) -> str:
    return f"the picture has too many pixels; shrink it to {max_pixels // 1_000_000} megapixels"


def _portrait(image: NDArray[np.uint8], identifier: str | None) -> Portrait:
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    small = Image.fromarray(image)
    small.thumbnail((PREVIEW_PX, PREVIEW_PX))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=85)
    return Portrait(
        identifier=identifier or digest.hexdigest(),
        sha256=digest.hexdigest(),
        image=image,
        preview=written.getvalue(),
    )
