"""The measurement itself: the real server and the real page, with the camera's numbers in view."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.bench import live as live_module
from streamer.bench.browser import missing_program
from streamer.bench.live import Asked, Report, _as_json, live, measure
from streamer.errors import UsageError

needs_browser = pytest.mark.skipif(
    missing_program() is not None, reason=f"needs {missing_program()}, which is not installed"
)
FRAME_MS = 1000 / 30


@pytest.fixture(scope="module")
def slow(portrait: Path) -> Report:
    """Eight seconds of the page with an engine of twice the time of a frame."""
    return measure(Asked(engine="pass", delay_ms=2 * FRAME_MS, seconds=8), client="chromium")


def skip_where_busy(report: Report) -> None:
    """Fifteen frames a second come of an idle core or two; under eight says nothing of latency."""
    if report.glass.fps < 8:
        pytest.skip(f"this machine is busy: {report.glass.fps:.1f} of 15 frames/s came back")


@needs_browser
def test_every_number_comes_back_in_order_and_none_is_unreadable(slow: Report) -> None:
    assert slow.glass.num_shown > 0
    assert slow.glass.num_reordered == 0
    assert slow.glass.num_unread <= slow.glass.num_shown // 20


@needs_browser
def test_with_an_engine_of_two_frames_every_other_frame_is_left_out(slow: Report) -> None:
    assert slow.glass.num_shown + slow.glass.num_dropped == slow.glass.num_sent
    skip_where_busy(slow)
    assert slow.glass.num_dropped < 0.8 * slow.glass.num_sent


@needs_browser
def test_the_delay_does_not_grow_by_more_than_a_few_frames(slow: Report) -> None:
    """Frames that queue before such an engine fall behind by fifteen frames a second."""
    skip_where_busy(slow)
    grown = slow.glass.late.p50_ms - slow.glass.early.p50_ms
    assert grown / FRAME_MS < 12


@needs_browser
def test_both_latencies_and_all_costs_are_told(slow: Report) -> None:
    assert slow.shown is not None
    assert slow.glass.whole.p50_ms > 2 * FRAME_MS
    assert 0 < slow.shown.whole.p50_ms < slow.glass.whole.p50_ms
    assert {"receive", "convert", "model_done", "render", "encode", "total"} <= set(slow.stages_ms)
    assert slow.received["framesDecoded"] >= slow.glass.num_shown
    assert math.isfinite(slow.jitter_buffer_ms)
    assert all(spent > 0 for spent in slow.cpu_s.values())


@needs_browser
def test_the_browser_is_told_to_show_frames_at_once(slow: Report) -> None:
    """It holds a frame for two to three frames' time otherwise."""
    skip_where_busy(slow)
    assert slow.jitter_buffer_ms / FRAME_MS < 1


def test_a_client_without_a_browser_measures_too(portrait: Path) -> None:
    report = measure(Asked(engine="pass", delay_ms=0.0, seconds=3), client="aiortc")
    assert report.glass.num_reordered == 0
    assert 0 < report.glass.num_shown <= report.glass.num_sent
    assert report.glass.whole.p50_ms > 0
    assert report.shown is None
    assert "total" in report.stages_ms


@pytest.mark.parametrize("seconds", [5.9, math.nan])
def test_too_short_a_measurement_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="at least 6"):
        live(seconds=seconds)


@needs_browser
def test_the_report_is_printed_and_written_whole(
    slow: Report,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = replace(slow, jitter_buffer_ms=math.nan)
    monkeypatch.setattr(live_module, "measure", lambda *_, **__: told)
    live(seconds=6, json=tmp_path / "figures.json")
    said = capsys.readouterr().out
    written = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert written["jitter_buffer_ms"] is None
    assert written["glass"]["whole"]["p50_ms"] == slow.glass.whole.p50_ms
    assert written["versions"].keys() >= {"aiortc", "av"}
    assert f"{slow.glass.late.p95_ms:.0f}" in said
    assert "CPU seconds, model" in said
    assert "NaN" not in _as_json(told)
