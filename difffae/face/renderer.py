"""Parameters to the rendered condition: the lit face over the moved portrait (paper 4.2, R).

Both layers are maps that say where in the portrait a pixel comes from, so that the same condition
can be composed at the networks' 256 pixels and at the portrait's own resolution.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float32
from numpy.typing import NDArray

from difffae.arrays import (
    ImageU8,
    Lighting,
    MapF32,
    MaskF32,
    Normals,
    PaintF32,
    Points2,
    Points3,
    ShadingF32,
)
from difffae.face.at_rest import AtRest, look_at
from difffae.face.dense_motion import DenseMotion
from difffae.face.expression_ratio import Folds, SkinChange, add_folds, folds, skin_detail
from difffae.face.eyelids import meet, unfolded
from difffae.face.eyes import NUM_EYE_POINTS, Eyes, between_lids, eye_columns, eyes
from difffae.face.facemesh import (
    FACE_OVAL,
    NUM_IRIS_POINTS,
    NUM_MESH_POINTS,
    FaceMeshModel,
)
from difffae.face.head_light import Border, head_relight, light_change
from difffae.face.layers import Layers, compose, lit_face
from difffae.face.lids import Lids, lids
from difffae.face.lighting import shade, uniform_lighting
from difffae.face.mirroring import (
    beside_face,
    mirror_shares,
    mirrored,
    symmetry,
    turned_back,
)
from difffae.face.morphable import FittedFace
from difffae.face.mouth import (
    NUM_MOUTH_POINTS,
    Mouth,
    between_lips,
    lip_above_chin,
    lips_apart,
    mouth,
    mouth_cells,
    plain_interior,
)
from difffae.face.normals import vertex_normals
from difffae.face.parameters import FaceParameters
from difffae.face.rasterizer import Fragments, Rasterize, interpolate, rasterize
from difffae.face.sides import border_shares, side_depths, side_triangles, sides
from difffae.face.surroundings import SurroundingsConfig, follow_border, head_map
from difffae.face.teeth import relieved
from difffae.face.warp import MirrorImage, Warp

FEATHER_PX = 1.6  # of the face's border over the head, at 256 px
_TURNED_RANGE = (0.6, 1.6)  # of the same light on skin that turned
_MOUTH_BLUR_PX = 0.7
_FLIPPED = np.array([-1, 1], np.float32)
_FAR_TURN = 0.7  # of a head, radians


Background = Literal["portrait", "black"]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What the networks are told (the paper's I_R): all 256 x 256.

    Attributes:
        composite: the rendered face over the moved portrait.
        face_mask: 1 on the face mesh.
        inside_mask: 1 in the eyes and between the lips.
        person_mask: the moved person.
        warp: the same before composition, for other sizes; None where the portrait's own pixels
            are not in the condition, so that the networks make the whole crop.
        hidden: 1 where the networks are not shown the portrait and have to paint it by themselves;
            None: nowhere.
    """

    composite: ImageU8
    face_mask: MaskF32
    inside_mask: MaskF32
    person_mask: MaskF32
    warp: Warp | None
    hidden: MaskF32 | None = None

    @cached_property
    def masks(self) -> Float32[NDArray[np.float32], "3 h w"]:
        """All three, one above the other."""
        return np.stack([self.face_mask, self.inside_mask, self.person_mask])


