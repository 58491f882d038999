import random
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from aiortc import codecs
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from streamer.bounded_decoders import (
    MOST_PIXELS,
    BoundedH264Decoder,
    BoundedVp8Decoder,
    bound_decoders,
    vp8_size,
)
from streamer.capture import CaptureSettings, to_picture

NUM_GARBAGE = 150


def coded(codec: str, width: int, height: int) -> bytes:
    """A key frame."""
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.options = {"tune": "zerolatency"} if codec == "libx264" else {}
    image = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


@pytest.fixture
def stock() -> Iterator[None]:
    before = {name: vars(codecs)[name] for name in ("Vp8Decoder", "H264Decoder")}
    yield
    vars(codecs).update(before)


def test_a_key_frame_that_claims_a_huge_picture_is_not_decoded() -> None:
    data = bytearray(coded("libvpx", 64, 48))
    assert vp8_size(bytes(data)) == (64, 48)
    decoder = BoundedVp8Decoder()
    assert decoder.decode(JitterFrame(data=bytes(data), timestamp=0))[0].width == 64  # type: ignore[attr-defined]
    data[6:10] = struct.pack("<HH", 16_383, 16_383)
    with pytest.raises(av.FFmpegError, match="16383x16383"):
        decoder.decode(JitterFrame(data=bytes(data), timestamp=1))


def test_h264_beyond_the_bound_is_an_error_and_the_next_picture_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamer.bounded_decoders.MOST_PIXELS", 320 * 240)
    small, large = coded("libx264", 320, 240), coded("libx264", 640, 480)
    decoder = BoundedH264Decoder()
    with pytest.raises(av.FFmpegError):
        decoder.decode(JitterFrame(data=large, timestamp=0))
    frames = decoder.decode(JitterFrame(data=small, timestamp=1))
    frames += decoder.decode(JitterFrame(data=small, timestamp=2))
    assert {frame.width for frame in frames} == {320}  # type: ignore[attr-defined]


@pytest.mark.parametrize(("width", "height"), [(2, 2), (16, 16), (1920, 1080), (4096, 16)])
def test_a_picture_that_changes_its_size_is_taken_within_bounds(width: int, height: int) -> None:
    decoder = BoundedVp8Decoder()
    sizes = [(64, 48), (width, height), (64, 48)]
    for number, (across, down) in enumerate(sizes):
        data = coded("libvpx", across, down)
        (frame,) = decoder.decode(JitterFrame(data=data, timestamp=number))
        assert isinstance(frame, av.VideoFrame)
        image = to_picture(frame, CaptureSettings(most_px=1280))
        assert max(image.shape) <= 1280
        assert min(image.shape) >= 1


@pytest.mark.parametrize("codec", ["libvpx", "libx264"])
def test_garbage_is_an_error_of_the_decoder_s_or_a_small_picture(codec: str) -> None:
    chance = random.Random(47)
    decoder = BoundedVp8Decoder() if codec == "libvpx" else BoundedH264Decoder()
    good = coded(codec, 64, 48)
    for number in range(NUM_GARBAGE):
        data = bytearray(good)
        for _ in range(chance.randrange(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if number % 3 == 0:
            data = bytearray(chance.randbytes(chance.randrange(1, 200)))
        try:
            frames = decoder.decode(JitterFrame(data=bytes(data), timestamp=number))
        except av.FFmpegError:
            continue
        assert all(f.width * f.height <= MOST_PIXELS for f in frames)  # type: ignore[attr-defined]


def test_every_connection_decodes_with_bounds_once_told(stock: None) -> None:
    assert bound_decoders()
    for mime, wanted in (("video/VP8", BoundedVp8Decoder), ("video/H264", BoundedH264Decoder)):
        codec = RTCRtpCodecParameters(mimeType=mime, clockRate=90_000, payloadType=96)
        assert type(codecs.get_decoder(codec)) is wanted
