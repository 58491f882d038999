"""A source: a portrait encoded once, whatever drives it."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from difffae.arrays import ImageU8, Points3
from difffae.face.crop import CropBox, crop
from difffae.face.identity import align_face, five_points
from difffae.face.layers import Layers
from difffae.face.scene import Scene, scene_layers
from difffae.face.source_face import SourceFace
from difffae.generator import Generator, SourceTokens
from difffae.hidden import HiddenRegions, hide_in_source


@dataclass(frozen=True, kw_only=True)
class Source:
    """Everything of a portrait that does not depend on the driver.

    Attributes:
        image: the portrait as given.
        crop_box: the square of it that is edited.
        points: mesh points of the face, in the crop at the model's size [px].
        face: the crop taken apart, at the model's size.
        layers: the crop's layers at (up to) its own resolution.
        tokens: what the networks keep of it.
        digest: SHA-256 of the portrait's pixels.
        hidden: regions that slot tokens alone tell of, see `difffae.scenery`; None: none.
    """

    image: ImageU8
    crop_box: CropBox
    points: Points3
    face: SourceFace
    layers: Layers
    tokens: SourceTokens
    digest: str
    hidden: HiddenRegions | None = None


def digest_of(image: ImageU8) -> str:
    """SHA-256 of a picture's pixels."""
    return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()


def redress(source: Source, scene: Scene, generator: Generator, size: int) -> Source:
    """The same face in another scene of the portrait's size; identity and light stay.

    Args:
        source: the portrait, encoded.
        scene: what is to be seen instead, the face in its place.
        generator: encodes what is to be seen.
        size: of the model's crops [px].
    """
    box = source.crop_box
    patch = crop(scene.picture, box, size)
    tokens = generator.encode_source(patch, align_face(patch, five_points(source.points)))
    small = scene_layers(scene, box, size, source.layers.skin_colour)
    side = source.layers.portrait.shape[0]
    large = scene_layers(scene, box, side, source.layers.skin_colour)
    return replace(
        source,
        image=scene.picture,
        face=replace(source.face, layers=small),
        layers=small if side == size else large,
        tokens=replace(tokens, identity=source.tokens.identity),
        digest=digest_of(scene.picture),
    )


def hide(source: Source, hidden: HiddenRegions, generator: Generator, size: int) -> Source:
    """The same source with regions that the networks see nothing of.

    Args:
        source: the portrait, encoded.
        hidden: the regions.
        generator: encodes what is left.
        size: of the model's crops [px].
    """
    left = hide_in_source(crop(source.image, source.crop_box, size), hidden)
    tokens = replace(source.tokens, latent=generator.encode_latent(left))
    return replace(source, tokens=tokens, hidden=hidden)
