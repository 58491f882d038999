"""What surrounds a source's face, exchanged: background, hair, clothes (paper section 4.4).

A swap is made once for a source. It exchanges both what the networks are told of a region, its slot
token, and the pixels of it that the moved portrait is made of.
"""

from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from difffae.arrays import ImageU8, MaskF32
from difffae.face.scene import Scene, before, cover, take_scene
from difffae.paste_back import border_weight
from difffae.pipeline import Pipeline, Source

MAX_BLUR_PX = 100.0
_KEPT_SCENES = 8
_SHRUNKEN_SPREAD_PX = 4.0  # of a blur after shrinking: what is lost by that is far below it


@dataclass(frozen=True, kw_only=True)
class Colour:
    """A plain background; each channel 0 to 255."""

    red: int
    green: int
    blue: int

    def __post_init__(self) -> None:
        """Check the channels.

        Raises:
            ValueError: one is out of range.
        """
        if not all(0 <= value <= 255 for value in (self.red, self.green, self.blue)):
            got = (self.red, self.green, self.blue)
            raise ValueError(f"colour is {got}; expected three numbers from 0 to 255")


@dataclass(frozen=True, kw_only=True)
class Blur:
    """The portrait's own background out of focus.

    Attributes:
        radius: standard deviation of the blur in a picture of 720 px a side, 0 to 100 [px].
    """

    radius: float

    def __post_init__(self) -> None:
        """Check the radius.

        Raises:
            ValueError: it is out of range.
        """
        if not 0 <= self.radius <= MAX_BLUR_PX:
            raise ValueError(f"blur is {self.radius}; expected 0 to {MAX_BLUR_PX:g} pixels")


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A region taken from another portrait.

    Attributes:
        donor: whose it is.
        amount: 0 leaves the source's own, 1 is all the donor's.
    """

    donor: Source
    amount: float = 1.0

    def __post_init__(self) -> None:
        """Check the amount.

        Raises:
            ValueError: it is out of range.
        """
        if not 0 <= self.amount <= 1:
            raise ValueError(f"amount is {self.amount}; expected 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Scenery:
    """What to exchange; None leaves the source's own.

    Attributes:
        background: a picture, which covers all behind the person; a colour; a blur; a donor's.
        hair: the hair with the rest of the head around the face.
        clothes: all below the chin.
    """

    background: ImageU8 | Colour | Blur | Exchange | None = None
    hair: Exchange | None = None
    clothes: Exchange | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it leaves a source as it is."""
        return self.background is None and self.hair is None and self.clothes is None


class SceneryEditor:
    """Dresses sources; what it found out about the last pictures it keeps.

    Args:
        pipeline: of this thread.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._scenes: OrderedDict[str, Scene] = OrderedDict()

    def edit(self, source: Source, scenery: Scenery) -> Source:
        """The source with parts of its scenery exchanged: use it as any other.

        Args:
            source: as `Pipeline.encode_source` gives it, not edited before.
            scenery: what to exchange.
        """
        if scenery.is_empty:
            return source
        scene = self._scene(source)
        if scenery.background is not None:
            scene = before(scene, self._plate(scene, scenery.background))
        return self._pipeline.redress(source, scene)

    def _plate(
        self, scene: Scene, background: ImageU8 | Colour | Blur | Exchange
    ) -> NDArray[np.uint8]:
        height, width = scene.matte.shape
        if isinstance(background, Colour):
            plain = np.array([background.red, background.green, background.blue], np.uint8)
            return np.broadcast_to(plain, (height, width, 3)).copy()
        if isinstance(background, Blur):
            return _out_of_focus(scene.plate, background.radius * max(height, width) / 720)
        if isinstance(background, Exchange):
            theirs = cover(self._scene(background.donor).plate, height, width)
            share = background.amount
            return np.asarray(cv2.addWeighted(theirs, share, scene.plate, 1 - share, 0), np.uint8)
        return cover(background, height, width)

    def _scene(self, source: Source) -> Scene:
        """The source's picture taken apart; asked for again, it is not taken apart again."""
        known = self._scenes.pop(source.digest, None)
        scene = known or take_scene(source.image, self._segmentation(source))
        self._scenes[source.digest] = scene
        while len(self._scenes) > _KEPT_SCENES:
            self._scenes.popitem(last=False)
        return scene

    def _segmentation(self, source: Source) -> MaskF32:
        """The person in the whole picture; in the crop, where it was looked for from nearer by."""
        whole, box = self._pipeline.segment(source.image), source.crop_box
        size = round(box.size)
        nearer = cv2.resize(source.face.layers.person, (size, size))
        rows = slice(round(box.top), round(box.top) + size)
        columns = slice(round(box.left), round(box.left) + size)
        weight = border_weight(box, *whole.shape)
        mixed = whole.copy()
        mixed[rows, columns] = weight * nearer + (1 - weight) * whole[rows, columns]
        return np.clip(mixed, 0, 1).astype(np.float32)


def _out_of_focus(picture: ImageU8, spread: float) -> NDArray[np.uint8]:
    """Blurred by a standard deviation [px]; a wide blur is done small, many times as fast."""
    height, width = picture.shape[:2]
    factor = max(1.0, spread / _SHRUNKEN_SPREAD_PX)
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), max(spread / factor, 1e-3))
    return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
