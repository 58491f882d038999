"""Decoders that refuse a picture by its header: 40 bytes can ask for a gigabyte of memory."""

import logging

import av
from aiortc import codecs
from aiortc.codecs.h264 import H264Decoder
from aiortc.codecs.vpx import Vp8Decoder
from aiortc.jitterbuffer import JitterFrame
from av.frame import Frame

_LOGGER = logging.getLogger(__name__)
MOST_PIXELS = 36_864 * 256
"""9.4 million: what H.264 holds at level 5.2 (Rec. H.264 table A-1); 4K cameras have 8.3."""


class BoundedVp8Decoder(Vp8Decoder):
    """libvpx makes room for a picture as soon as a key frame's header names its size."""

    def decode(self, encoded_frame: JitterFrame) -> list[Frame]:
        """The pictures of a frame.

        Raises:
            av.error.InvalidDataError: a key frame of too many pixels, or no VP8.
        """
        width, height = vp8_size(encoded_frame.data)
        if width * height > MOST_PIXELS:
            raise av.error.InvalidDataError(0, f"a picture of {width}x{height} is too large")
        return super().decode(encoded_frame)


class BoundedH264Decoder(H264Decoder):
    """FFmpeg heeds a bound of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.codec.options = {"max_pixels": str(MOST_PIXELS)}


def vp8_size(data: bytes) -> tuple[int, int]:
    """Width and height that a key frame of VP8 begins with (RFC 6386 section 9.1).

    (0, 0) for other frames, which have the size of those before them.
    """
    if len(data) < 10 or data[0] & 1:
        return 0, 0
    width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return width, height


def bound_decoders() -> bool:
    """Make every connection of this process decode with bounds; to be called before the first.

    Returns:
        Whether it was done; where aiortc is not built as expected, it stays as it is and one line
        in the log says so.
    """
    decoders = {"Vp8Decoder": BoundedVp8Decoder, "H264Decoder": BoundedH264Decoder}
    if not set(codecs.get_decoder.__code__.co_names) >= set(decoders):
        _LOGGER.warning("pictures of any size are decoded: this aiortc is built in another way")
        return False
    vars(codecs).update(decoders)
    return True
