"""A region taken out of what the networks are shown, so that its slot's token alone tells of it.

Training hides regions so that tokens learn to carry them (lite.md section 5); a swap hides the
region that another portrait's token is to fill. Both must hide alike, so both do it here.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from difffae.arrays import Alphas, Images, SlotMasks

FACE_SLOT = 0  # of slots that are supervised: never hidden along with its neighbour
UNKNOWN = 0.5  # of the person's mask where a region is hidden
_PERSON = 2  # among the masks of a condition: face, inside of eyes and mouth, person

Chosen = Int[Tensor, " b"]


def hidden_area(masks: SlotMasks, slot: Chosen, growth: Chosen, size: int) -> Alphas:
    """Where a slot's region is hidden: 1 there, 0 elsewhere.

    Args:
        masks: of supervised slots; each pixel counts as its largest slot's.
        slot: the slot that is hidden in each picture.
        growth: by how many of the masks' pixels the region is enlarged, never into the face: less
            of it shows at its border.
        size: side of the area [px].
    """
    owner = masks.argmax(1, keepdim=True)
    face = owner == FACE_SLOT
    area = (owner == slot[:, None, None, None]).float()
    for step in range(int(growth.max()) if len(growth) else 0):
        grown = F.max_pool2d(area, 3, stride=1, padding=1)
        area = torch.where((growth > step)[:, None, None, None], grown, area)
    spared = (slot != FACE_SLOT)[:, None, None, None] & face
    return F.interpolate(area * ~spared, size=(size, size), mode="nearest")


def hide_picture(image: Images, area: Alphas) -> Images:
    """A picture in [-1, 1] that is grey where it is hidden."""
    return image * (1 - area)


def hide_person(
    masks: Float[Tensor, "b 3 h w"], area: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """A condition's masks in [0, 1] that do not say whether a person is where it is hidden."""
    shown = masks[:, _PERSON:] * (1 - area) + UNKNOWN * area
    return torch.cat([masks[:, :_PERSON], shown], 1)
