"""The face rig that ships: MediaPipe's mesh, a linear head model, the portrait's own texture."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from difffae.arrays import Lighting, MaskF32
from difffae.face.config import FaceConfig
from difffae.face.dense_motion import DenseMotion
from difffae.face.expression_ratio import SkinChange, SkinDetail, folds, skin_detail
from difffae.face.facemesh import EYE_RINGS, FaceMeshModel
from difffae.face.morphable import EyeOpenings
from difffae.face.parameters import FaceParameters, Vector
from difffae.face.pytorch3d import rasterize_pytorch3d
from difffae.face.rasterizer import rasterize
from difffae.face.regions import RegionFilter, Regions, near, ramp
from difffae.face.renderer import Condition, Renderer
from difffae.face.rig import Sighting
from difffae.face.source_face import SourceFace, build_source_face, portrait_lighting

_EYE_REACH = (0.05, 0.3)  # from the lids: their skin, .. the brows [head units]
_MOUTH_LEVELS = (0.28, 0.5)  # below the middle of the head: the nose's base .. the upper lip


class FaceMeshRig:
    """See `difffae.face.rig.Rig`; every method is a function of its arguments.

    Args:
        head_model: the linear head model.
        config: how conditions are rendered.
        size: side of the crops and conditions [px].
        dense_motion: what corrects the motion around the face; None: nothing does.
    """

    def __init__(
        self,
        head_model: FaceMeshModel,
        config: FaceConfig,
        size: int,
        dense_motion: DenseMotion | None = None,
    ) -> None:
        self.head_model = head_model
        self.background = config.background
        self._keep_regions = _region_filter(head_model)
        self.renderer = Renderer(
            head_model,
            config.surroundings,
            size,
            rasterize if config.rasterizer == "numba" else rasterize_pytorch3d,
            background=config.background,
            dense_motion=dense_motion,
        )
        self._is_plain = dense_motion is None
        self._config, self._size = config, size

    @property
    def expression_spread(self) -> Vector:
        """See `Rig.expression_spread`: coefficients are in standard deviations."""
        return np.ones(len(self.head_model.expression_basis), np.float32)

    def read(self, sighting: Sighting, person: FaceParameters | None = None) -> FaceParameters:
        """See `Rig.read`."""
        if person is not None:
            return self.head_model.track(sighting.points, person)
        return self.head_model.fit(sighting.points).parameters

    def lighting(self, sighting: Sighting) -> Lighting:
        """See `Rig.lighting`: the mean shading is 1, the skin keeps its colour."""
        return portrait_lighting(sighting.image, sighting.points, self.head_model)

    def take_apart(self, sighting: Sighting, person_mask: MaskF32) -> SourceFace:
        """See `Rig.take_apart`."""
        return build_source_face(sighting.image, sighting.points, person_mask, self.head_model)

    def skin_detail(self, sighting: Sighting) -> SkinDetail:
        """See `Rig.skin_detail`."""
        points = sighting.points
        return skin_detail(sighting.image, points, self.renderer.normals(points))

    def condition(
        self,
        source: SourceFace,
        shown: FaceParameters,
        lighting: Lighting,
        skin: SkinChange | None = None,
    ) -> Condition:
        """See `Rig.condition`."""
        lights = (source.appearance.lighting, lighting)
        seen = None if skin is None else folds(skin, self._keep_regions.moving(skin.regions))
        return self.renderer.condition(source.fitted, source.layers, shown, lights, seen)

    def without_networks(self) -> "FaceMeshRig":
        """See `Rig.without_networks`: the same without dense motion."""
        return self if self._is_plain else self._without_dense_motion

    @cached_property
    def _without_dense_motion(self) -> "FaceMeshRig":
        return FaceMeshRig(self.head_model, self._config, self._size)

    def eye_openings(self, parameters: FaceParameters) -> EyeOpenings:
        """See `Rig.eye_openings`."""
        return self.head_model.eye_openings(parameters)

    def open_eyes(self, parameters: FaceParameters, change: EyeOpenings) -> FaceParameters:
        """See `Rig.open_eyes`."""
        return self.head_model.open_eyes(parameters, change)

    def mouth_opening(self, parameters: FaceParameters) -> float:
        """See `Rig.mouth_opening`."""
        return self.head_model.mouth_opening(parameters)

    def open_mouth(self, parameters: FaceParameters, change: float) -> FaceParameters:
        """See `Rig.open_mouth`."""
        return self.head_model.open_mouth(parameters, change)

    def keep_regions(
        self, moved: FaceParameters, still: FaceParameters, regions: Regions
    ) -> FaceParameters:
        """See `Rig.keep_regions`; still eyes are opened exactly as far as in `still`."""
        if regions == Regions():
            return moved
        change = self._keep_regions(moved.expression - still.expression, regions)
        kept = replace(moved, expression=still.expression + change)
        if regions.eyes:
            return kept
        openings = self.eye_openings(still) - self.eye_openings(kept)
        return replace(self.open_eyes(kept, openings), gaze=still.gaze)


def _region_filter(head_model: FaceMeshModel) -> RegionFilter:
    """The eyes by their distance from the lids, the mouth by its height on the mean face."""
    lids = head_model.mean[[point for ring in EYE_RINGS for point in ring]]
    return RegionFilter(
        head_model.expression_basis,
        near(head_model.mean, lids, _EYE_REACH),
        ramp(head_model.mean[:, 1], _MOUTH_LEVELS),
    )
