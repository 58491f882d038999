"""The face rig that ships: MediaPipe's mesh, a linear head model, the portrait's own texture."""

import numpy as np

from difffae.arrays import Lighting, MaskF32
from difffae.face.config import FaceConfig
from difffae.face.facemesh import FaceMeshModel
from difffae.face.morphable import EyeOpenings
from difffae.face.parameters import FaceParameters, Vector
from difffae.face.pytorch3d import rasterize_pytorch3d
from difffae.face.rasterizer import rasterize
from difffae.face.renderer import Condition, Renderer
from difffae.face.rig import Sighting
from difffae.face.source_face import SourceFace, build_source_face, portrait_lighting


class FaceMeshRig:
    """See `difffae.face.rig.Rig`; every method is a function of its arguments.

    Args:
        head_model: the linear head model.
        config: how conditions are rendered.
        size: side of the crops and conditions [px].
    """

    def __init__(self, head_model: FaceMeshModel, config: FaceConfig, size: int) -> None:
        self.head_model = head_model
        self.background = config.background
        self.renderer = Renderer(
            head_model,
            config.surroundings,
            size,
            rasterize if config.rasterizer == "numba" else rasterize_pytorch3d,
            background=config.background,
        )

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

    def condition(self, source: SourceFace, shown: FaceParameters, lighting: Lighting) -> Condition:
        """See `Rig.condition`."""
        lights = (source.appearance.lighting, lighting)
        return self.renderer.condition(source.fitted, source.layers, shown, lights)

    def eye_openings(self, parameters: FaceParameters) -> EyeOpenings:
        """See `Rig.eye_openings`."""
        return self.head_model.eye_openings(parameters)

    def open_eyes(self, parameters: FaceParameters, change: EyeOpenings) -> FaceParameters:
        """See `Rig.open_eyes`."""
        return self.head_model.open_eyes(parameters, change)
