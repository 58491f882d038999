"""The marker buffer against aiortc's own, fed the same packets."""

import logging
import random
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

import streamer.marker_release
from streamer.marker_release import MarkerJitterBuffer, is_key_frame, release_on_marker

CAPACITY = 512


class Transport:
    state = "new"


def packet(sequence: int, timestamp: int, data: bytes, *, marker: bool) -> RtpPacket:
    made = RtpPacket(
        payload_type=97, marker=int(marker), sequence_number=sequence % 65536, timestamp=timestamp
    )
    made._data = data  # type: ignore[attr-defined]
    return made


def frames_of(sizes: Sequence[int], first: int = 0) -> list[list[RtpPacket]]:
    """Frames of so many packets each; every packet's data names its frame and place."""
    frames, sequence = [], first
    for number, size in enumerate(sizes):
        frames.append([
            packet(sequence + i, 3000 * (number + 1), b"%d.%d " % (number, i), marker=i == size - 1)
            for i in range(size)
        ])  # fmt: skip
        sequence += size
    return frames


def joined(packets: Sequence[RtpPacket]) -> bytes:
    return b"".join(one._data for one in packets)  # type: ignore[attr-defined]


def flat(frames: list[list[RtpPacket]]) -> list[RtpPacket]:
    return [one for frame in frames for one in frame]


def numbers(released: list[tuple[int, bytes]]) -> list[int]:
    return [int(data.split(b".")[0]) for _, data in released]


def run_stock(packets: Sequence[RtpPacket]) -> list[tuple[int, bytes]]:
    """(index of the packet that released it, data) of each frame."""
    buffer = JitterBuffer(capacity=CAPACITY, is_video=True)
    answers = [buffer.add(one)[1] for one in packets]
    return [(i, frame.data) for i, frame in enumerate(answers) if frame is not None]


def run_marker(packets: Sequence[RtpPacket]) -> list[tuple[int, bytes]]:
    out: list[tuple[int, bytes]] = []
    extra: list[JitterFrame] = []
    buffer = MarkerJitterBuffer(CAPACITY, lambda _, frame: extra.append(frame), patience_s=1e9)
    for i, one in enumerate(packets):
        _, frame = buffer.add(one)
        out += [(i, before.data) for before in extra]
        extra.clear()
        if frame is not None:
            out.append((i, frame.data))
    return out


def test_a_frame_leaves_with_the_packet_that_has_the_marker() -> None:
    frames = frames_of([1, 3, 1, 2])
    packets = flat(frames)
    assert [index for index, _ in run_marker(packets)] == [1, 3, 4, 6]
    assert [data for _, data in run_marker(packets)] == [joined(frame) for frame in frames]
    assert [index for index, _ in run_stock(packets)] == [1, 4, 5]


def test_an_incomplete_frame_waits_for_its_missing_packet() -> None:
    (lead,), frame = frames_of([1, 4])
    assert run_marker([lead, frame[0], frame[1], frame[3]]) == [(1, b"0.0 ")]
    released = run_marker([lead, frame[0], frame[1], frame[3], frame[2]])
    assert released == [(1, b"0.0 "), (4, joined(frame))]


def test_a_frame_whose_head_may_be_missing_is_left_to_the_stock_buffer() -> None:
    frames = frames_of([3, 2])
    headless = frames[0][1:]
    assert run_marker(headless) == []
    assert run_marker(headless + frames[1])[0] == run_stock(headless + frames[1])[0]


def test_frames_held_up_by_a_late_packet_all_leave_with_it() -> None:
    frames = frames_of([1, 1, 1, 1, 1])
    packets = [frames[i][0] for i in (0, 1, 3, 4, 2)]
    released = run_marker(packets)
    assert released == [(1, b"0.0 "), (1, b"1.0 "), (4, b"2.0 "), (4, b"3.0 "), (4, b"4.0 ")]
    assert len(run_stock(packets)) == 2


def test_duplicates_of_a_frame_already_handed_out_change_nothing() -> None:
    frames = frames_of([1, 150, 2, 2])
    packets = [*frames[0], *frames[1], *frames[1], *frames[2], frames[2][0], *frames[3]]
    assert [data for _, data in run_marker(packets)] == [joined(frame) for frame in frames]


