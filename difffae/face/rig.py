"""What a face rig does: reads a face's parameters from a picture, and renders parameters.

A rig joins a head model with its way of reading pictures and its renderer: the paper's DECA, FLAME
and R, or their stand-ins that ship. Everything above speaks to this protocol alone.
"""

from dataclasses import dataclass
from typing import Protocol

from difffae.arrays import ImageU8, Lighting, MaskF32, Points3
from difffae.face.expression_ratio import SkinChange, SkinDetail
from difffae.face.morphable import EyeOpenings
from difffae.face.parameters import FaceParameters, Vector
from difffae.face.regions import Regions
from difffae.face.renderer import Condition
from difffae.face.source_face import SourceFace


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One face seen in one picture.

    Attributes:
        image: the picture.
        points: the tracker's mesh points of the face [px of the picture].
    """

    image: ImageU8
    points: Points3


class Rig(Protocol):
    """A head model, how it is read from pictures, and how it is rendered."""

    @property
    def expression_spread(self) -> Vector:
        """By how much each expression coefficient usually changes, in its own unit."""
        ...

    def read(self, sighting: Sighting, person: FaceParameters | None = None) -> FaceParameters:
        """The parameters of a face, in the picture's pixels.

        Args:
            sighting: the face.
            person: the same person's parameters, read before: shape is taken from them.
        """
        ...

    def lighting(self, sighting: Sighting) -> Lighting:
        """The light on a face."""
        ...

    def take_apart(self, sighting: Sighting, person_mask: MaskF32) -> SourceFace:
        """All that is to be known of a source, once; the picture is its square crop."""
        ...

    def skin_detail(self, sighting: Sighting) -> SkinDetail | None:
        """What a driver's skin looks like; None where conditions show nothing of it."""
        ...

    def condition(
        self,
        source: SourceFace,
        shown: FaceParameters,
        lighting: Lighting,
        skin: SkinChange | None = None,
    ) -> Condition:
        """The source's face with these parameters under this light (the paper's I_R).

        Args:
            source: the face.
            shown: the parameters.
            lighting: the light.
            skin: how the driver's has changed; None: not at all.
        """
        ...

    def without_networks(self) -> "Rig":
        """The same rig whose conditions no network has touched: the floor to compare with."""
        ...

    def eye_openings(self, parameters: FaceParameters) -> EyeOpenings:
        """How far each eye is open [head units]; zeros where the head model has no lids."""
        ...

    def keep_regions(
        self, moved: FaceParameters, still: FaceParameters, regions: Regions
    ) -> FaceParameters:
        """The moved face with the regions that do not move as they are in the still one.

        Args:
            moved: the face to show.
            still: the same person's face, as in the portrait.
            regions: which of them move; with all of them the answer is `moved`.
        """
        ...

    def open_eyes(self, parameters: FaceParameters, change: EyeOpenings) -> FaceParameters:
        """The face with its eyes opened further; unchanged where the head model has no lids."""
        ...

    def mouth_opening(self, parameters: FaceParameters) -> float:
        """How far the inner lips are apart [head units]; 0 where the head model has no lips."""
        ...

    def open_mouth(self, parameters: FaceParameters, change: float) -> FaceParameters:
        """The face with its mouth opened further; unchanged where the head model has no lips."""
        ...
