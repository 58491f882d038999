"""What surrounds a source's face, exchanged: background, hair, clothes (paper appendix G).

A swap is made once for a source. By pixels, it exchanges both what the networks are told of a
region, its slot token, and what the moved portrait is made of there. By tokens, as in the paper, it
exchanges the token alone; the networks then see nothing of the region, in no frame.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from difffae.arrays import ImageU8, MaskF32
from difffae.face.dressing import Person, dress, mix
from difffae.face.parameters import matrix
from difffae.face.person_parts import take_parts
from difffae.face.scene import Scene, before, cover, take_scene
from difffae.hidden import HiddenRegions, regions_of
from difffae.paste_back import border_weight
from difffae.pipeline import Pipeline, Source

MAX_BLUR_PX = 100.0
MAX_APART_DEG = 40.0  # how far apart heads may look that exchange hair
_KEPT_SCENES = 8
_SHRUNKEN_SPREAD_PX = 4.0  # of a blur after shrinking: what is lost by that is far below it

Way = Literal["pixels", "tokens"]
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class SwapError(ValueError):
    """A swap that cannot be made: with this model, or between these two heads."""


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
        hair: with what is worn on the head.
        clothes: what is worn below the chin.
        way: how a donor's region comes: "pixels" lays the donor's own hair, clothes or background
            into the portrait and exchanges the slot token too; "tokens" exchanges the token alone
            and hides the region from the networks, as in the paper.
    """

    background: ImageU8 | Colour | Blur | Exchange | None = None
    hair: Exchange | None = None
    clothes: Exchange | None = None
    way: Way = "pixels"

    @property
    def exchanges(self) -> dict[str, Exchange]:
        """What comes from donors, by region."""
        named = {"hair": self.hair, "clothes": self.clothes, "background": self.background}
        return {name: one for name, one in named.items() if isinstance(one, Exchange)}

    @property
    def is_empty(self) -> bool:
        """Whether it leaves a source as it is."""
        return self.background is None and self.hair is None and self.clothes is None


