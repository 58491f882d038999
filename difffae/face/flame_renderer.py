"""FLAME to the rendered condition: the paper's R (eq. 3), a lit and textured head on black.

Shape, expression, jaw and pose make the mesh; the texture model's codes its albedo; the light is
applied to the normals, coarse or detailed (model.md 3.3 to 3.6). What is rendered lies over the
crop the networks see, not over the crop DECA reads.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, Lighting, Points3
from difffae.face.albedo import AlbedoModel
from difffae.face.appearance import Appearance
from difffae.face.deca import (
    NUM_ALBEDO,
    NUM_DETAIL,
    NUM_EXPRESSION,
    NUM_JAW,
    NUM_SHAPE,
    Deca,
)
from difffae.face.detail import (
    UV_SIZE,
    DetailMaps,
    TextureSpace,
    UvMap,
    lit_texture,
    mesh_normals,
)
from difffae.face.flame import FlameModel
from difffae.face.lighting import basis, uniform_lighting
from difffae.face.parameters import FaceParameters
from difffae.face.rasterizer import EMPTY, Fragments, Rasterize, interpolate, rasterize
from difffae.face.renderer import Condition
from difffae.face.template import Template

# The head unit of FaceParameters is the root mean square radius of the face; so many metres.
HEAD_UNIT_M = 0.075
# FLAME's y points up and its z out of the face; ours down and into the picture.
FLAME_TO_PICTURE = np.array([1, -1, -1], np.float32)
_TEXTURES_KEPT = 4  # albedo textures of the last sources

Colours = Float32[NDArray[np.float32], "h w 3"]


@dataclass(frozen=True, kw_only=True)
class FlameParts:
    """What is rendered, from the user's licensed files.

    Attributes:
        model: the head.
        template: its texture coordinates.
        albedo: its texture model.
        deca: decodes the detail.
        detail: None renders the coarse surface alone.
    """

    model: FlameModel
    template: Template
    albedo: AlbedoModel
    deca: Deca
    detail: DetailMaps | None


class FlameRenderer:
    """Renders conditions of FLAME's head.

    Args:
        parts: head, texture and detail.
        size: side of the conditions [px].
        rasterize: which rasterizer.
    """

    def __init__(self, parts: FlameParts, size: int, rasterize: Rasterize = rasterize) -> None:
        self._parts = parts
        self._size = size
        self._rasterize = rasterize
        self._texture_space = TextureSpace(parts.template)
        self._albedo = lru_cache(_TEXTURES_KEPT)(self._make_albedo)

    @property
    def model(self) -> FlameModel:
        """The head."""
        return self._parts.model

    @property
    def has_detail(self) -> bool:
        """Whether a detail code changes what is rendered."""
        return self._parts.detail is not None

    def surface(self, parameters: FaceParameters) -> Points3:
        """The turned head's vertices [m], axes as the picture's, around FLAME's own origin.

        FLAME turns the head about the joint at the root of the neck, not about its origin.
        """
        pose = np.zeros((5, 3), np.float32)
        pose[0] = parameters.rotation * FLAME_TO_PICTURE  # F R(r) F = R(F r) for the half turn F
        pose[2] = parameters.expression[NUM_EXPRESSION:]
        expression = parameters.expression[:NUM_EXPRESSION]
        vertices = self._parts.model.with_shape(parameters.shape).vertices(expression, pose)
        return (vertices * FLAME_TO_PICTURE).astype(np.float32)

    def project(self, surface: Points3, parameters: FaceParameters) -> Points3:
        """Places of surface points in the picture [px]: orthographic, DECA's s * (X + t)."""
        points = surface * np.float32(parameters.scale / HEAD_UNIT_M)
        points[:, :2] += parameters.translation
        return points

    def landmarks(self, parameters: FaceParameters) -> Float32[NDArray[np.float32], "68 2"]:
        """The 68 landmarks in the picture [px]."""
        surface = self.surface(parameters)
        rotation = parameters.rotation * FLAME_TO_PICTURE
        found = self._parts.model.landmarks(surface * FLAME_TO_PICTURE, rotation)
        return np.ascontiguousarray(self.project(found * FLAME_TO_PICTURE, parameters)[:, :2])

    def condition(self, parameters: FaceParameters, appearance: Appearance) -> Condition:
        """Render a head on black.

        Args:
            parameters: the head, in the condition's pixels.
            appearance: its light in the picture's axes, its albedo codes, and the detail code of
                the person; wrinkles follow the expression and jaw of `parameters`.
        """
        surface = self.surface(parameters)
        template = self._parts.template
        fragments = self._rasterize(self.project(surface, parameters), template.faces, self._size)
        covered = (fragments.pix_to_face != EMPTY).astype(np.float32)
        colours = self._colours(surface, fragments, parameters, appearance)
        picture = np.clip(colours * covered[..., None], 0, 1) * 255
        return Condition(
            composite=_to_bytes(picture),
            face_mask=covered,
            inside_mask=np.zeros_like(covered),
            person_mask=covered,
            warp=None,
        )

    def warm_up(self) -> None:
        """Render once, so that the compiled loops are there before the first real frame."""
        middle = np.full(2, self._size / 2, np.float32)
        head = FaceParameters(
            shape=np.zeros(NUM_SHAPE, np.float32),
            expression=np.zeros(NUM_EXPRESSION + NUM_JAW, np.float32),
            gaze=np.zeros(4, np.float32),
            rotation=np.zeros(3, np.float32),
            scale=self._size / 4,
            translation=middle,
        )
        detail = np.zeros(NUM_DETAIL, np.float32)
        self.condition(head, Appearance(lighting=uniform_lighting(), detail=detail))

    def _colours(
        self,
        surface: Points3,
        fragments: Fragments,
        parameters: FaceParameters,
        appearance: Appearance,
    ) -> Colours:
        template = self._parts.template
        normals = mesh_normals(surface, template.faces)
        at = interpolate(fragments, template.uv_faces, template.uv)
        albedo = self._texture(appearance)
        if self._parts.detail is None or appearance.detail is None:
            seen = interpolate(fragments, template.faces, normals)
            return sample_texture(albedo, at) * _shading(seen, fragments, appearance.lighting)
        jaw, expression = (
            parameters.expression[NUM_EXPRESSION:],
            parameters.expression[:NUM_EXPRESSION],
        )
        displacement = self._parts.deca.displacement(jaw, expression, appearance.detail)
        dense = self._texture_space.detailed_normals(
            surface, normals, displacement, self._parts.detail
        )
        return sample_texture(lit_texture(albedo, dense, appearance.lighting), at)

    def _texture(self, appearance: Appearance) -> UvMap:
        codes = np.zeros(NUM_ALBEDO, np.float32) if appearance.albedo is None else appearance.albedo
        return self._albedo(codes.tobytes())

    def _make_albedo(self, codes: bytes) -> UvMap:
        return self._parts.albedo.texture(np.frombuffer(codes, np.float32))


def sample_texture(texture: UvMap, at: Float32[NDArray[np.float32], "h w 2"]) -> Colours:
    """A texture's values at coordinates (u to the right, v up, 0 to 1), bilinear.

    A texel's value is at its centre, and nothing lies outside, as `grid_sample` has it with
    align_corners False.
    """
    columns = at[..., 0] * UV_SIZE - 0.5
    rows = (1 - at[..., 1]) * UV_SIZE - 0.5
    return np.asarray(
        cv2.remap(texture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT),
        np.float32,
    )


def _shading(normals: Colours, fragments: Fragments, lighting: Lighting) -> Colours:
    """The light on each covered pixel's normal; 0 elsewhere."""
    is_covered = fragments.pix_to_face != EMPTY
    shading = np.zeros_like(normals)
    shading[is_covered] = basis(normals[is_covered]) @ lighting
    return shading


def _to_bytes(picture: Colours) -> ImageU8:
    return np.rint(picture).astype(np.uint8)
