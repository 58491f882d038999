"""A tiny model goes through the whole measurement, and ratios are what the figures give."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from random_model import write_random_model
from streamer.bench import stages as stages_module
from streamer.bench.frame_run import DECODE_VIDEO, ENCODE_VIDEO, LABEL
from streamer.bench.stages import Asked, StagesReport, measure, stages
from streamer.bench.stages_report import as_json, lines
from streamer.errors import ModelError, UsageError

pytestmark = pytest.mark.computes

NUM_FRAMES, NUM_STEPS = 3, 2


@pytest.fixture(scope="module")
def report(
    tmp_path_factory: pytest.TempPathFactory, carphone: Path, portrait: Path
) -> StagesReport:
    """Of a few frames of small random networks in plain PyTorch."""
    folder = write_random_model(tmp_path_factory.mktemp("model"))
    asked = Asked(
        model=str(folder),
        size=128,
        frames=NUM_FRAMES,
        steps=NUM_STEPS,
        runtime="eager",
        precision="fp32",
        peak_seconds=1e-3,
    )
    return measure(asked)


def test_every_stage_of_a_frame_is_told_in_order_and_they_add_up(report: StagesReport) -> None:
    names = list(report.stages)
    assert names[0] == DECODE_VIDEO
    assert names[1:4] == ["track", "fit and retarget", "render condition"]
    assert names[-3:] == ["paste back", ENCODE_VIDEO, LABEL]
    own_ms = sum(
        one.mean_ms * one.num_calls for name, one in report.stages.items() if name != LABEL
    )
    assert own_ms <= report.frame.mean_ms * NUM_FRAMES
    assert report.stages["denoise, each step"].num_calls == NUM_STEPS * NUM_FRAMES


def test_networks_are_told_with_their_flops_and_runtime(report: StagesReport) -> None:
    found = {one.name: one for one in report.networks}
    assert set(found) == {*("encoder", "denoiser", "decoder", "region_encoder", "identity_encoder")}
    assert all(one.runtime == "eager" and one.flops > 0 for one in found.values())
    assert found["denoiser"].calls == NUM_STEPS
    assert found["decoder"].shares["fp32"] == pytest.approx(
        found["decoder"].flops_a_second / report.peaks["fp32"]
    )


def test_the_floor_is_the_arithmetic_at_the_peak_and_the_tracker(report: StagesReport) -> None:
    flops = sum(one.calls * one.flops for one in report.networks if not one.is_of_source)
    expected_ms = 1000 * flops / report.peaks["fp32"] + report.stages["track"].p50_ms
    assert report.floor_ms == pytest.approx(expected_ms)
    assert report.single_ratio == pytest.approx(report.frame.p50_ms / report.floor_ms)
    assert report.overlapped_ratio == pytest.approx(1000 / report.overlapped.fps / report.floor_ms)


def test_json_holds_all_figures_and_both_ratios(report: StagesReport) -> None:
    told = json.loads(as_json(report))
    assert told["asked"]["steps"] == NUM_STEPS
    assert told["stages"]["track"]["p99_ms"] == report.stages["track"].p99_ms
    assert told["ratio"]["overlapped"] == report.overlapped_ratio
    assert told["fps"]["single"] == report.single.fps
    assert all(math.isfinite(flops) for flops in told["peaks"].values())


def test_joules_are_told_or_said_to_be_unknown(report: StagesReport) -> None:
    def told(joules: float | None) -> str:
        used = replace(report.single.used, joules=joules)
        return next(lines(replace(report, single=replace(report.single, used=used))))

    assert "joules not readable" in told(None)
    assert "joules 2.00 a frame" in told(2.0 * NUM_FRAMES)


def test_the_command_prints_and_writes_what_was_measured(
    report: StagesReport,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    asked: list[Asked] = []

    def measured(one: Asked) -> StagesReport:
        asked.append(one)
        return report

    monkeypatch.setattr(stages_module, "measure", measured)
    stages(size=512, frames=7, steps=4, json=tmp_path / "all.json")
    assert asked == [Asked(size=512, frames=7, steps=4)]
    told = capsys.readouterr().out
    assert "decode latent" in told
    assert f"{report.overlapped_ratio:.2f} overlapped" in told
    assert json.loads((tmp_path / "all.json").read_text("utf-8")) == json.loads(as_json(report))


@pytest.mark.parametrize("name", ["frames", "steps", "size"])
def test_nothing_to_measure_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"--{name} must be at least 1"):
        Asked(**{name: 0})


def test_a_model_that_is_not_there_is_refused(tmp_path: Path, carphone: Path) -> None:
    with pytest.raises(ModelError, match="cannot load model"):
        measure(Asked(model=str(tmp_path / "none"), frames=1))
