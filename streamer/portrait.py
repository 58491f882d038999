"""A picture file in, an upright 8-bit sRGB portrait out; what is unsuitable is refused early."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from streamer.errors import PortraitError

MIN_SIDE_PX = 64
MAX_SIDE_PX = 8192
MAX_PIXELS = 35_651_584
"""What h264 can hold at its highest level (Rec. H.264 table A-1, 6.2: 139264 macroblocks)."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF")
_DECODE_ERRORS = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""Whatever Pillow's parsers come to over damaged files."""


def is_picture(path: Path) -> bool:
    """Whether a file begins as a picture does."""
    try:
        with _open(path):
            return True
    except _DECODE_ERRORS:
        return False


def read_portrait(path: Path) -> NDArray[np.uint8]:
    """The picture as it is meant to be seen, (H, W, 3) RGB.

    EXIF rotation is applied, an embedded colour profile is converted to sRGB, 16-bit depth is
    scaled to 8, palettes and CMYK become RGB, and transparent pixels show white. The size is
    judged by the header, before any pixel is decoded.

    Raises:
        PortraitError: no such file, not a picture, animated, too small or too large.
    """
    _check_file(path)
    try:
        picture = _open(path)
    except Image.DecompressionBombError as error:
        raise PortraitError(_too_large(path, "it")) from error
    except _DECODE_ERRORS as error:
        raise PortraitError(
            f"{path} is not a picture that can be read; save it as JPEG or PNG"
        ) from error
    with picture:
        _check_header(path, picture)
        try:
            upright = ImageOps.exif_transpose(picture)
            return np.array(_to_rgb(upright), dtype=np.uint8)
        except _DECODE_ERRORS as error:
            raise PortraitError(
                f"{path} is damaged or incomplete; open it in an editor and save it again"
            ) from error


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise PortraitError(f"{path} is a folder; name a picture file")
    if not path.exists():
        raise PortraitError(f"there is no picture {path}; check the path")
    try:
        size = path.stat().st_size
        path.open("rb").close()
    except OSError as error:
        raise PortraitError(f"{path} cannot be read: {error.strerror}") from error
    if size == 0:
        raise PortraitError(f"{path} is empty; copy the picture again")


def _open(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        Image.init()
        return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])


def _check_header(path: Path, picture: Image.Image) -> None:
    width, height = picture.size
    if min(width, height) < MIN_SIDE_PX:
        raise PortraitError(
            f"{path} is {width}x{height} pixels; use a portrait of at least "
            f"{MIN_SIDE_PX}x{MIN_SIDE_PX}"
        )
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise PortraitError(_too_large(path, f"{width}x{height} pixels"))
    if picture.mode == "F":
        raise PortraitError(f"{path} holds fractional values; save it with 8 or 16 bits a channel")
    num_frames = getattr(picture, "n_frames", 1)
    if num_frames > 1 and picture.format != "MPO":
        raise PortraitError(
            f"{path} holds {num_frames} pictures; save the one to use as a JPEG or PNG of its own"
        )


def _too_large(path: Path, what: str) -> str:
    return (
        f"{path} is too large for a video ({what}); shrink it to at most {MAX_SIDE_PX} pixels a "
        f"side and {MAX_PIXELS // 1_000_000} megapixels"
    )


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "I" or picture.mode.startswith("I;"):
        return _deep_grey_to_rgb(picture)
    if picture.mode in ("P", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if "A" in picture.getbands():
        return _over_white(picture)
    return _from_profile(picture).convert("RGB")


def _deep_grey_to_rgb(picture: Image.Image) -> Image.Image:
    """16-bit grey to RGB; Pillow's own conversion would clip instead of scale."""
    values = np.array(picture).astype(np.float64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("expected grey levels within 0..65535")
    grey = np.round(values / 257.0).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _over_white(picture: Image.Image) -> Image.Image:
    profile = picture.info.get("icc_profile")
    with_alpha = picture.convert("RGBA")
    white = Image.new("RGBA", with_alpha.size, (255, 255, 255, 255))
    flat = Image.alpha_composite(white, with_alpha).convert("RGB")
    if profile and picture.mode == "RGBA":
        flat.info["icc_profile"] = profile
    return _from_profile(flat)


def _from_profile(picture: Image.Image) -> Image.Image:
    """To sRGB where a profile is embedded; a broken profile is as good as none."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "CMYK", "L"):
        return picture
    try:
        converted = ImageCms.profileToProfile(
            picture,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture
    return picture if converted is None else converted
