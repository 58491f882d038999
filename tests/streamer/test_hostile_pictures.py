import asyncio
import io
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from streamer.errors import PortraitError
from streamer.portraits import PictureSizeError, PictureTypeError, Portraits
from streamer.server_config import Limits

pytestmark = pytest.mark.computes

NUM_DAMAGED = 240
SIDE = 80
LIMITS = Limits(upload_pixels=500 * 500)
Decoded = tuple[int, int, int] | None


def noise(mode: str, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 4), np.uint8)
    return Image.fromarray(pixels, "RGBA").convert(mode)


def encoded(kind: str, mode: str, seed: int, *, has_extras: bool = True) -> bytes:
    """A picture with the parts that parsers trip over: EXIF with rotation, ICC, resolution."""
    written = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 1 + seed % 8
    exif[0x8769] = {0x9286: b"comment" * 9}
    extras = {"exif": exif, "icc_profile": b"\x00\x00\x02\x0cprofile" * 30} if has_extras else {}
    noise(mode, seed).save(written, kind, **extras)
    return written.getvalue()


def damaged(chance: random.Random) -> bytes:
    kind, mode = chance.choice(
        [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "L"), ("PNG", "1"), ("PNG", "LA"),
         ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("WEBP", "RGB"), ("WEBP", "RGBA")]
    )  # fmt: skip
    data = bytearray(encoded(kind, mode, chance.randrange(99)))
    for _ in range(chance.randrange(1, 12)):
        at = 12 + chance.randrange(len(data) - 12)
        fault = chance.randrange(4)
        if fault == 0:
            data[at] = chance.randrange(256)
        elif fault == 1:
            data[at : at + 4] = chance.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
        elif fault == 2:
            data[at:at] = chance.randbytes(chance.randrange(40))
        elif len(data) > 200:
            del data[at : at + chance.randrange(60)]
    return bytes(data)


def outcome(data: bytes) -> Decoded:
    """The picture's shape, or None where it was refused in one sentence without a path."""

    try:
        portrait = asyncio.run(Portraits(LIMITS, {}).decode(data))
    except PortraitError as error:
        sentence = str(error)
    else:
        return portrait.image.shape  # type: ignore[return-value]
    assert "/tmp" not in sentence
    assert "\n" not in sentence
    assert len(sentence) < 300
    return None


@pytest.mark.filterwarnings("ignore")
def test_damaged_pictures_are_pictures_or_typed_errors() -> None:
    chance = random.Random(23)
    shapes = [outcome(damaged(chance)) for _ in range(NUM_DAMAGED)]
    assert all(one is None or (one[2] == 3 and one[0] * one[1] <= 250_000) for one in shapes)
    num_refused = sum(one is None for one in shapes)
    assert 20 < num_refused < NUM_DAMAGED


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pictures_cut_short_are_refused(kind: str, share: float) -> None:
    data = encoded(kind, "RGB", 3)
    assert outcome(data[: max(13, int(share * len(data)))]) is None


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "P"), ("PNG", "1"), ("PNG", "LA"), ("PNG", "I;16"), ("PNG", "RGBA"), ("JPEG", "CMYK"),
     ("JPEG", "L"), ("WEBP", "RGBA")],
)  # fmt: skip
def test_unusual_pictures_are_taken(kind: str, mode: str) -> None:
    written = io.BytesIO()
    (noise("L", 1).convert("I;16") if mode == "I;16" else noise(mode, 1)).save(written, kind)
    assert outcome(written.getvalue()) == (SIDE, SIDE, 3)


def png(width: int, height: int, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG of one colour, as large as wanted, of a few kilobytes."""
    packer = zlib.compressobj(9)
    rows = packer.compress(bytes(min((width + 1) * height, 10_000_000)))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", rows + packer.flush()), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def jpeg_of_scans(num_scans: int) -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(written, "JPEG", progressive=True)
    whole = written.getvalue()
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + num_scans * scan + whole[-2:]


def webp_of_size(width: int, height: int) -> bytes:
    frame = (
        b"\x10\x00\x00\x00" + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    )
    chunk = b"VP8X" + struct.pack("<I", len(frame)) + frame
    return b"RIFF" + struct.pack("<I", 4 + len(chunk) + 200) + b"WEBP" + chunk + bytes(200)


def animated(kind: str) -> bytes:
    written = io.BytesIO()
    frames = [noise("RGB", seed) for seed in range(40)]
    frames[0].save(written, kind, save_all=True, append_images=frames[1:])
    return written.getvalue()


def saved_as(kind: str) -> bytes:
    written = io.BytesIO()
    noise("RGB", 1).save(written, kind)
    return written.getvalue()


BOMB = zlib.compress(bytes(200_000_000), 9)
BOMBS: dict[str, tuple[Callable[[], bytes], type[PortraitError]]] = {
    "a PNG of 900 megapixels": (lambda: png(30_000, 30_000), PictureSizeError),
    "a PNG of two lines": (lambda: png(2**31 - 1, 2), PictureSizeError),
    "a PNG of no lines": (lambda: png(100, 0), PortraitError),
    "a PNG with a text of 200 MB": (
        lambda: png(SIDE, SIDE, (b"zTXt", b"Comment\0\0" + BOMB)), PortraitError),
    "a PNG with a profile of 200 MB": (
        lambda: png(SIDE, SIDE, (b"iCCP", b"profile\0\0" + BOMB)), PortraitError),
    "a PNG that says it is animated": (
        lambda: png(SIDE, SIDE, (b"acTL", struct.pack(">II", 2**31 - 1, 0))), PortraitError),
    "a JPEG of a thousand scans": (lambda: jpeg_of_scans(1000), PortraitError),
    "a WebP of 16383 a side": (lambda: webp_of_size(16_383, 16_383), PortraitError),
    "an animated PNG": (lambda: animated("PNG"), PortraitError),
    "an animated WebP": (lambda: animated("WEBP"), PortraitError),
    "a needle": (lambda: png(4096, 2), PortraitError),
    "a GIF": (lambda: saved_as("GIF"), PictureTypeError),
    "a TIFF": (lambda: saved_as("TIFF"), PictureTypeError),
    "a BMP": (lambda: saved_as("BMP"), PictureTypeError),
    "an AVIF": (lambda: saved_as("AVIF"), PictureTypeError),
    "an SVG": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', PictureTypeError),
    "PostScript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run", PictureTypeError),
    "a page": (lambda: b"<!doctype html><script>alert(1)</script>", PictureTypeError),
    "an archive": (lambda: b"PK\x03\x04" + bytes(99), PictureTypeError),
    "nothing": (lambda: b"", PictureTypeError),
    "a signature": (lambda: b"\xff\xd8\xff", PortraitError),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_and_other_files_are_refused_by_what_they_are(name: str) -> None:
    make, wanted = BOMBS[name]
    with pytest.raises(wanted):
        asyncio.run(Portraits(LIMITS, {}).decode(make()))


def test_a_progressive_jpeg_of_usual_length_is_taken() -> None:
    assert outcome(jpeg_of_scans(20)) == (SIDE, SIDE, 3)
