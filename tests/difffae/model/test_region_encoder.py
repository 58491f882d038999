"""The region-responsive encoder and the decoder it is pretrained with."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from difffae.config import ModelConfig
from difffae.model.region_encoder import (
    BroadcastDecoder,
    RegionEncoder,
    SlotAttention,
    SlotLearningConfig,
    merge_pictures,
    position_grid,
)

Fill = Callable[[nn.Module], nn.Module]


@pytest.mark.parametrize(
    ("name", "side", "slots", "masks"),
    [
        ("tiny", 64, (2, 4, 16), (2, 4, 16, 16)),
        ("lite-256", 128, (2, 4, 96), (2, 4, 32, 32)),
        ("paper-256", 256, (2, 4, 192), (2, 4, 32, 32)),
        ("paper-512", 256, (2, 4, 192), (2, 4, 32, 32)),
    ],
)
def test_a_picture_gives_slots_and_their_masks(
    read_model: Callable[[str], ModelConfig],
    name: str,
    side: int,
    slots: tuple[int, ...],
    masks: tuple[int, ...],
) -> None:
    config = read_model(name)
    assert config.region_size == side
    with torch.device("meta"):
        got = RegionEncoder(config.region_encoder)(torch.empty(2, 3, side, side))
    assert [tensor.shape for tensor in got] == [slots, masks]


def test_the_papers_encoder_has_the_parameters_that_its_tables_give(
    read_model: Callable[[str], ModelConfig],
) -> None:
    with torch.device("meta"):
        encoder = RegionEncoder(read_model("paper-256").region_encoder)
    slot_attention = sum(w.numel() for w in encoder.slot_attention.parameters())
    assert slot_attention == 484_416
    assert sum(w.numel() for w in encoder.parameters()) - slot_attention == 14_315_840


def test_masks_sum_to_one_over_the_slots(tiny: ModelConfig, filled: Fill) -> None:
    encoder = filled(RegionEncoder(tiny.region_encoder))
    _, masks = encoder(torch.rand(3, 3, 64, 64) * 2 - 1)
    torch.testing.assert_close(masks.sum(1), torch.ones(3, 16, 16))
    assert masks.min() >= 0
    assert masks.std() > 1e-3


def test_each_slot_has_its_own_start_so_that_tokens_keep_their_order(
    tiny: ModelConfig, filled: Fill
) -> None:
    attention = filled(SlotAttention(tiny.region_encoder))
    assert isinstance(attention, SlotAttention)
    features = torch.randn(2, tiny.region_encoder.out_channels, 8, 8)
    slots, masks = attention(features)
    again, _ = attention(features)
    assert torch.equal(again, slots)
    with torch.no_grad():
        attention.start.copy_(attention.start.flip(0))
    flipped_slots, flipped_masks = attention(features)
    torch.testing.assert_close(flipped_slots, slots.flip(1))
    torch.testing.assert_close(flipped_masks, masks.flip(1))


def test_a_picture_of_a_batch_does_not_see_the_others(tiny: ModelConfig, filled: Fill) -> None:
    encoder = filled(RegionEncoder(tiny.region_encoder))
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    slots, masks = encoder(pictures)
    torch.testing.assert_close(encoder(pictures[1:]), (slots[1:], masks[1:]))


def test_positions_are_pixel_centres_and_their_opposites() -> None:
    grid = position_grid(2, 4, torch.zeros(1))
    assert grid.shape == (1, 4, 2, 4)
    assert grid[0, 0, :, 0].tolist() == [0.25, 0.75]
    assert grid[0, 1, 0].tolist() == [0.125, 0.375, 0.625, 0.875]
    assert torch.equal(grid[:, 2:], 1 - grid[:, :2])


SMALL = SlotLearningConfig(painter_channels=8, painter_start=4)


def test_the_broadcast_decoder_paints_a_picture_and_a_mask_for_each_slot() -> None:
    decoder = BroadcastDecoder(16, SMALL)
    pictures, masks = decoder(torch.randn(2, 3, 16))
    assert pictures.shape == (2, 3, 3, 16, 16)
    assert masks.shape == (2, 3, 16, 16)
    torch.testing.assert_close(masks.sum(1), torch.ones(2, 16, 16))
    alike, _ = decoder(torch.ones(1, 1, 16).expand(1, 3, 16))
    torch.testing.assert_close(alike[:, 0], alike[:, 2])


def test_a_pointwise_painter_sees_one_place_at_a_time() -> None:
    decoder = BroadcastDecoder(16, replace(SMALL, painter="pointwise"))
    slots = torch.randn(1, 2, 16, requires_grad=True)
    pictures, _ = decoder(slots)
    assert pictures.shape == (1, 2, 3, 4, 4)
    assert max(m.kernel_size[0] for m in decoder.modules() if isinstance(m, nn.Conv2d)) == 1
    (other,) = torch.autograd.grad(pictures[0, 0].sum(), slots)
    assert other[0, 1].abs().max() == 0


def test_pictures_are_merged_by_masks_of_another_size_too() -> None:
    pictures = torch.stack([torch.full((3, 4, 4), 1.0), torch.full((3, 4, 4), -1.0)])[None]
    masks = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]]).repeat(1, 1, 2, 1)
    merged = merge_pictures(pictures, masks)
    wanted = F.interpolate(masks[:, :1] - masks[:, 1:], size=(4, 4), mode="bilinear")
    torch.testing.assert_close(merged, wanted.expand(1, 3, 4, 4))


@pytest.mark.parametrize("num_slots", [2, 4, 8])
def test_there_are_as_many_tokens_as_slots(tiny: ModelConfig, num_slots: int) -> None:
    config = replace(tiny.region_encoder, num_slots=num_slots)
    slots, masks = RegionEncoder(config)(torch.rand(1, 3, 64, 64))
    assert config.num_tokens == slots.shape[1] == masks.shape[1] == num_slots


def test_the_global_token_is_one_token_and_its_mask_is_one(tiny: ModelConfig, filled: Fill) -> None:
    config = replace(tiny.region_encoder, tokens="global")
    encoder = filled(RegionEncoder(config))
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    token, masks = encoder(pictures)
    assert config.num_tokens == 1
    assert token.shape == (2, 1, config.slot_width)
    assert masks.shape[1] == 1
    assert masks.eq(1).all()
    assert (token[0] - token[1]).abs().max() > 1e-3
    assert not [name for name in encoder.state_dict() if name.startswith("slot_attention")]


def test_gradient_reaches_every_weight(tiny: ModelConfig, filled: Fill) -> None:
    encoder = filled(RegionEncoder(tiny.region_encoder))
    decoder = BroadcastDecoder(tiny.region_encoder.slot_width, SMALL)
    slots, masks = encoder(torch.rand(2, 3, 64, 64) * 2 - 1)
    picture = merge_pictures(*decoder(slots))
    (picture.square().mean() + (masks * torch.randn_like(masks)).mean()).backward()
    weights = [*encoder.named_parameters(), *decoder.named_parameters()]
    silent = [name for name, w in weights if w.grad is None or not w.grad.abs().max() > 0]
    assert silent == []