class Renderer:
    """Renders conditions of one head model."""

    def __init__(
        self,
        head_model: FaceMeshModel,
        surroundings: SurroundingsConfig,
        size: int = 256,
        rasterize: Rasterize = rasterize,
        *,
        background: Background = "portrait",
        dense_motion: DenseMotion | None = None,
    ) -> None:
        self._dense_motion = dense_motion
        self._background = background
        self._model = head_model
        self._rasterize = rasterize
        self._surroundings = surroundings
        self._skin = head_model.skin_triangles
        strip = side_triangles(NUM_MESH_POINTS + NUM_IRIS_POINTS)
        self._num_outer = len(self._skin) + len(strip)
        columns = eye_columns(NUM_MESH_POINTS + NUM_IRIS_POINTS + len(FACE_OVAL))
        self._first_inner = int(columns.max()) + 1
        cells = mouth_cells(self._first_inner)
        parts = [self._skin, strip, columns, cells]
        self._all = np.concatenate(parts).astype(np.int32)
        self._num_seen = len(self._all) - len(cells)
        self._side_depths = side_depths(head_model.mean)
        self._border_shares = border_shares(head_model.mean)
        self._symmetry = symmetry(head_model.mean, head_model.skin_triangles)
        learned = head_model.mouth_interior
        self._interior = plain_interior() if learned is None else learned
        self._size = size
        self._kept: AtRest | None = None

    def normals(self, points: Points3) -> Normals:
        """Unit normals at the mesh points, out of the head; zero at points of no skin triangle."""
        return vertex_normals(points, self._skin)

    def warp(
        self,
        source: FittedFace,
        layers: Layers,
        target: FaceParameters,
        lighting: tuple[Lighting, Lighting],
        skin: Folds | None = None,
    ) -> Warp:
        """Where everything comes from once the source's face has the target's parameters.

        Args:
            source: the portrait's face, fitted in the crop's pixels.
            layers: of the portrait's crop.
            target: the parameters to show.
            lighting: of the portrait, and the one to show.
            skin: the folds to show; None: none.
        """
        rest = self._at_rest(source, layers, lighting[0])
        before = rest.points
        scales = (source.parameters.scale, target.scale)
        after = lips_apart(self._model.pose(target, source.residual))
        after = meet(lip_above_chin(after, before, scales), target.scale)
        texture = unfolded(before, after, scales)
        normals = self.normals(after)
        ratio = np.clip(shade(normals, lighting[0]) / rest.shading, *_TURNED_RANGE)
        strip = sides(before, after, (source.parameters, target), self._side_depths)
        around = None
        if lighting[1] is not lighting[0]:
            change = light_change(normals, lighting)
            ratio = ratio * change
            border = Border(places=strip.shown[:, :2], change=change[list(FACE_OVAL)])
            around = head_relight(target, self._surroundings, lighting, self._size, border)
        texture[:NUM_MESH_POINTS, :2] += self._border_shares @ strip.border_shift
        back = turned_back(source.parameters, target)
        if back > 0:
            texture[:NUM_MESH_POINTS, :2] += np.float32(back) * rest.inset
        turned = eyes(before, after, texture, scales, rest.white)
        inner = mouth(before, after, scales, self._interior)
        shades = self._model.lid_shades
        closing = None if shades is None else lids(before, after, scales, shades, rest.skin)
        shown = np.concatenate([after, strip.shown, turned.shown, inner.shown])
        fragments = self._rasterize(shown, self._all, self._size)
        covered, inside = (
            (fragments.pix_to_face >= first).astype(np.float32) for first in (0, self._num_outer)
        )
        read = np.concatenate([texture[:, :2], strip.read, turned.read, inner.read]) - 0.5
        return Warp(
            face_map=interpolate(fragments, self._all, read),
            head_map=self._head_map(
                source.parameters, target, before[list(FACE_OVAL), :2], strip.shown[:, :2]
            ),
            face_weight=_feather(covered),
            inside_mask=inside,
            paint=self._painted(fragments, (turned, inner), closing),
            relight=self._lit(fragments, ratio, skin),
            head_relight=around,
            mirror_image=self._mirror_image(rest, target, (after, normals), fragments, back)
            if back > 0
            else None,
        )

    def _mirror_image(
        self,
        rest: AtRest,
        target: FaceParameters,
        shown: tuple[Points3, Normals],
        fragments: Fragments,
        back: float,
    ) -> MirrorImage:
        """What is shown of the portrait's other side; `back` is of `turned_back`."""
        source = rest.source.parameters
        after, normals = shown
        counterparts, border = self._symmetry.counterparts, list(FACE_OVAL)
        before = rest.points.copy()
        before[:NUM_MESH_POINTS, :2] += rest.inset
        before = before[counterparts]
        scales = (source.scale, target.scale)
        texture = unfolded(before, after, scales)
        turned = eyes(before, after, texture, scales, rest.white)
        inner = mouth(before, after, scales, self._interior)
        read = np.concatenate([texture[:, :2], before[border, :2], turned.read, inner.read]) - 0.5
        shares = np.zeros((len(after), 1), np.float32)
        both = (rest.normals, normals)
        shares[:NUM_MESH_POINTS, 0] = mirror_shares(rest.hides, both, back, self._symmetry)
        light = np.clip(rest.shading / rest.shading[counterparts], *_TURNED_RANGE)
        planes = np.concatenate([read, _everywhere(shares), _everywhere(light)], 1)
        values = interpolate(fragments, self._all, planes)
        face_map, share, light = (np.ascontiguousarray(v) for v in np.split(values, [2, 3], 2))
        flipped = before[border, :2] * _FLIPPED + np.array([self._size, 0], np.float32)
        head = mirrored(source, self._size)
        positions = self._head_map(head, target, flipped, after[border, :2])
        positions[..., 0] = self._size - 1 - positions[..., 0]
        beside = beside_face(shares[border, 0], after[border, :2], target, self._size)
        return MirrorImage(
            face_map=face_map,
            head_map=positions,
            face_share=share[..., 0],
            head_share=beside.share,
            head_inside=beside.inside,
            light=light,
        )

    def _at_rest(self, source: FittedFace, layers: Layers, lighting: Lighting) -> AtRest:
        kept = self._kept
        if kept is None or kept.source is not source or kept.lighting is not lighting:
            kept = self._kept = look_at(source, layers, lighting, self._model, self._rasterize)
        return kept

    def _lit(
        self, fragments: Fragments, ratio: NDArray[np.float32], skin: Folds | None
    ) -> ShadingF32:
        """What the face is lit by over what it was lit by, folds too."""
        relight = interpolate(fragments, self._all, _everywhere(ratio), empty=1)
        if skin is not None:
            add_folds(relight, skin, fragments, self._skin)
        return relight

    def _painted(
        self, fragments: Fragments, inner: tuple[Eyes, Mouth], closing: Lids | None
    ) -> PaintF32:
        """What is painted: lids that close, and softly what is between the lips and the lids."""
        turned, opened = inner
        values = np.zeros((self._first_inner + NUM_MOUTH_POINTS, 7), np.float32)
        values[self._first_inner :] = np.concatenate([opened.paint, opened.teeth], 1)
        first = self._num_seen
        if turned.paint is not None:
            values[self._first_inner - NUM_EYE_POINTS : self._first_inner, :4] = turned.paint
            first = self._num_outer
        inside = fragments.pix_to_face >= first
        paint = np.zeros((self._size, self._size, 4), np.float32)
        part = _part_around(inside, _MOUTH_BLUR_PX)
        if part is not None:
            there = interpolate(fragments.part(part), self._all, values)
            paint[part] = cv2.GaussianBlur(there[..., :4], (0, 0), _MOUTH_BLUR_PX)
            if (relief := self._model.teeth_relief) is not None:
                paint[part] = relieved(paint[part], there[..., 4:], relief)
        if closing is not None:
            over = self._rasterize(closing.shown, closing.triangles, self._size)
            is_seen = (over.depth < fragments.depth)[..., None]
            paint += is_seen * interpolate(over, closing.triangles, closing.paint)
        return paint

    def _head_map(
        self, source: FaceParameters, target: FaceParameters, before: Points2, after: Points2
    ) -> MapF32:
        """The map around the face, whose edge is now where its border was in the portrait."""
        positions = head_map(source, target, self._surroundings, self._size)
        reach = self._surroundings.border * target.scale
        return follow_border(positions, before, after, reach)

    def condition(
        self,
        source: FittedFace,
        layers: Layers,
        target: FaceParameters,
        lighting: tuple[Lighting, Lighting],
        skin: Folds | None = None,
    ) -> Condition:
        """Render the condition of a target; see `warp`."""
        warp = self.warp(source, layers, target, lighting, skin)
        if self._background == "black":
            return _face_alone(layers, warp)
        if self._dense_motion is not None:
            warp = self._dense_motion.correct(layers, warp, source.parameters, target)
        composite, person = compose(layers, warp)
        return Condition(
            composite=composite,
            face_mask=warp.face_weight,
            inside_mask=warp.inside_mask,
            person_mask=person,
            warp=warp,
        )


