"""How a run through a bad network is judged."""

import pytest

from streamer.bench.chromium_loss import matched
from streamer.bench.counter import checked
from streamer.bench.live_client import Seen
from streamer.bench.loss import Spell, described, judged

BAD = Spell(name="during", begun_s=10.0, ended_s=20.0)


def draw_word(number: int) -> int:
    """Number and check as the blocks hold them."""
    words = (number << 8 | check for check in range(256))
    return next(word for word in words if checked(word) == number)


def frames(latencies: dict[float, float]) -> list[Seen]:
    """By the time when they came."""
    return [
        Seen(number=i, came_s=came_s, sent_s=came_s - latency_s)
        for i, (came_s, latency_s) in enumerate(latencies.items())
    ]


def test_recovery_ends_where_a_second_of_usual_latency_begins() -> None:
    late = {20.2: 0.5, 20.3: 0.2, 20.5: 0.1, 20.6: 0.3}
    good = {20.7 + i / 10: 0.2 if i == 5 else 0.02 for i in range(14)}
    found = judged(frames({9.0: 0.02, 10.5: 0.3, 13.0: 0.4, **late, **good}), BAD, usual_s=0.02)
    assert found.newer_s == pytest.approx(0.3)
    assert found.normal_s == pytest.approx(0.2)
    assert found.freeze_s == pytest.approx(7.2)
    slow = frames({20.1 + i / 10: 0.06 for i in range(30)})
    assert judged(slow, BAD, usual_s=0.02).normal_s is None


def test_a_returned_number_is_matched_with_its_last_showing_before() -> None:
    one, two = draw_word(1), draw_word(2)
    words = one, two, -1, one
    preview, remote = (
        [[word, ms, None] for word, ms in zip(words, times, strict=True)]
        for times in ((100.0, 200.0, 210.0, 300.0), (150.0, 250.0, 260.0, 350.0))
    )
    found = matched(preview, remote, offset_s=10.0)
    assert [seen.number for seen in found] == [1, 2, 1]
    assert [seen.latency_s for seen in found] == pytest.approx([0.05] * 3)
    assert found[0].came_s == pytest.approx(10.15)


def test_a_picture_that_never_comes_back_is_said_so() -> None:
    found = judged(frames({9.0: 0.02, 12.0: 0.02}), BAD, usual_s=0.02)
    assert found.newer_s is None
    assert found.normal_s is None
    outage = judged(frames({9.0: 0.02, 20.5: 0.02, 20.6: 0.02}), BAD, usual_s=0.02)
    assert outage.freeze_s == pytest.approx(10.5)


def test_a_spell_is_told_by_rate_and_latency() -> None:
    seen = frames({10 + i / 2: 0.1 for i in range(20)})
    assert described(seen, BAD) == " during:  2.0 frames/s, latency p50 100 ms, p95 100 ms"
    assert "no frame" in described([], BAD)
