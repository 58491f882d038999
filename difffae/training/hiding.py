"""Regions hidden on a share of the samples, so that there the slots alone can tell of them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from difffae.face.portrait_regions import FACE, REGION_NAMES
from difffae.model.hiding import hidden_area, hide_person, hide_picture

DRAWS = 3  # standard normal numbers for a sample: whether, which region, how much more than it
_MOST_GROWTH = 3  # of a region, in pixels of the masks; at least one


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """Which samples of a batch have a region hidden, which one, and how much it is enlarged."""

    rows: Tensor
    slot: Tensor
    growth: Tensor


class RegionHider:
    """Hides a region of a batch's condition and source, as a swap of tokens does.

    The face is never hidden: its token is nobody's to exchange.
    """

    def __init__(self, share: float, encoder: nn.Module) -> None:
        """Keep the share of samples, and the frozen encoder that makes latents of what is left."""
        self._share = share
        self._encoder = encoder

    @torch.no_grad()
    def __call__(self, batch: dict[str, Tensor], drawn: Tensor) -> dict[str, Tensor]:
        """The batch with its hidden pictures, masks and latents in place of the whole ones.

        Args:
            batch: `composite_whole`, `source_whole` in [-1, 1], their regions, the latents and
                masks, and, of the first samples, what the decoder sees.
            drawn: (b, 3) standard normal numbers.
        """
        choice = _choose(drawn, self._share)
        if not len(choice.rows):
            return batch
        hidden = {name: tensor.clone() for name, tensor in batch.items()}
        for name in ("composite", "source"):
            area, left = _hidden(batch[f"{name}_whole"], batch[f"{name}_regions"], choice)
            latents = hidden[f"{name}_latent"]
            latents[choice.rows] = self._encoder(left).to(latents)
            if name == "composite":
                _hide_condition(hidden, choice.rows, left, area)
        return hidden


def hide_composites(
    batch: dict[str, Tensor], regions: Tensor, drawn: Tensor, share: float
) -> dict[str, Tensor]:
    """Composites and masks (in [0, 1]) of a batch, a region of a share of them hidden."""
    choice = _choose(drawn, share)
    composite, masks = batch["composite"].clone(), batch["masks"].clone()
    if len(choice.rows):
        area, left = _hidden(composite, regions, choice)
        composite[choice.rows] = left
        masks[choice.rows] = hide_person(masks[choice.rows], area)
    return {"composite": composite, "masks": masks}


def _choose(drawn: Tensor, share: float) -> _Choice:
    chance = torch.special.ndtr(drawn)
    rows = torch.nonzero(chance[:, 0] < share).flatten()
    others = [k for k in range(len(REGION_NAMES)) if k != FACE]
    place = (chance[rows, 1] * len(others)).long().clamp(max=len(others) - 1)
    growth = 1 + (chance[rows, 2] * _MOST_GROWTH).long().clamp(max=_MOST_GROWTH - 1)
    return _Choice(rows=rows, slot=torch.tensor(others, device=rows.device)[place], growth=growth)


def _hidden(whole: Tensor, regions: Tensor, choice: _Choice) -> tuple[Tensor, Tensor]:
    """Where the chosen pictures are hidden, and what is left of them."""
    rows, size = choice.rows, whole.shape[-1]
    area = hidden_area(regions[rows], choice.slot, choice.growth, size)
    return area, hide_picture(whole[rows], area)


def _hide_condition(hidden: dict[str, Tensor], rows: Tensor, left: Tensor, area: Tensor) -> None:
    """Put what is left of the composites, and masks that keep quiet about the rest, in a batch."""
    masks = hidden["masks"]
    small = F.interpolate(area, size=masks.shape[-2:], mode="area")
    masks[rows] = hide_person(masks[rows], small)
    if "composite_image" not in hidden:
        return
    is_seen = rows < len(hidden["composite_image"])
    seen = rows[is_seen]
    hidden["composite_image"][seen] = left[is_seen]
    shown = (hidden["masks_image"][seen] + 1) / 2
    hidden["masks_image"][seen] = 2 * hide_person(shown, area[is_seen]) - 1