def warm_up(renderer: Renderer, head_model: FaceMeshModel, size: int) -> None:
    """Render once, so that the compiled loops are there before the first real frame.

    Also at twice the size, which has loops of its own, so that no painting thread waits for one;
    and a face that turns back, of which the mirror image is shown.
    """
    middle = np.array([size / 2, size / 2, 0], np.float32)
    irises = np.repeat(head_model.mean[[33, 263]], 5, axis=0)
    points = np.concatenate([head_model.mean, irises]) * np.float32(size / 4) + middle
    fitted = head_model.fit(points)
    light = uniform_lighting()
    lights = (light, light)
    black = _black_layers(size)
    skin = skin_detail(black.portrait, points, renderer.normals(points))
    still = folds(SkinChange(now=skin, before=skin), np.ones(NUM_MESH_POINTS, np.float32))
    renderer.condition(fitted, black, fitted.parameters, lights, still)
    black = _black_layers(2 * size)
    turned = replace(fitted.parameters, rotation=np.array([0, _FAR_TURN, 0], np.float32))
    for face in (fitted, replace(fitted, parameters=turned)):
        compose(black, renderer.warp(face, black, fitted.parameters, lights))


def _everywhere(values: Float32[NDArray[np.float32], "p n"]) -> Float32[NDArray[np.float32], "q n"]:
    """Values at the points of the mesh, at those of the strip, the eyes and the mouth too."""
    parts = [values, values[list(FACE_OVAL)], between_lids(values), between_lips(values)]
    return np.concatenate(parts)


