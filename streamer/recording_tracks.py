"""The tracks of a recording: pictures at their own times, sound without gaps."""

from fractions import Fraction
from typing import Any

import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]

_X264 = {"preset": "veryfast", "bf": "0", "rc-lookahead": "0"}
_NOMINAL_RATE = 30
_KEY_FRAME_DISTANCE = 60
_AAC_FRAME_SAMPLES = 1024
_SOUND_HZ = 48_000
_SOUND_BITS_PER_SECOND = 128_000
_TOLERATED_SHIFT_S = 0.06
"""Sound this far from where it belongs is left where it is: packets come in steps of 20 ms."""


def beside(
    picture: Picture, driver: Picture | None, size: tuple[int, int], is_side_by_side: bool
) -> Picture:
    """The picture at `size` (width, height), with the driver in as large a field left of it.

    Both keep their shapes; what they leave of their fields, or a frame without driver, is black.
    """
    result = _fitted(picture, size)
    if not is_side_by_side:
        return result
    return np.concatenate([_fitted(driver, size), result], axis=1)


def _fitted(picture: Picture | None, size: tuple[int, int]) -> Picture:
    """As large as it can be in a black field of `size`, in its own shape."""
    width, height = size
    if picture is not None and (picture.shape[1], picture.shape[0]) == size:
        return picture
    field = np.zeros((height, width, 3), np.uint8)
    if picture is not None:
        factor = min(width / picture.shape[1], height / picture.shape[0])
        shown = (
            min(width, max(1, round(picture.shape[1] * factor))),
            min(height, max(1, round(picture.shape[0] * factor))),
        )
        left, top = (width - shown[0]) // 2, (height - shown[1]) // 2
        field[top : top + shown[1], left : left + shown[0]] = _scaled(picture, shown)
    return field


def _scaled(picture: Picture, size: tuple[int, int]) -> Picture:
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))


class VideoTrack:
    """H.264 at a varying frame rate.

    Args:
        output: the file.
        size: (width, height); made even by repeating the last column and row.
        time_base: seconds per unit of the times given.
        quality: x264's constant rate factor.
    """

    def __init__(
        self, output: OutputContainer, size: tuple[int, int], time_base: Fraction, *, quality: int
    ) -> None:
        stream = output.add_stream(
            "libx264", rate=_NOMINAL_RATE, options={"crf": str(quality), **_X264}
        )
        if not isinstance(stream, VideoStream):
            raise TypeError(f"expected a video stream of libx264, got {type(stream).__name__}")
        stream.width, stream.height = (side + side % 2 for side in size)
        stream.pix_fmt = "yuv420p"
        stream.time_base = time_base
        context = stream.codec_context
        context.time_base = time_base
        context.gop_size = _KEY_FRAME_DISTANCE
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        self._output, self._stream, self._time_base = output, stream, time_base
        self._reformatter = VideoReformatter()
        self._held: Packet[Any] | None = None

    def add(self, picture: Picture, pts: int) -> int:
        """Add an RGB picture shown from `pts` on; the bytes written for it or one before."""
        odd = (picture.shape[0] % 2, picture.shape[1] % 2)
        if any(odd):
            picture = np.pad(picture, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        frame.pts, frame.time_base = pts, self._time_base
        return sum(self._write(packet) for packet in self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds; the last picture lasts as long as a nominal one."""
        for packet in self._stream.encode(None):
            self._write(packet)
        if self._held is not None and self._held.time_base is not None:
            self._held.duration = round(1 / (_NOMINAL_RATE * self._held.time_base))
            self._output.mux_one(self._held)
            self._held = None

    def _write(self, packet: "Packet[Any]") -> int:
        """Write the packet before, which lasts until this one."""
        held, self._held = self._held, packet
        if held is None:
            return 0
        held.duration = (packet.pts or 0) - (held.pts or 0)
        self._output.mux_one(held)
        return held.size


def untimed(frame: AudioFrame) -> AudioFrame:
    """A copy without a time: encoders set theirs in the frame, and others may hold the same one."""
    copy = AudioFrame.from_ndarray(
        frame.to_ndarray(), format=frame.format.name, layout=frame.layout.name
    )
    copy.sample_rate = frame.sample_rate
    return copy


class SoundTrack:
    """AAC, stereo, 48 kHz; late sound is preceded by silence, sound that overlaps is left out."""

    def __init__(self, output: OutputContainer) -> None:
        stream = output.add_stream("aac", rate=_SOUND_HZ)
        if not isinstance(stream, AudioStream):
            raise TypeError(f"expected a sound stream of aac, got {type(stream).__name__}")
        stream.bit_rate = _SOUND_BITS_PER_SECOND
        stream.layout = "stereo"
        self._output, self._stream = output, stream
        self._resampler = AudioResampler(format="fltp", layout="stereo", rate=_SOUND_HZ)
        self._fifo = AudioFifo()
        self._num_queued = 0
        self._num_encoded = 0

    def add(self, frame: AudioFrame, time_s: float | None) -> int:
        """Add sound heard from `time_s` on, or after what came before; the bytes written."""
        if time_s is not None:
            missing = round(time_s * _SOUND_HZ) - self._num_queued
            if missing < -_TOLERATED_SHIFT_S * _SOUND_HZ:
                return 0
            if missing > _TOLERATED_SHIFT_S * _SOUND_HZ:
                self._add_silence(missing)
        for resampled in self._resampler.resample(untimed(frame)):
            self._queue(resampled)
        return self._encode(is_last=False)

    def close(self) -> None:
        """Write what is still held."""
        self._encode(is_last=True)
        for packet in self._stream.encode(None):
            self._output.mux_one(packet)

    def _add_silence(self, num_samples: int) -> None:
        while num_samples > 0:
            length = min(num_samples, _SOUND_HZ)
            silence = np.zeros((2, length), np.float32)
            frame = AudioFrame.from_ndarray(silence, format="fltp", layout="stereo")
            frame.sample_rate = _SOUND_HZ
            self._queue(frame)
            num_samples -= length

    def _queue(self, frame: AudioFrame) -> None:
        frame.pts = None
        self._num_queued += frame.samples
        self._fifo.write(frame)

    def _encode(self, *, is_last: bool) -> int:
        num_bytes = 0
        while self._fifo.samples >= _AAC_FRAME_SAMPLES or (is_last and self._fifo.samples):
            frame = self._fifo.read(_AAC_FRAME_SAMPLES, partial=is_last)
            if frame is None:
                break
            frame.pts, frame.time_base = self._num_encoded, Fraction(1, _SOUND_HZ)
            self._num_encoded += frame.samples
            for packet in self._stream.encode(frame):
                self._output.mux_one(packet)
                num_bytes += packet.size
        return num_bytes
