"""What is asked of a sender, packet by packet."""

import logging
from collections.abc import Sequence

import pytest
from aiortc import RTCRtpReceiver
from aiortc.rtcrtpreceiver import NackGenerator
from aiortc.rtp import RtpPacket

import streamer.loss_recovery
from streamer.loss_recovery import PersistentNacks
from streamer.marker_release import release_on_marker


class Transport:
    state = "new"


def asked(sequences: Sequence[int], start: int | None = 0, step_s: float = 0.04) -> list[list[int]]:
    """What is asked for after each packet; empty where nothing is."""
    now = [100.0]
    nacks = PersistentNacks(lambda: start, again_s=0.1, clock=lambda: now[0])
    found = []
    for sequence in sequences:
        now[0] += step_s
        asks = nacks.add(RtpPacket(sequence_number=sequence % 65536))
        found.append(sorted(nacks.missing) if asks else [])
    return found


def test_a_packet_that_is_missing_is_asked_for_again_until_it_comes() -> None:
    sequences = [10, 11, 13, 14, 15, 16, 17, 18, 19, 12, 20, 21, 22, 23]
    wanted = [[12] if i in (2, 5, 8) else [] for i in range(len(sequences))]
    assert asked(sequences) == wanted
    stock = NackGenerator()
    assert sum(stock.add(RtpPacket(sequence_number=one)) for one in sequences) == 1


def test_a_new_gap_is_asked_for_at_once_with_the_old_one() -> None:
    assert asked([10, 12, 14, 15, 16]) == [[], [11], [11, 13], [], []]


def test_what_was_given_up_is_asked_for_no_more() -> None:
    assert asked([10, 12, 14, 15, 16, 17], start=12) == [[], [], [13], [], [], [13]]


def test_asking_goes_on_across_the_wrap_of_sequence_numbers() -> None:
    found = asked([65533, 65535, 65536 + 1, 65536 + 2], start=65533)
    assert found == [[], [65534], [0, 65534], []]


def test_a_video_receiver_asks_again_for_what_its_buffer_still_wants() -> None:
    receiver = RTCRtpReceiver("video", Transport())  # type: ignore[arg-type]
    assert release_on_marker(receiver)
    nacks = receiver._RTCRtpReceiver__nack_generator  # type: ignore[attr-defined]
    assert isinstance(nacks, PersistentNacks)
    first = RtpPacket(sequence_number=5)
    first._data = b"a"  # type: ignore[attr-defined]
    assert nacks._start() is None
    receiver._RTCRtpReceiver__jitter_buffer.add(first)  # type: ignore[attr-defined]
    assert nacks._start() == 5


def test_another_aiortc_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(logging.getLogger("streamer.loss_recovery"), "warning", said.append)
    receiver = RTCRtpReceiver("video", Transport())  # type: ignore[arg-type]

    class Other(NackGenerator):
        pass

    monkeypatch.setattr(streamer.loss_recovery, "NackGenerator", Other)
    assert not streamer.loss_recovery.ask_until_given_up(receiver, lambda: None)
    assert type(receiver._RTCRtpReceiver__nack_generator) is NackGenerator  # type: ignore[attr-defined]
    assert len(said) == 1
