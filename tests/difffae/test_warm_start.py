"""Frames that start from the one before: what reaches the output, and what starts afresh."""

from dataclasses import replace

import numpy as np
import torch

from difffae.arrays import ImageU8
from difffae.controls import Controls
from difffae.diffusion.warm_start import Trail, WarmStart
from difffae.pipeline import Pipeline, Reenacted, Source
from scripted_pipeline import driver_frame, reenacted

COLD = Controls(num_steps=2)
WARM = Controls(num_steps=2, warm_start=WarmStart(refresh_every=3, largest_change=100.0))
FRAMES = [driver_frame(0), driver_frame(1), driver_frame(2), driver_frame(3)]


def painted(
    pipeline: Pipeline, source: Source, frame: ImageU8, controls: Controls, trail: Trail | None
) -> Reenacted:
    state = pipeline.open_stream(source, controls)
    prepared, _ = pipeline.prepare(frame, source, state, controls)
    return pipeline.paint(prepared, source, controls, trail)


def test_frames_are_cold_where_no_warm_start_is_asked_for(
    pipeline: Pipeline, source: Source
) -> None:
    trail = painted(pipeline, source, FRAMES[0], WARM, None).trail
    alone = painted(pipeline, source, FRAMES[1], COLD, None)
    after = painted(pipeline, source, FRAMES[1], COLD, trail)
    np.testing.assert_array_equal(alone.image, after.image)
    assert after.trail is None


def test_a_warm_frame_differs_and_a_refreshed_one_is_the_cold_one(
    pipeline: Pipeline, source: Source
) -> None:
    cold, _ = reenacted(pipeline, source, FRAMES, COLD)
    warm, _ = reenacted(pipeline, source, FRAMES, WARM)
    same = [bool((a.image == b.image).all()) for a, b in zip(cold, warm, strict=True)]
    assert same == [True, False, False, True]
    assert [made.trail.num_warm for made in warm if made.trail] == [0, 1, 2, 0]


def test_after_a_jump_the_frame_is_the_cold_one(pipeline: Pipeline, source: Source) -> None:
    start = WarmStart(largest_change=0.0)
    cautious = replace(WARM, warm_start=start)
    cold, _ = reenacted(pipeline, source, FRAMES[:3], COLD)
    warm, _ = reenacted(pipeline, source, FRAMES[:3], cautious)
    for one, other in zip(cold, warm, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_painting_apart_gives_what_reenacting_gives(pipeline: Pipeline, source: Source) -> None:
    expected, _ = reenacted(pipeline, source, FRAMES, WARM)
    state, prepared = pipeline.open_stream(source, WARM), []
    for frame in FRAMES:
        one, state = pipeline.prepare(frame, source, state, WARM)
        prepared.append(one)
    trail = None
    for one, wanted in zip(prepared, expected, strict=True):
        made = pipeline.paint(one, source, WARM, trail)
        trail = made.trail
        np.testing.assert_array_equal(made.image, wanted.image)


def test_the_same_trail_gives_the_same_frame_and_is_left_alone(
    pipeline: Pipeline, source: Source
) -> None:
    trail = painted(pipeline, source, FRAMES[0], WARM, None).trail
    assert trail is not None
    before = torch.clone(trail.latent)
    first = painted(pipeline, source, FRAMES[1], WARM, trail)
    again = painted(pipeline, source, FRAMES[1], WARM, trail)
    np.testing.assert_array_equal(first.image, again.image)
    assert torch.equal(trail.latent, before)