def _black_layers(size: int) -> Layers:
    black, nobody = np.zeros((size, size, 3), np.uint8), np.zeros((size, size), np.float32)
    return Layers(portrait=black, person=nobody, plate=black, skin_colour=np.zeros(3, np.float32))


def _face_alone(layers: Layers, warp: Warp) -> Condition:
    """The rendered face on black: all that the paper's I_R shows."""
    weight = warp.face_weight[..., None]
    return Condition(
        composite=np.rint(lit_face(layers, warp) * weight).astype(np.uint8),
        face_mask=warp.face_weight,
        inside_mask=warp.inside_mask,
        person_mask=warp.face_weight,
        warp=None,
    )


def _feather(covered: MaskF32) -> MaskF32:
    """Soften the border inwards only: outside the mesh there is nothing to show."""
    soft, part = blurred(covered, FEATHER_PX)
    soft[part] = np.clip(2 * soft[part] - 1, 0, 1)
    return soft


def blurred(mask: MaskF32, sigma_px: float) -> tuple[MaskF32, tuple[slice, slice]]:
    """A mask that covers little, blurred, and the part outside of which it stays 0.

    Args:
        mask: 0 but in one region.
        sigma_px: of the Gaussian.
    """
    soft = np.zeros_like(mask)
    part = _part_around(mask > 0, sigma_px)
    if part is None:
        return soft, (slice(0), slice(0))
    soft[part] = cv2.GaussianBlur(mask[part], (0, 0), sigma_px)
    return soft, part


def _part_around(
    mask: Bool[NDArray[np.bool_], "h w"], sigma_px: float
) -> tuple[slice, slice] | None:
    """The part that a blurred mask covers; None where it covers nothing."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not (width and height):
        return None
    around = math.ceil(4 * sigma_px) + 1
    return (
        slice(max(top - around, 0), top + height + around),
        slice(max(left - around, 0), left + width + around),
    )
