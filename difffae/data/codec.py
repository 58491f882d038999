"""What a call's codec does to frames."""

import io
from collections.abc import Iterable, Iterator

import av
import numpy as np

from difffae.arrays import ImageU8

_BIT_RATE = 500_000  # [bit/s], of a call at 256 pixels


def through_codec(frames: Iterable[ImageU8], size: tuple[int, int]) -> Iterator[ImageU8]:
    """Frames as VP8 leaves them in a call.

    Args:
        frames: of one size.
        size: their width and height.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        options = {"deadline": "realtime", "cpu-used": "8"}
        stream = container.add_stream("libvpx", rate=25, options=options)
        stream.width, stream.height = size
        stream.pix_fmt, stream.bit_rate = "yuv420p", _BIT_RATE
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as written:
        for decoded in written.decode(video=0):
            yield np.asarray(decoded.to_ndarray(format="rgb24"), np.uint8)
