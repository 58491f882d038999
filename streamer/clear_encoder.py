"""A VP8 encoder that does not smooth what it is given, and a cheaper measure of loudness.

aiortc has libvpx take the noise of a camera out of the picture, over time. A result has none: what
is taken out is its detail, at the price of a tenth of the encoder's time. Another third is saved by
a search that is a little less thorough, at the price of 0.1 dB. And it measures each 20 ms of sound
sample by sample in Python, on the event loop.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from aiortc import codecs, rtp
from aiortc.codecs.vpx import Vp8Encoder
from av import AudioFrame
from av.video.codeccontext import VideoCodecContext

_LOGGER = logging.getLogger(__name__)
_OPTIONS = {"noise-sensitivity": "0", "cpu-used": "-8"}  # libvpx's
_REPLACED = ((codecs, "Vp8Encoder"), (rtp, "compute_audio_level_dbov"))
_FULL_SCALE = 32_767
_LEAST_DBOV = -127


class ClearVp8Encoder(Vp8Encoder):
    """aiortc's, without its temporal denoiser and a step quicker."""

    _context: VideoCodecContext | None = None

    @property
    def codec(self) -> VideoCodecContext | None:
        """libvpx; options are set between its making and its first frame, which opens it."""
        context = self._context
        if context is not None and not context.is_open:
            context.options = {**context.options, **_OPTIONS}
        return context

    @codec.setter
    def codec(self, context: VideoCodecContext | None) -> None:
        self._context = context


def loudness_dbov(frame: AudioFrame) -> int:
    """What `aiortc.rtp.compute_audio_level_dbov` says of 16-bit sound (RFC 6465, appendix A)."""
    samples = np.frombuffer(bytes(frame.planes[0]), np.int16).astype(np.float64)
    rms = math.sqrt(float(samples @ samples) / frame.samples) / _FULL_SCALE
    if rms <= 0:
        return _LEAST_DBOV
    return round(min(0.0, max(float(_LEAST_DBOV), 20 * math.log10(rms))))


def encode_clearly() -> bool:
    """Make every connection of this process encode so; to be called before the first.

    Returns:
        Whether it was done; where aiortc is not built as expected, it stays as it is and one line
        in the log says so.
    """
    loudness = getattr(rtp, "compute_audio_level_dbov", None)
    if "Vp8Encoder" not in codecs.get_encoder.__code__.co_names or loudness is None:
        _LOGGER.warning(
            "results are smoothed as camera pictures are: this aiortc encodes otherwise"
        )
        return False
    _use(ClearVp8Encoder, loudness_dbov)
    return True


@contextmanager
def encoding_clearly() -> Iterator[None]:
    """The same for as long as the body runs."""
    encoder, loudness = (vars(module).get(name) for module, name in _REPLACED)
    is_done = encode_clearly()
    try:
        yield
    finally:
        if is_done:
            _use(encoder, loudness)


def _use(*replacements: object) -> None:
    for (module, name), replacement in zip(_REPLACED, replacements, strict=True):
        setattr(module, name, replacement)
