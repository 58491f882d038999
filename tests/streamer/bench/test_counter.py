"""Numbers drawn into pictures survive codecs and scaling, or are known to be lost."""

import itertools
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from aiortc.codecs import vpx

from streamer.bench import counter
from streamer.label import Label

pytestmark = pytest.mark.computes


def noise(height: int = 480, width: int = 640) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("number", [0, 1, 255, 256, 4660, 32768, 65535])
def test_a_number_reads_as_it_was_drawn(number: int) -> None:
    image = noise()
    counter.draw(image, number)
    assert counter.read(image) == number


def test_every_number_has_blocks_of_its_own() -> None:
    words = {number << 8 | counter._check(number) for number in range(counter.NUM_NUMBERS)}
    assert len(words) == counter.NUM_NUMBERS
    assert all(counter.checked(word) == word >> 8 for word in itertools.islice(words, 2000))


@pytest.mark.parametrize("value", [0, 127, 255])
def test_a_plain_picture_holds_no_number(value: int) -> None:
    assert counter.read(np.full((480, 640, 3), value, np.uint8)) is None


@pytest.mark.parametrize("place", range(counter.COLUMNS * counter.ROWS))
def test_one_wrong_block_is_known_as_such(place: int) -> None:
    word = 4660 << 8 | counter._check(4660)
    assert counter.checked(word) == 4660
    assert counter.checked(word ^ 1 << place) is None


def test_a_grey_block_is_known_as_such() -> None:
    image = noise()
    counter.draw(image, 9)
    image[-32:, :32] = 128
    assert counter.read(image) is None


def test_the_number_survives_scaling_and_is_clear_of_the_label() -> None:
    image = noise()
    counter.draw(image, 51966)
    assert counter.read(cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA)) == 51966
    assert counter.read(Label().burn_in(image)) == 51966


def test_the_number_is_copied_into_a_picture_of_another_shape() -> None:
    image, other = noise(), noise(720, 500)
    counter.draw(image, 777)
    counter.copy(image, other)
    assert counter.read(other) == 777
    np.testing.assert_array_equal(other[:400], noise(720, 500)[:400])


def test_every_number_survives_vp8_at_500_kbit_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty frames a second, over a moving picture, with aiortc's own encoder."""
    monkeypatch.setattr(vpx, "MAX_BITRATE", 500_000)
    monkeypatch.setattr(vpx, "MIN_BITRATE", 100_000)
    encoder, decoder = vpx.Vp8Encoder(), av.CodecContext.create("libvpx", "r")
    encoder.target_bitrate = 500_000
    read, num_bytes = [], 0
    for place, picture in enumerate(counter.numbered(60)):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = place, Fraction(1, counter.RATE)
        payloads, _ = encoder.encode(frame)
        data = b"".join(vpx.vp8_depayload(payload) for payload in payloads)
        num_bytes += len(data)
        (decoded,) = decoder.decode(av.Packet(data))
        read.append(counter.read(decoded.to_ndarray(format="rgb24")))
    assert read == list(range(60))
    assert num_bytes * 8 / 2 < 700_000


def test_a_camera_file_plays_its_numbers_over_a_clip(tmp_path: Path) -> None:
    camera = tmp_path / "camera.mjpeg"
    assert counter.write_camera(camera, counter.numbered(7)) == 7
    again = tmp_path / "again.mjpeg"
    assert counter.write_camera(again, counter.numbered(20, camera)) == 20
    with av.open(str(again), format="mjpeg") as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [counter.read(picture) for picture in pictures] == list(range(20))
    assert pictures[0].shape == (480, 640, 3)
    near = np.abs(pictures[12][:300].astype(int) - pictures[0][:300]).mean()
    far = np.abs(pictures[6][:300].astype(int) - pictures[0][:300]).mean()
    assert near < 2 < far  # forth and back: seven frames and five on the way back