def test_sequence_numbers_wrap_around_within_a_frame() -> None:
    frames = frames_of([2, 3, 2], first=65533)
    released = run_marker(flat(frames))
    assert released == [(2, joined(frames[0])), (4, joined(frames[1])), (6, joined(frames[2]))]


def test_a_sender_that_sets_no_markers_is_served_as_by_the_stock_buffer() -> None:
    packets = flat(frames_of([2, 3, 1, 2]))
    for one in packets:
        one.marker = 0
    assert run_marker(packets) == run_stock(packets)


def test_padding_after_the_marker_belongs_to_its_frame() -> None:
    lead, first, second = frames_of([1, 2, 2])
    padding = packet(3, first[0].timestamp, b"", marker=False)
    moved = [packet(4 + i, 9000, second[i]._data, marker=i == 1) for i in range(2)]  # type: ignore[attr-defined]
    released = run_marker([*lead, *first, padding, *moved])
    assert released == [(1, joined(lead)), (2, joined(first)), (5, joined(second))]


def test_markers_in_the_middle_of_frames_are_noticed_and_heeded_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []  # caplog misses it where a library raised the root level
    monkeypatch.setattr("streamer.marker_release._LOGGER.warning", said.append)
    frames = frames_of([3] * 5)
    for frame in frames:
        frame[1].marker = 1
    packets = flat(frames)
    released = run_marker(packets)
    assert [found for found in released if found[1] != b"1.0 1.1 "] == run_stock(packets)
    assert sum("marker does not end" in sentence for sentence in said) == 1


def test_a_packet_that_stays_away_is_given_up_with_its_frame_and_a_key_frame_asked_for() -> None:
    now = [0.0]
    out: list[bytes] = []
    buffer = MarkerJitterBuffer(
        CAPACITY, lambda _, frame: out.append(frame.data), patience_s=0.5, clock=lambda: now[0]
    )
    frames = frames_of([1, 1, 3, 3, 3, 1])
    asked: list[float] = []
    for i, one in enumerate(flat(frames)):
        if one in (frames[2][1], frames[3][0]):
            continue
        now[0] = i / 10
        is_lossy, frame = buffer.add(one)
        asked += [now[0]] if is_lossy else []
        out += [frame.data] if frame is not None else []
    assert out == [joined(frames[i]) for i in (0, 1, 4, 5)]
    assert len(asked) == 1
    assert buffer.add(frames[2][1]) == (False, None)


def test_a_key_frame_is_asked_for_again_until_one_comes() -> None:
    now = [0.0]
    buffer = MarkerJitterBuffer(
        CAPACITY,
        lambda _, frame: None,
        patience_s=5.0,
        key_again_s=3.0,
        clock=lambda: now[0],
        is_key=lambda _, frame: frame.data == b"19.0 ",
    )
    asked: list[float] = []
    for i, one in enumerate(flat(frames_of([1] * 30))):
        now[0] = float(i)
        if i != 3 and buffer.add(one)[0]:
            asked.append(now[0])
    assert asked == [9.0, 12.0, 15.0, 18.0]


@pytest.mark.parametrize(
    ("codec", "data", "is_key"),
    [
        ("VP8", b"\x10\x02\x00\x9d\x01\x2a", True),
        ("VP8", b"\x11\x02\x00", False),
        ("VP8", b"", False),
        ("H264", b"\0\0\0\1\x67abc\0\0\0\1\x68a\0\0\0\1\x65abc", True),
        ("H264", b"\0\0\0\1\x41abc", False),
        ("H264", b"", False),
        ("AV1", b"\x12", True),
    ],
)
def test_a_key_frame_is_known_by_its_first_bytes(codec: str, data: bytes, is_key: bool) -> None:
    assert is_key_frame(codec, data) == is_key


def test_a_packet_much_too_late_does_not_make_the_buffer_begin_anew() -> None:
    frames = frames_of([1] * 150)
    packets = [*flat(frames), packet(10, frames[10][0].timestamp, b"late", marker=True)]
    more = frames_of([1] * 152)[150:]
    released = run_marker([*packets, *flat(more)])
    assert [data for _, data in released] == [joined(one) for one in [*frames, *more]]
    assert joined(more[1]) not in [data for _, data in run_stock([*packets, *flat(more)])]


