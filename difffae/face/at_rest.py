"""What the portrait alone says of a face, for every frame that it is rendered in."""

from dataclasses import dataclass

import numpy as np

from difffae.arrays import Lighting, Normals, Points3
from difffae.face.eyes import USUAL_WHITE, White, seen_white
from difffae.face.facemesh import EYE_RINGS, FaceMeshModel
from difffae.face.layers import Layers
from difffae.face.lids import SkinBeside, lid_colours, skin_beside
from difffae.face.lighting import shade
from difffae.face.mirroring import Insets, Shares, hidden, inset
from difffae.face.morphable import FittedFace
from difffae.face.normals import vertex_normals
from difffae.face.rasterizer import Rasterize

_LEAST_TINT = 1e-3  # of the largest singular value: a grey skin has but one
_HIDDEN_EYE = 0.5  # share of an eye that is hidden, from which on the other's skin is its own


@dataclass(frozen=True, kw_only=True)
class AtRest:
    """What the portrait alone says, the same in every frame.

    Attributes:
        source, lighting: of the portrait; compared by identity.
        points: where its mesh is [px].
        normals, shading: of them.
        inset, hides: of them, see `difffae.face.mirroring`.
        skin: beside each eye, see `difffae.face.lids`.
        white: of its eyes, see `difffae.face.eyes`.
    """

    source: FittedFace
    lighting: Lighting
    points: Points3
    normals: Normals
    shading: Points3
    inset: Insets
    hides: Shares
    skin: tuple[SkinBeside, SkinBeside]
    white: White


def look_at(
    source: FittedFace,
    layers: Layers,
    lighting: Lighting,
    head_model: FaceMeshModel,
    rasterize: Rasterize,
) -> AtRest:
    """Look at a portrait.

    Args:
        source: its face, fitted in the crop's pixels.
        layers: of the crop.
        lighting: of the portrait.
        head_model: that the face was fitted with.
        rasterize: finds what hides what.
    """
    skin = head_model.skin_triangles
    points = head_model.pose(source.parameters, source.residual)
    normals = vertex_normals(points, skin)
    hides = hidden(points, normals, source.parameters.scale, skin, rasterize)
    to_shares = np.linalg.pinv(layers.tint, rcond=_LEAST_TINT).T
    beside = [skin_beside(lid_colours(layers.portrait, points, eye)) for eye in range(2)]
    for eye, ring in enumerate(EYE_RINGS):
        if hides[list(ring)].mean() > _HIDDEN_EYE:
            beside[eye] = beside[1 - eye]
    usual = layers.tint @ USUAL_WHITE
    white = seen_white(layers.portrait, points, source.parameters.scale, usual)
    return AtRest(
        source=source,
        lighting=lighting,
        points=points,
        normals=normals,
        shading=shade(normals, lighting),
        inset=inset(points, source.parameters, skin, rasterize),
        hides=hides,
        skin=(beside[0] @ to_shares, beside[1] @ to_shares),
        white=white @ to_shares,
    )
