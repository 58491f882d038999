"""Who else is in the picture: the person followed so far is told from the others.

There is no look at who somebody is, only at where: a face moves on from its last place, at most so
fast, and keeps about its size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from difffae.arrays import Points3
from difffae.face.crop import CropBox, box_around

MEMORY_FRAMES = 75  # a lost person is waited for so long; then the largest face is followed
_REACH = 1.0  # how far a face may move between two frames, in its own sizes,
_REACH_GROWTH = 0.1  # and how much further for each frame in which it was not seen
_ALIKE = 2.0  # a face's sizes are within this factor
_COMPARABLE = 0.5  # a face so much smaller than the followed one is not worth a word
_MESH_TO_BOX = 0.8  # a detector's box is so much smaller than the mesh of the same face
_LOOKS_KEPT = 2  # one look that misses the others does not yet make the person alone


@dataclass(frozen=True, kw_only=True)
class Company:
    """The other people in the picture.

    Attributes:
        others: their faces' boxes, as last seen.
        num_missed: looks since that did not find them.
    """

    others: tuple[CropBox, ...] = ()
    num_missed: int = 0

    def after(self, boxes: Sequence[CropBox], points: Points3) -> "Company":
        """The company after a look at a picture.

        Args:
            boxes: of all faces that a detector finds in it.
            points: the mesh of the followed one.
        """
        own = box_around(points, factor=1.0)
        mine = [box for box in boxes if _distance(box, own) < own.size / 2]
        size = max((box.size for box in mine), default=own.size * _MESH_TO_BOX)
        others = tuple(box for box in boxes if box not in mine and box.size >= _COMPARABLE * size)
        if others or self.num_missed + 1 >= _LOOKS_KEPT:
            return Company(others=others)
        return replace(self, num_missed=self.num_missed + 1) if self.others else self


def is_same_person(
    found: Points3, previous: Points3 | None, company: Company, num_lost: int
) -> bool:
    """Whether a face found can be the one seen before.

    Args:
        found: its mesh points.
        previous: those of the person when last seen; None where anyone will do.
        company: the others; a face where one of them was is taken for theirs.
        num_lost: frames since the person was last seen.
    """
    if previous is None:
        return True
    now, before = box_around(found, factor=1.0), box_around(previous, factor=1.0)
    reach = (_REACH + _REACH_GROWTH * num_lost) * before.size
    moved = _distance(now, before)
    if moved > reach or not 1 / _ALIKE < now.size / before.size < _ALIKE:
        return False
    return num_lost == 0 or all(
        moved < _distance(now, other) and _distance(now, other) > other.size / 2
        for other in company.others
    )


def _distance(one: CropBox, other: CropBox) -> float:
    half = (one.size - other.size) / 2
    return float(np.hypot(one.left - other.left + half, one.top - other.top + half))