def shaken(packets: list[RtpPacket], seed: int) -> list[RtpPacket]:
    """The packets with some lost, some late, some twice, and all lost for a while."""
    draw = random.Random(seed)
    loss, late, twice = draw.choice([0, 0.01, 0.05, 0.2]), draw.choice([0, 0.05, 0.3]), 0.05
    gap = range(*sorted(draw.choices(range(len(packets)), k=2))) if seed % 4 == 0 else range(0)
    timed: list[tuple[float, int, RtpPacket]] = []
    for i, one in enumerate(packets):
        if i in gap or draw.random() < loss:
            continue
        for _ in range(2 if draw.random() < twice else 1):
            delay = draw.uniform(0, 40) if draw.random() < late else 0
            timed.append((i + delay, len(timed), one))
    return [one for _, _, one in sorted(timed, key=lambda found: found[:2])]


@pytest.mark.parametrize("seed", range(40))
def test_every_frame_of_the_stock_buffer_comes_no_later_and_once(seed: int) -> None:
    draw = random.Random(1000 + seed)
    sizes = [draw.choice([1, 1, 2, 3, 8, 40]) for _ in range(draw.choice([40, 400]))]
    frames = frames_of(sizes, first=draw.choice([0, 65000, 65500]))
    packets = shaken(flat(frames), seed)
    whole = {joined(frame) for frame in frames}
    stock, ours = run_stock(packets), run_marker(packets)
    when = {data: index for index, data in ours}
    assert len(when) == len(ours)
    assert all(when[data] <= index for index, data in stock)
    assert {data for data in when if data not in whole} <= {data for _, data in stock}
    if numbers(stock) == sorted(numbers(stock)):
        assert numbers(ours) == sorted(numbers(ours))


def test_one_receiver_gets_the_buffer_and_others_keep_theirs() -> None:
    receiver = RTCRtpReceiver("video", Transport())  # type: ignore[arg-type]
    assert release_on_marker(receiver)
    assert isinstance(receiver._RTCRtpReceiver__jitter_buffer, MarkerJitterBuffer)  # type: ignore[attr-defined]
    other = RTCRtpReceiver("video", Transport())  # type: ignore[arg-type]
    assert type(other._RTCRtpReceiver__jitter_buffer) is JitterBuffer  # type: ignore[attr-defined]


def test_frames_handed_over_early_reach_the_decoder_in_order_with_mapped_times() -> None:
    receiver = RTCRtpReceiver("video", Transport())  # type: ignore[arg-type]
    release_on_marker(receiver)
    vp8 = SimpleNamespace(name="VP8")
    receiver._RTCRtpReceiver__codecs[97] = vp8  # type: ignore[attr-defined]
    frames = frames_of([1, 1])
    buffer = receiver._RTCRtpReceiver__jitter_buffer  # type: ignore[attr-defined]
    buffer.add(frames[0][0])
    _, last = buffer.add(frames[1][0])
    codec, frame = receiver._RTCRtpReceiver__decoder_queue.get_nowait()  # type: ignore[attr-defined]
    assert (codec, frame.data, frame.timestamp) == (vp8, b"0.0 ", 0)
    assert last is not None
    assert (last.data, last.timestamp) == (b"1.0 ", 6000)


def test_audio_and_receivers_at_work_and_other_versions_stay_as_they_are(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    assert not release_on_marker(RTCRtpReceiver("audio", Transport()))  # type: ignore[arg-type]
    busy = RTCRtpReceiver("video", Transport())  # type: ignore[arg-type]
    busy._RTCRtpReceiver__jitter_buffer.add(packet(1, 1, b"", marker=False))  # type: ignore[attr-defined]
    assert not release_on_marker(busy)

    class Other(JitterBuffer):
        def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
            return False, None

    monkeypatch.setattr(streamer.marker_release, "JitterBuffer", Other)
    receiver = RTCRtpReceiver("video", Transport())  # type: ignore[arg-type]
    assert not release_on_marker(receiver)
    assert type(receiver._RTCRtpReceiver__jitter_buffer) is JitterBuffer  # type: ignore[attr-defined]
    assert len(caplog.records) == 3
