import logging
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from aiortc import codecs, rtp
from aiortc.codecs.vpx import Vp8Encoder, vp8_depayload
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from streamer.bench.live_client import numbered
from streamer.clear_encoder import (
    ClearVp8Encoder,
    encode_clearly,
    encoding_clearly,
    loudness_dbov,
)

NUM_FRAMES = 20


@pytest.fixture
def stock() -> Iterator[None]:
    encoder, loudness = vars(codecs)["Vp8Encoder"], rtp.compute_audio_level_dbov
    yield
    vars(codecs).update(Vp8Encoder=encoder)
    vars(rtp).update(compute_audio_level_dbov=loudness)


def mean_error(encoder: Vp8Encoder, bitrate: int = 1_500_000) -> float:
    """Of what comes back of moving texture, but for the first frames, in squared grey levels."""
    encoder.target_bitrate = bitrate
    decoder: Any = av.CodecContext.create("libvpx", "r")
    errors = []
    for number in range(NUM_FRAMES):
        frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
        frame = frame.reformat(format="yuv420p")
        frame.pts, frame.time_base = number * 3000, Fraction(1, 90_000)
        payloads, _ = encoder.encode(frame)
        data = b"".join(vp8_depayload(payload) for payload in payloads)
        for shown in decoder.decode(av.Packet(data)):
            gap = shown.to_ndarray().astype(float) - frame.to_ndarray()
            errors.append(float(np.mean(gap**2)))
    assert len(errors) == NUM_FRAMES
    return float(np.mean(errors[5:]))


def sound(samples: Any) -> av.AudioFrame:
    frame = av.AudioFrame(format="s16", layout="stereo", samples=len(samples) // 2)
    frame.planes[0].update(np.asarray(samples, np.int16).tobytes())
    return frame


def test_a_moving_picture_comes_back_closer_than_with_aiortcs_own() -> None:
    assert mean_error(ClearVp8Encoder()) < 0.8 * mean_error(Vp8Encoder())


def test_another_bitrate_is_encoded_as_clearly() -> None:
    """aiortc makes another encoder for it."""
    encoder = ClearVp8Encoder()
    mean_error(encoder, 600_000)
    first = encoder.codec
    assert mean_error(encoder) < 0.8 * mean_error(Vp8Encoder())
    assert encoder.codec is not first


@pytest.mark.parametrize("peak", [0, 1, 20, 3000, 32_767])
def test_loudness_is_what_aiortc_says(peak: int) -> None:
    chance = np.random.default_rng(peak)
    frame = sound(chance.integers(-peak, peak, 1920, endpoint=True))
    assert loudness_dbov(frame) == rtp.compute_audio_level_dbov(frame)


def test_every_connection_encodes_so_once_told(stock: None) -> None:
    assert encode_clearly()
    codec = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90_000, payloadType=96)
    assert type(codecs.get_encoder(codec)) is ClearVp8Encoder
    assert rtp.compute_audio_level_dbov is loudness_dbov


def test_connections_encode_as_before_once_that_is_over(stock: None) -> None:
    own = vars(codecs)["Vp8Encoder"]
    with encoding_clearly():
        assert vars(codecs)["Vp8Encoder"] is ClearVp8Encoder
        assert rtp.compute_audio_level_dbov is loudness_dbov
    assert vars(codecs)["Vp8Encoder"] is own
    assert rtp.compute_audio_level_dbov is not loudness_dbov


def test_another_aiortc_stays_as_it_is(
    stock: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = SimpleNamespace(__code__=SimpleNamespace(co_names=("Encoder",)))
    monkeypatch.setattr(codecs, "get_encoder", other)
    with caplog.at_level(logging.WARNING):
        assert not encode_clearly()
    assert "this aiortc" in caplog.text
    assert vars(codecs)["Vp8Encoder"] is Vp8Encoder
