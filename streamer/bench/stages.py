"""`python -m streamer.bench stages`: what each stage of a frame costs, and what it could cost."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from streamer.bench.frame_run import (
    DECODE_VIDEO,
    ENCODE_VIDEO,
    LABEL,
    WARM_UPS,
    Media,
    one_after_another,
    overlapped,
)
from streamer.bench.looped import write_looped
from streamer.bench.offline import DRIVER, PORTRAIT, packaged_file, scale
from streamer.bench.processes import cpu_model
from streamer.bench.stages_report import StagesReport, as_json, lines, tables
from streamer.bench.usage import peak_megabytes
from streamer.controls import LiveControls
from streamer.engine import Engine, EngineSettings, Runtime, model_controls
from streamer.errors import ModelError, UsageError
from streamer.portrait import read_portrait

if TYPE_CHECKING:
    from difffae.benchmark.networks import NetworkCost as NetworkCost
    from difffae.benchmark.stopwatch import Spread as Spread
    from difffae.pipeline import Pipeline

Precision = Literal["auto", "int8", "bf16", "fp32"]
_PACKAGES = ("difffae-streamer", "torch", "openvino", "mediapipe", "numba", "numpy", "av")
_SOURCE_REPEATS = 5
_TABLE_WIDTH = 110


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be measured; see `stages`."""

    model: str = "lite-256"
    size: int = 256
    frames: int = 120
    steps: int = 1
    runtime: Runtime = "auto"
    precision: Precision = "auto"
    peak_seconds: float = 1.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: one of them is out of range.
        """
        for name in ("frames", "steps", "size"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} must be at least 1")


def stages(
    size: int = 256,
    frames: int = 120,
    steps: int = 1,
    runtime: Runtime = "auto",
    precision: Precision = "auto",
    json: Path | None = None,
) -> None:
    """Print what each stage of a frame costs, on the demo's driver and portrait.

    Args:
        size: side of the square portrait in pixels.
        frames: that count, after a few that do not; the demo's clip is repeated as needed.
        steps: of the sampler.
        runtime: how the networks run.
        precision: in which type of numbers.
        json: a file to write all figures to.
    """
    asked = Asked(
        size=size,
        frames=frames,
        steps=steps,
        runtime=runtime,
        precision=precision,
    )
    report = measure(asked)
    if json is not None:
        json.write_text(as_json(report), "utf-8")
    out = Console(soft_wrap=True, markup=False, highlight=False)
    out.width = max(out.width, _TABLE_WIDTH)
    for table in tables(report):
        out.print(table)
    for line in lines(report):
        out.print(line)


def measure(asked: Asked) -> StagesReport:
    """Make the frames both ways, then measure what the machine could do.

    Raises:
        StreamerError: the model or the media cannot be used.
    """
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-stages-") as name:
        media = _media(asked, Path(name))
        pipeline, threads = _load(asked)
        return _measured(asked, pipeline, media, threads, load)


def _measured(
    asked: Asked, pipeline: "Pipeline", media: Media, threads: int, load: float
) -> StagesReport:
    from difffae.benchmark import networks, timed
    from difffae.benchmark.peak import conv_peak
    from difffae.benchmark.stopwatch import Stopwatch, spread

    controls = model_controls(LiveControls(steps=asked.steps), 0)
    watch, source_watch = Stopwatch(), Stopwatch()
    own = Engine(reenactor=timed.timed_pipeline(pipeline, watch), controls=controls)
    single = one_after_another(own, watch, media, asked.frames)
    settings = EngineSettings(model=asked.model, runtime=asked.runtime)
    plain = Engine(reenactor=pipeline, controls=controls)
    both = overlapped(plain, settings, media, asked.frames)
    encoder = timed.timed_pipeline(pipeline, source_watch)
    for _ in range(_SOURCE_REPEATS):
        encoder.encode_source(read_portrait(media.portrait))
    megabytes = peak_megabytes()
    peaks = {
        "fp32": conv_peak("fp32", seconds=asked.peak_seconds),
        f"fp32 on {threads} threads": conv_peak(
            "fp32", num_threads=threads, seconds=asked.peak_seconds
        ),
        "bf16": conv_peak("bf16", seconds=asked.peak_seconds),
    }
    spreads = watch.spreads()
    of_source = source_watch.spreads()
    costs = networks.network_costs(
        pipeline,
        networks.network_flops(asked.model),
        {**of_source, **spreads},
        num_steps=asked.steps,
        peaks={kind: peaks[kind] for kind in ("fp32", "bf16")},
    )
    tracker_ms = spreads[timed.TRACK].p50_ms
    floor_ms = 1000 * networks.frame_flops(costs) / peaks["fp32"] + tracker_ms
    return StagesReport(
        asked=asked,
        stages=_ordered(spreads),
        frame=spread(single.frame_ms),
        single=single,
        overlapped=both,
        source=of_source,
        peak_megabytes=megabytes,
        networks=costs,
        peaks=peaks,
        tracker_ms=tracker_ms,
        floor_ms=floor_ms,
        threads=threads,
        machine=cpu_model(),
        load=load,
        versions={name: version(name) for name in _PACKAGES},
    )


def _media(asked: Asked, folder: Path) -> Media:
    media = Media(driver=folder / "driver.mp4", portrait=folder / "portrait.jpg", folder=folder)
    write_looped(packaged_file(*DRIVER), media.driver, WARM_UPS + asked.frames)
    scale(packaged_file(*PORTRAIT), media.portrait, asked.size)
    return media


def _load(asked: Asked) -> tuple["Pipeline", int]:
    """The model, and on how many threads each of its networks runs.

    Raises:
        ModelError: it cannot be loaded.
    """
    from difffae import load_pipeline
    from difffae.runtime.threads import num_stage_threads

    threads = num_stage_threads()
    try:
        pipeline = load_pipeline(
            asked.model, runtime=asked.runtime, precision=asked.precision, num_threads=threads
        )
    except (ValueError, RuntimeError, OSError) as error:
        raise ModelError(f"cannot load model {asked.model}: {error}") from error
    return pipeline, threads


def _ordered(spreads: Mapping[str, "Spread"]) -> dict[str, "Spread"]:
    """In the order in which a frame passes them."""
    from difffae.benchmark import timed

    order = (
        DECODE_VIDEO,
        timed.TRACK,
        timed.FIT,
        timed.RENDER,
        timed.INPUTS,
        timed.ENCODE,
        timed.DENOISE,
        timed.DECODE,
        timed.PICTURE,
        timed.PASTE,
        ENCODE_VIDEO,
        LABEL,
    )
    return {name: spreads[name] for name in order if name in spreads}
