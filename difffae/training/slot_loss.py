"""What slots are learned by (RSC, paper section 4.3): pictures of pairs in, a loss out."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from difffae.arrays import Images, SlotMasks, Slots
from difffae.metrics.slots import slot_figures
from difffae.model.region_encoder import BroadcastDecoder, SlotLearningConfig, merge_pictures


@dataclass(frozen=True, kw_only=True)
class Parted:
    """Pictures taken apart: sources first, then as many drivers of the same people, in order."""

    images: Images
    slots: Slots
    masks: SlotMasks


class SlotLoss:
    """Squared error of the slots' merged pictures, and what keeps the slots apart.

    Without any option of `SlotLearningConfig` this is the paper's loss alone.
    """

    def __init__(self, config: SlotLearningConfig) -> None:
        """Keep the weights."""
        self._config = config

    def __call__(
        self, decoder: BroadcastDecoder, parted: Parted, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and its parts to log."""
        config, masks = self._config, parted.masks.float()
        pictures, painted_masks = decoder(parted.slots)
        merging = masks if config.merge == "attention" else painted_masks
        wanted = F.interpolate(parted.images, size=pictures.shape[-2:], mode="area")
        error = F.mse_loss(merge_pictures(pictures, merging), wanted)
        loss, parts = error, {"reconstruction": error.detach()}
        if config.exchange:
            exchanged = merge_pictures(torch.cat(pictures.chunk(2)[::-1]), merging)
            parts["exchange"] = F.mse_loss(exchanged, wanted)
            loss = loss + config.exchange * parts["exchange"]
        ramp = min(1.0, (step + 1) / config.ramp_steps) if config.ramp_steps else 1.0
        for weight, name, measure in (
            (ramp * config.entropy, "entropy", pixel_entropy),
            (ramp * config.boundary, "boundary", boundary_length),
            (config.usage, "usage", uneven_usage),
        ):
            if weight:
                parts[name] = measure(masks)
                loss = loss + weight * parts[name]
        return loss, {name: part.detach() for name, part in parts.items()}


def pixel_entropy(masks: SlotMasks) -> Tensor:
    """Mean entropy of a pixel's slots [nat]: 0 where each pixel belongs to one slot."""
    return -(masks * masks.clamp_min(1e-6).log()).sum(1).mean()


def boundary_length(masks: SlotMasks) -> Tensor:
    """Total variation of the masks, mean over pixels: twice the share of pixels at a border."""
    down = (masks[:, :, 1:] - masks[:, :, :-1]).abs().sum(1).mean()
    across = (masks[..., 1:] - masks[..., :-1]).abs().sum(1).mean()
    return down + across


def uneven_usage(masks: SlotMasks) -> Tensor:
    """How far the slots' shares of all pixels are from even: KL divergence [nat], 0 where even."""
    shares = masks.mean((0, 2, 3))
    return (shares * (shares * len(shares)).clamp_min(1e-9).log()).sum()


def slot_metrics(source: SlotMasks, driver: SlotMasks) -> dict[str, Tensor]:
    """What a stage logs of its slots; nothing where there is one global token."""
    if source.shape[1] == 1:
        return {}
    figures = slot_figures(source, driver)
    named = {
        "slot_same_iou": figures.same_iou,
        "slot_other_iou": figures.other_iou,
        "slot_largest": figures.largest_share,
        "slot_live": figures.num_live,
        "slot_certainty": figures.certainty,
    }
    return {name: torch.tensor(float(value)) for name, value in named.items()}
