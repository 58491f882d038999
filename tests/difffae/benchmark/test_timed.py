"""A timed pipeline gives the pipeline's own frames, tells every stage, and leaves it untimed."""

from difffae.arrays import ImageU8
from difffae.benchmark import timed
from difffae.benchmark.stopwatch import Stopwatch
from difffae.benchmark.timed import compiled_networks, timed_pipeline
from difffae.controls import Controls
from difffae.face.tracker import NUM_LOOKS
from difffae.pipeline import Pipeline, Source
from difffae.runtime.eager import EagerNetwork
from scripted_pipeline import assert_same, driver_frame, reenacted

NUM_STEPS = 3
CONTROLS = Controls(num_steps=NUM_STEPS)
FRAMES = [driver_frame(0), driver_frame(2)]


def test_frames_are_the_same_and_every_stage_of_them_is_told(
    pipeline: Pipeline, source: Source
) -> None:
    watch = Stopwatch()
    outputs, _ = reenacted(timed_pipeline(pipeline, watch), source, FRAMES, CONTROLS)
    expected, _ = reenacted(pipeline, source, FRAMES, CONTROLS)
    assert_same(outputs[1], expected[1])
    once = {
        *(timed.FIT, timed.RENDER, timed.INPUTS, timed.ENCODE),
        *(timed.DECODE, timed.PICTURE, timed.PASTE),
    }
    calls = {name: len(laps) for name, laps in watch.laps_ms.items()}
    assert calls == {
        **dict.fromkeys(once, len(FRAMES)),
        timed.TRACK: len(FRAMES) + NUM_LOOKS,  # motion is measured from the first one
        timed.DENOISE: NUM_STEPS * len(FRAMES),
    }


def test_the_stages_of_a_source_are_told(pipeline: Pipeline, portrait_image: ImageU8) -> None:
    watch = Stopwatch()
    source = timed_pipeline(pipeline, watch).encode_source(portrait_image)
    assert_same(source.tokens, pipeline.encode_source(portrait_image).tokens)
    assert set(watch.laps_ms) == {
        *(timed.TRACK, timed.REGIONS, timed.IDENTITY, timed.ENCODE, timed.SOURCE)
    }


def test_the_networks_are_told_as_they_run_without_lock_or_watch(pipeline: Pipeline) -> None:
    found = compiled_networks(pipeline)
    assert set(found) == set(timed.NETWORK_STAGES)
    assert all(isinstance(found[name], EagerNetwork) for name in ("encoder", "denoiser", "decoder"))
