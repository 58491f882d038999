"""Slots shown over a picture: their colours, their motion, their names."""

from dataclasses import replace

import numpy as np
import torch

from difffae.controls import Controls
from difffae.face.crop import CropBox
from difffae.face.renderer import Condition
from difffae.pipeline import Pipeline, Source
from difffae.slot_overlay import SlotView, show_slots, slot_colour
from plain_warp import plain_warp
from scripted_pipeline import CONTROLS

SIDE, CROP = 256, CropBox(left=32, top=16, size=128)
NAMES = ("face", "hair", "clothes", "background")
GREY = np.full((160, 192, 3), 100, np.uint8)


def halves() -> torch.Tensor:
    """Slot 0 on the left of the crop, slot 2 on its right."""
    masks = torch.zeros(1, 4, 32, 32)
    masks[:, 0, :, :16] = 1
    masks[:, 2, :, 16:] = 1
    return masks


def condition(shift: float = 0.0) -> Condition:
    """Everything is read from so far to the right [px of the crop at 256]."""
    rows, columns = np.indices((SIDE, SIDE), np.float32)
    none = np.zeros((SIDE, SIDE), np.float32)
    positions = np.stack([columns + np.float32(shift), rows], -1)
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    return Condition(
        composite=picture,
        face_mask=none,
        inside_mask=none,
        person_mask=none,
        warp=plain_warp(positions),
    )


def view(names: tuple[str, ...] = NAMES) -> SlotView:
    return SlotView(masks=halves(), names=names, box=CROP)


def tinted(slot: int) -> np.ndarray:
    return (100 + np.array(slot_colour(slot), float)) / 2


def test_the_crop_is_tinted_by_its_slots_and_nothing_around_it() -> None:
    shown = show_slots(GREY, view(), condition())
    np.testing.assert_allclose(shown[60, 60], tinted(0), atol=1)
    np.testing.assert_allclose(shown[60, 140], tinted(2), atol=1)
    np.testing.assert_array_equal(shown[:16], GREY[:16])
    np.testing.assert_array_equal(shown[:80, 161:], GREY[:80, 161:])
    assert (GREY == 100).all()


def test_masks_go_where_the_portrait_goes() -> None:
    moved = show_slots(GREY, view(), condition(shift=-64))  # a quarter of the crop to the right
    np.testing.assert_allclose(moved[60, 110], tinted(0), atol=1)
    np.testing.assert_allclose(moved[60, 140], tinted(2), atol=1)
    still = show_slots(GREY, view(), replace(condition(shift=-64), warp=None))
    np.testing.assert_allclose(still[60, 110], tinted(2), atol=1)


def test_the_legend_has_each_slots_colour_and_slots_without_names_are_numbered() -> None:
    named, numbered = (show_slots(GREY, view(names), condition()) for names in (NAMES, ()))
    for slot in range(4):
        assert (named[80:, :60] == slot_colour(slot)).all(-1).any()
    assert (named != numbered).any()
    assert len({slot_colour(slot) for slot in range(12)}) == 12


def test_a_result_is_tinted_where_it_is_asked_for(pipeline: Pipeline, source: Source) -> None:
    plain = pipeline.still(source, CONTROLS)
    shown = pipeline.still(source, Controls(shows_slots=True))
    box = source.crop_box
    outside = np.ones(plain.mask.shape, bool)
    outside[round(box.top) :, round(box.left) : round(box.left + box.size)] = False
    outside[plain.mask.shape[0] // 2 :] = False  # where the legend is
    np.testing.assert_array_equal(shown.image[outside], plain.image[outside])
    assert (shown.image != plain.image).any(-1)[~outside].mean() > 0.5
    np.testing.assert_array_equal(shown.mask, plain.mask)
