"""How a run through a bad network is judged."""

import pytest

from streamer.bench.live_client import Seen
from streamer.bench.loss import Spell, described, judged

BAD = Spell(name="during", begun_s=10.0, ended_s=20.0)


def frames(latencies: dict[float, float]) -> list[Seen]:
    """By the time when they came."""
    return [
        Seen(number=i, came_s=came_s, sent_s=came_s - latency_s)
        for i, (came_s, latency_s) in enumerate(latencies.items())
    ]


def test_recovery_ends_with_the_last_frame_that_is_late() -> None:
    seen = frames({9.0: 0.02, 10.5: 0.3, 13.0: 0.4, 20.2: 0.5, 20.3: 0.2, 20.5: 0.1, 20.6: 0.02})
    found = judged(seen, BAD, usual_s=0.02)
    assert found.newer_s == pytest.approx(0.3)
    assert found.normal_s == pytest.approx(0.6)
    assert found.freeze_s == pytest.approx(7.2)


def test_a_picture_that_never_comes_back_is_said_so() -> None:
    found = judged(frames({9.0: 0.02, 12.0: 0.02}), BAD, usual_s=0.02)
    assert found.newer_s is None
    assert found.normal_s is None


def test_a_spell_is_told_by_rate_and_latency() -> None:
    seen = frames({10 + i / 2: 0.1 for i in range(20)})
    assert described(seen, BAD) == " during:  2.0 frames/s, latency p50 100 ms, p95 100 ms"
    assert "no frame" in described([], BAD)