class SceneryEditor:
    """Dresses sources; what it found out about the last pictures it keeps.

    Args:
        pipeline: of this thread.
        is_measuring: exchange tokens alone of all regions, also of those that they do not tell of.
    """

    def __init__(self, pipeline: Pipeline, *, is_measuring: bool = False) -> None:
        encoder = pipeline.config.region_encoder
        self._pipeline = pipeline
        self._regions = encoder.regions
        self._told = encoder.regions if is_measuring else encoder.told
        self._people: OrderedDict[str, Person] = OrderedDict()
        self._scenes: OrderedDict[tuple[str, ...], Scene] = OrderedDict()

    def edit(self, source: Source, scenery: Scenery) -> Source:
        """The source with parts of its scenery exchanged: use it as any other.

        Args:
            source: as `Pipeline.encode_source` gives it, not edited before.
            scenery: what to exchange.

        Raises:
            SwapError: hair, clothes or tokens are to be exchanged, and the model does not say
                which of its slots they are, or that tokens alone tell of them; or the head whose
                hair is wanted is seen from another side.
        """
        if scenery.is_empty:
            return source
        self._check(scenery)
        if scenery.way == "tokens":
            return self._by_tokens(source, scenery)
        person = self._person(source)
        scene = self._worn(source, person, scenery)
        if scenery.background is not None:
            scene = before(scene, self._plate(person.scene, scenery.background))
        made = self._pipeline.redress(source, scene)
        return self._exchanged(made, source, scenery) if self._regions else made

    def _check(self, scenery: Scenery) -> None:
        """Refuse what the model's slots cannot mean."""
        needed = [name for name in scenery.exchanges if name != "background"]
        if scenery.way == "tokens":
            needed = list(scenery.exchanges)
        missing = [name for name in needed if name not in self._regions]
        if missing:
            raise SwapError(
                f"the {missing[0]} cannot be swapped: this model's slots are not regions, for "
                "region_encoder.regions in its config.yaml does not name it; use a model whose "
                "slots were taught regions"
            )
        untold = [name for name in needed if name not in self._told]
        if scenery.way == "tokens" and untold:
            raise SwapError(
                f"the {untold[0]} cannot be swapped by tokens: those of this model tell too little "
                "of it (region_encoder.told in its config.yaml); swap by pixels"
            )

    def _by_tokens(self, source: Source, scenery: Scenery) -> Source:
        """By tokens: what a donor gives is hidden, and the donor's token tells of it."""
        made = source
        if scenery.background is not None and not isinstance(scenery.background, Exchange):
            scene = self._person(source).scene
            scene = before(scene, self._plate(scene, scenery.background))
            made = self._pipeline.redress(source, scene)
        if not scenery.exchanges:
            return made
        hidden = HiddenRegions(
            slots=tuple(self._regions.index(name) for name in scenery.exchanges),
            planes=regions_of(made.face.layers.person, source.points),
            mask_size=made.tokens.slot_masks.shape[-1],
        )
        return self._exchanged(self._pipeline.hide(made, hidden), source, scenery)

    def _exchanged(self, made: Source, source: Source, scenery: Scenery) -> Source:
        """With the donors' slot tokens, or what lies between them and the source's own."""
        slots = made.tokens.slots.clone()
        for name, exchange in scenery.exchanges.items():
            k, own = self._regions.index(name), source.tokens.slots
            slots[:, k] = torch.lerp(own[:, k], exchange.donor.tokens.slots[:, k], exchange.amount)
        return replace(made, tokens=replace(made.tokens, slots=slots))

    def _worn(self, source: Source, person: Person, scenery: Scenery) -> Scene:
        """The person in the donors' hair and clothes, as far as the amounts go."""
        hair, clothes = scenery.hair, scenery.clothes
        of_hair = 0.0 if hair is None else hair.amount
        of_clothes = 0.0 if clothes is None else clothes.amount
        mixed: list[tuple[Scene, float]] = []
        for has_hair, first in ((True, of_hair), (False, 1 - of_hair)):
            for has_clothes, second in ((True, of_clothes), (False, 1 - of_clothes)):
                if first * second > 0:
                    given = (hair if has_hair else None, clothes if has_clothes else None)
                    mixed.append((self._dressed(source, person, *given), first * second))
        return mixed[0][0] if len(mixed) == 1 else mix(mixed)

    def _dressed(
        self, source: Source, person: Person, hair: Exchange | None, clothes: Exchange | None
    ) -> Scene:
        """The person in all of the donors' hair and clothes; asked for again, not made again."""
        donors = [None if one is None else one.donor for one in (hair, clothes)]
        if all(donor is None for donor in donors):
            return person.scene
        key = tuple("" if one is None else _face_of(one) for one in (source, *donors))
        scene = self._scenes.pop(key, None)
        if scene is None:
            of_hair, of_clothes = (None if one is None else self._person(one) for one in donors)
            if of_hair is not None:
                _check_sides(person, of_hair)
            scene = dress(person, hair=of_hair, clothes=of_clothes)
        _keep(self._scenes, key, scene)
        return scene

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
            theirs = cover(self._person(background.donor).scene.plate, height, width)
            share = background.amount
            return np.asarray(cv2.addWeighted(theirs, share, scene.plate, 1 - share, 0), np.uint8)
        return cover(background, height, width)

    def _person(self, source: Source) -> Person:
        """The source's picture taken apart; asked for again, it is not taken apart again."""
        key = _face_of(source)
        person = self._people.pop(key, None) or self._taken_apart(source)
        _keep(self._people, key, person)
        return person

    def _taken_apart(self, source: Source) -> Person:
        size, box = self._pipeline.config.image_size, source.crop_box
        scene = take_scene(source.image, self._segmentation(source))
        return Person(
            scene=scene,
            parts=take_parts(scene.picture, scene.matte, box.to_picture(source.points, size)),
            box=box,
            points=source.points,
            face=source.face.fitted.parameters,
            size=size,
        )

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


def _check_sides(person: Person, donor: Person) -> None:
    """Refuse hair that is seen from another side: what is to be shown of it, nobody has seen."""
    ahead = [matrix(one.face.rotation)[:, 2] for one in (person, donor)]
    apart = float(np.degrees(np.arccos(np.clip(ahead[0] @ ahead[1], -1, 1))))
    if apart > MAX_APART_DEG:
        raise SwapError(
            f"the hair cannot be swapped: both heads look {apart:.0f} degrees apart, expected "
            f"up to {MAX_APART_DEG:g}; use a picture whose head looks the same way"
        )


def _face_of(source: Source) -> str:
    """Which face of which picture it is."""
    return f"{source.digest} {source.crop_box}"


def _keep(kept: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Put a value in as the newest, and the oldest out where there are too many."""
    kept[key] = value
    while len(kept) > _KEPT_SCENES:
        kept.popitem(last=False)


def _out_of_focus(picture: ImageU8, spread: float) -> NDArray[np.uint8]:
    """Blurred by a standard deviation [px]; a wide blur is done small, many times as fast."""
    height, width = picture.shape[:2]
    factor = max(1.0, spread / _SHRUNKEN_SPREAD_PX)
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), max(spread / factor, 1e-3))
    return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
