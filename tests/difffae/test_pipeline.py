"""The pipeline with small random networks: what reaches the output, and what never does."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from difffae.arrays import ImageU8, Points3
from difffae.config import ModelConfig
from difffae.controls import Controls
from difffae.face.crop import CropBox
from difffae.face.motion import FADE_FRAMES, HOLD_FRAMES
from difffae.face.tracker import FaceNotFoundError, SeveralFacesError
from difffae.generator import Generator, Placement
from difffae.networks import load_networks
from difffae.pipeline import Pipeline, Source
from scripted_pipeline import (
    CONTROLS,
    HEIGHT,
    WIDTH,
    ScriptedTracker,
    assert_same,
    driver_frame,
    reenacted,
)


def test_a_source_keeps_its_portrait_its_crop_and_what_networks_make_of_it(
    source: Source, portrait_image: ImageU8
) -> None:
    np.testing.assert_array_equal(source.image, portrait_image)
    box = source.crop_box
    assert box.left >= 0
    assert box.left + box.size <= WIDTH
    assert box.top + box.size <= HEIGHT
    assert source.face.layers.portrait.shape == (256, 256, 3)
    assert source.layers.portrait.shape == (box.size, box.size, 3)
    assert source.tokens.slots.shape == (1, 4, 16)
    assert source.tokens.identity.shape == (1, 16)
    assert source.tokens.latent.shape == (1, 4, 32, 32)
    assert source.digest == hashlib.sha256(portrait_image.tobytes()).hexdigest()


def test_outputs_have_the_portraits_size_and_its_pixels_outside_the_crop(
    pipeline: Pipeline, source: Source
) -> None:
    outputs, _ = reenacted(pipeline, source, [driver_frame(0), driver_frame(2)])
    box = source.crop_box
    inside = np.zeros((HEIGHT, WIDTH), bool)
    top, left, size = int(box.top), int(box.left), int(box.size)
    inside[top : top + size, left : left + size] = True
    assert not inside.all()
    for output in outputs:
        assert output.image.shape == (HEIGHT, WIDTH, 3)
        assert output.mask.shape == (HEIGHT, WIDTH)
        assert set(np.unique(output.mask)) == {0, 255}
        assert output.mask[~inside].max() == 0
        np.testing.assert_array_equal(output.image[~inside], source.image[~inside])
        assert output.mask[inside].mean() > 60


def test_pixels_that_the_mask_leaves_out_are_nearly_the_portraits(
    pipeline: Pipeline, source: Source
) -> None:
    (output,), _ = reenacted(pipeline, source, [driver_frame(1)])
    change = np.abs(output.image.astype(int) - source.image).max(-1)
    assert change[output.mask == 0].max() <= 12
    assert change[output.mask == 255].mean() > 3


def test_the_same_seed_gives_the_same_frames_and_another_seed_others(
    pipeline: Pipeline, source: Source
) -> None:
    frames = [driver_frame(0), driver_frame(1)]
    first, _ = reenacted(pipeline, source, frames, Controls(seed=3))
    again, _ = reenacted(pipeline, source, frames, Controls(seed=3))
    other, _ = reenacted(pipeline, source, frames, Controls(seed=4))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.mask, two.mask)
    assert (first[1].image != other[1].image).any()


def test_a_driver_that_stands_still_gives_a_still_picture(
    pipeline: Pipeline, source: Source
) -> None:
    outputs, _ = reenacted(pipeline, source, [driver_frame(0)] * 3)
    np.testing.assert_array_equal(outputs[1].image, outputs[0].image)
    np.testing.assert_array_equal(outputs[2].image, outputs[0].image)


def test_more_steps_give_another_picture(pipeline: Pipeline, source: Source) -> None:
    one, _ = reenacted(pipeline, source, [driver_frame(0)])
    four, _ = reenacted(pipeline, source, [driver_frame(0)], Controls(num_steps=4))
    assert (one[0].image != four[0].image).any()


def test_the_drivers_own_pixels_never_reach_the_output(pipeline: Pipeline, source: Source) -> None:
    numbers = [0, 2, 9]
    dark, _ = reenacted(pipeline, source, [driver_frame(n, colour=10) for n in numbers])
    bright, _ = reenacted(pipeline, source, [driver_frame(n, colour=250) for n in numbers])
    for one, other in zip(dark, bright, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_skipping_a_frame_leaves_the_state_that_reenacting_leaves(
    pipeline: Pipeline, source: Source
) -> None:
    state = skipped = pipeline.open_stream(source, CONTROLS)
    for number in (9, 0, 2, 9, 3):
        frame = driver_frame(number)
        _, state = pipeline.reenact(frame, source, state, CONTROLS)
        skipped = pipeline.skip(frame, source, skipped, CONTROLS)
        assert_same(state, skipped)


def test_frames_do_not_depend_on_the_stream_that_ran_before(
    pipeline: Pipeline, source: Source
) -> None:
    alone, _ = reenacted(pipeline, source, [driver_frame(0), driver_frame(2)])
    reenacted(pipeline, source, [driver_frame(3)])
    again, _ = reenacted(pipeline, source, [driver_frame(0), driver_frame(2)])
    np.testing.assert_array_equal(alone[1].image, again[1].image)


def test_a_frame_without_a_face_holds_and_later_fades_back(
    pipeline: Pipeline, source: Source
) -> None:
    outputs, state = reenacted(pipeline, source, [driver_frame(n) for n in (0, 2, 9)])
    assert [output.is_tracked for output in outputs] == [True, True, False]
    np.testing.assert_array_equal(outputs[2].image, outputs[1].image)
    for _ in range(HOLD_FRAMES + FADE_FRAMES):
        state = pipeline.skip(driver_frame(9), source, state, CONTROLS)
    faded, state = pipeline.reenact(driver_frame(9), source, state, CONTROLS)
    at_rest, _ = reenacted(pipeline, source, [driver_frame(9)])
    assert np.abs(faded.image.astype(int) - at_rest[0].image).max() <= 3
    found, _ = pipeline.reenact(driver_frame(2), source, state, CONTROLS)
    assert found.is_tracked


def test_a_portrait_of_several_faces_needs_the_number_of_one(
    pipeline: Pipeline, portrait_image: ImageU8, portrait_points: Points3
) -> None:
    aside = (portrait_points - np.float32([60, 0, 0])).astype(np.float32)
    tracker = ScriptedTracker(faces=[aside, portrait_points], script={})
    crowd = Pipeline(
        config=pipeline.config,
        rig=pipeline.rig,
        generator=pipeline._generator,
        tracker=tracker,
        segmenter=pipeline._segmenter,
    )
    with pytest.raises(SeveralFacesError, match="2 faces found: pick one"):
        crowd.encode_source(portrait_image)
    left, right = (crowd.encode_source(portrait_image, face=n) for n in (1, 2))
    assert left.crop_box.left < right.crop_box.left or left.crop_box == right.crop_box
    with pytest.raises(FaceNotFoundError, match="face 3 asked for"):
        crowd.encode_source(portrait_image, face=3)


def test_a_portrait_without_a_face_is_refused(pipeline: Pipeline, portrait_image: ImageU8) -> None:
    empty = Pipeline(
        config=pipeline.config,
        rig=pipeline.rig,
        generator=pipeline._generator,
        tracker=ScriptedTracker(faces=[], script={}),
        segmenter=pipeline._segmenter,
    )
    with pytest.raises(FaceNotFoundError, match="no face found"):
        empty.encode_source(portrait_image)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"motion": "sideways"}, "motion is 'sideways'; expected 'relative' or 'absolute'"),
        ({"strength": -0.1}, "strength is -0.1; expected 0 to 2"),
        ({"strength": 2.5}, "strength is 2.5; expected 0 to 2"),
        ({"num_steps": 0}, "num_steps is 0; expected 1 or more"),
    ],
)
def test_controls_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Controls(**changes)  # type: ignore[arg-type]


def test_what_networks_leave_alone_keeps_the_portraits_own_resolution(
    make: Callable[[Generator], Pipeline],
    model_folder: Path,
    config: ModelConfig,
    portrait_image: ImageU8,
) -> None:
    networks = load_networks(model_folder, config, {})
    with torch.no_grad():  # alpha is the last of the decoder's four channels, unfolded by 4 x 4
        networks["decoder"].leave.bias[48:] = -40.0  # type: ignore[union-attr,operator]
    pipeline = make(Generator(config, networks, placement=Placement(runtime="eager")))
    source = pipeline.encode_source(portrait_image)
    (output,), _ = reenacted(pipeline, source, [driver_frame(0)])
    points = source.face.fitted.parameters.translation * source.crop_box.size / 256
    x, y = (points + np.float32([source.crop_box.left, source.crop_box.top])).astype(int)
    nose = (slice(y - 60, y + 20), slice(x - 50, x + 50))
    exact = np.abs(output.image[nose].astype(int) - portrait_image[nose]).mean()
    size = int(source.crop_box.size)
    small = cv2.resize(portrait_image, None, fx=256 / size, fy=256 / size)
    blurred = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    assert exact < 0.5 * np.abs(blurred[nose].astype(int) - portrait_image[nose]).mean()


def test_a_condition_is_generated_and_a_true_crop_reconstructed_at_the_models_size(
    pipeline: Pipeline, source: Source
) -> None:
    start = pipeline.open_stream(source, CONTROLS)
    condition, _ = pipeline.condition(driver_frame(0), source, start, CONTROLS)
    generated = pipeline.generate(condition, source, CONTROLS)
    assert generated.shape == (256, 256, 3)
    own = pipeline.reconstruct(source.face.layers.portrait, condition, source)
    grey = pipeline.reconstruct(np.full((256, 256, 3), 99, np.uint8), condition, source)
    assert own.shape == (256, 256, 3)
    assert (own != grey).any()


def test_an_edit_fades_out_at_borders_that_cut_the_portrait(
    pipeline: Pipeline, source: Source
) -> None:
    (output,), _ = reenacted(pipeline, source, [driver_frame(0)])
    box = source.crop_box
    assert box.left > 0
    row = int(box.top + box.size / 2)
    change = np.abs(output.image[row].astype(int) - source.image[row]).max(-1)
    left = int(box.left)
    assert change[left] <= 12
    assert change[left : left + 4].mean() < change[left + 30 : left + 90].mean() + 4


def test_a_square_portrait_that_is_its_own_crop_needs_no_second_composition(
    pipeline: Pipeline, source: Source, make: Callable[[Generator], Pipeline], generator: Generator
) -> None:
    crop = source.face.layers.portrait
    points = source.crop_box.to_crop(pipeline._tracker.find_faces(crop)[0], 256)
    small = Pipeline(
        config=pipeline.config,
        rig=pipeline.rig,
        generator=generator,
        tracker=replace(pipeline._tracker, faces=[points]),  # type: ignore[type-var]
        segmenter=pipeline._segmenter,
    )
    whole = small.encode_source(crop)
    assert whole.crop_box == CropBox(left=0, top=0, size=256)
    assert whole.layers is whole.face.layers
    state = small.open_stream(whole, CONTROLS)
    condition, _ = small.condition(driver_frame(9), whole, state, CONTROLS)
    output, _ = small.reenact(driver_frame(9), whole, state, CONTROLS)
    generated = small.generate(condition, whole, CONTROLS)
    x, y = whole.face.fitted.parameters.translation.astype(int)
    face = (slice(y - 30, y + 30), slice(x - 30, x + 30))
    np.testing.assert_allclose(output.image[face].astype(int), generated[face], atol=1)
