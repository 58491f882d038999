"""Encoded segments and the driver's sound in, one MP4 that a browser plays out, nothing re-encoded.

Only sound that browsers do not play from MP4 is turned into AAC.
"""

import heapq
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streamer.errors import OutputError

_COPIED_CODECS = frozenset({"aac", "mp3", "mp3float", "opus", "libopus", "flac"})
_AAC_BITS_PER_SECOND = 192_000
_AAC_MAX_HZ = 48_000


@dataclass(frozen=True, kw_only=True)
class Mp4Plan:
    """What goes into one file.

    Attributes:
        segments: h264 files, in order.
        end_pts: when the last frame goes, in time base units.
        time_base: seconds per unit of the video's time stamps.
        sound_from: video whose sound is kept; None for silence.
        sound_offset_s: subtracted from the sound's time stamps.
    """

    segments: Sequence[Path]
    num_frames: int
    end_pts: int
    time_base: Fraction
    sound_from: Path | None
    sound_offset_s: Fraction = Fraction(0)


def write_mp4(path: Path, plan: Mp4Plan) -> None:
    """Write the file, flush it to disk and read its index back.

    Raises:
        OSError: it cannot be written.
        OutputError: what was written does not hold every frame.
    """
    timescale = str(plan.time_base.denominator)
    options = {
        "movflags": "+faststart",
        "movie_timescale": timescale,
        "video_track_timescale": timescale,
    }
    with ExitStack() as stack:
        output = stack.enter_context(av.open(path, "w", format="mp4", options=options))
        tracks = [_video_packets(output, plan, stack)]
        if plan.sound_from is not None:
            sound = stack.enter_context(av.open(plan.sound_from, "r", metadata_errors="ignore"))
            tracks += [_sound_packets(output, sound, plan, n) for n in _playable(sound)]
        for packet in heapq.merge(*tracks, key=_decoding_time):
            output.mux_one(packet)
    _flush_to_disk(path)
    _check_frames(path, plan.num_frames)


def _decoding_time(packet: "Packet[Any]") -> Fraction:
    return (packet.dts or 0) * (packet.time_base or Fraction(1))


def _video_packets(
    output: OutputContainer, plan: Mp4Plan, stack: ExitStack
) -> "Iterator[Packet[Any]]":
    first = stack.enter_context(av.open(plan.segments[0], "r"))
    stream = output.add_stream_from_template(first.streams.video[0])
    stream.time_base = plan.time_base
    return _with_durations(_segment_packets(plan.segments, stream), plan)


def _segment_packets(segments: Sequence[Path], stream: VideoStream) -> "Iterator[Packet[Any]]":
    for segment in segments:
        with av.open(segment, "r") as container:
            demuxed = container.demux(container.streams.video[0])
            for packet in (one for one in demuxed if one.dts is not None):
                packet.stream = stream
                yield packet


def _with_durations(packets: "Iterator[Packet[Any]]", plan: Mp4Plan) -> "Iterator[Packet[Any]]":
    """Each frame lasts until the next; MP4 stores that only for the last one."""
    held: Packet[Any] | None = None
    for packet in packets:
        if held is not None:
            held.duration = (packet.pts or 0) - (held.pts or 0)
            yield held
        held = packet
    if held is not None and held.time_base is not None:
        end = plan.end_pts * plan.time_base / held.time_base
        held.duration = max(1, round(end) - (held.pts or 0))
        yield held


def _playable(sound: InputContainer) -> list[int]:
    """Numbers of the audio tracks for which a decoder exists."""
    return [
        number
        for number, stream in enumerate(sound.streams.audio)
        if stream.codec_context is not None
    ]


def _sound_packets(
    output: OutputContainer, sound: InputContainer, plan: Mp4Plan, number: int
) -> "Iterator[Packet[Any]]":
    source = sound.streams.audio[number]
    packets = _own_packets(sound, number)
    if source.codec_context.name in _COPIED_CODECS:
        return _copied_sound(packets, output.add_stream_from_template(source), plan)
    stream = output.add_stream("aac", rate=_aac_rate(source.rate))
    stream.bit_rate = _AAC_BITS_PER_SECOND
    stream.layout = "mono" if source.channels == 1 else "stereo"
    return _encoded_sound(packets, stream, plan)


def _aac_rate(rate: int) -> int:
    supported = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
    return rate if rate in supported else _AAC_MAX_HZ


def _own_packets(sound: InputContainer, number: int) -> "Iterator[Packet[AudioStream]]":
    """The track's packets through a reader of its own, so that tracks can be merged by time."""
    with av.open(sound.name, "r", metadata_errors="ignore") as container:
        yield from container.demux(container.streams.audio[number])


def _copied_sound(
    packets: "Iterator[Packet[AudioStream]]", stream: AudioStream, plan: Mp4Plan
) -> "Iterator[Packet[Any]]":
    for packet in packets:
        if packet.dts is None or packet.pts is None:
            continue
        shift = _shift(plan, packet.time_base)
        packet.pts -= shift
        packet.dts -= shift
        packet.stream = stream
        yield packet


def _encoded_sound(
    packets: "Iterator[Packet[AudioStream]]", stream: AudioStream, plan: Mp4Plan
) -> "Iterator[Packet[Any]]":
    for packet in packets:
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            if frame.pts is not None:
                frame.pts -= _shift(plan, frame.time_base)
            yield from stream.encode(frame)
    yield from stream.encode(None)


def _shift(plan: Mp4Plan, time_base: Fraction | None) -> int:
    return round(plan.sound_offset_s / time_base) if time_base else 0


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _check_frames(path: Path, num_frames: int) -> None:
    with av.open(path, "r") as container:
        stream = container.streams.video[0]
        found = sum(1 for packet in container.demux(stream) if packet.size)
    if found != num_frames:
        raise OutputError(
            f"the disk took only {found} of {num_frames} frames of {path}; free some space and "
            "run the command again with --resume"
        )
