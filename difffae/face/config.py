"""Which face rig a model is trained with, and how its conditions are rendered."""

from dataclasses import dataclass, field
from typing import Literal

from difffae.face.dense_motion import DenseMotionConfig
from difffae.face.licensed import LicensedFiles
from difffae.face.surroundings import SurroundingsConfig


@dataclass(frozen=True, kw_only=True)
class FaceConfig:
    """The face rig of a model.

    Attributes:
        rig: facemesh ships with the project; flame is the paper's DECA and FLAME, from the user's
            own licensed files.
        background: what a condition shows around the rendered face: the portrait moved with the
            head (lite.md section 2), or black, as in the paper.
        light: whose light training's conditions are rendered under: the source's, or the driver's,
            as in the paper (section 4.1).
        rasterizer: numba, or pytorch3d where the user has installed it.
        surroundings: how the portrait moves with the head.
        dense_motion: sizes of the network that corrects that motion; None: there is none.
        licensed: where the user's licensed files are.
    """

    rig: Literal["facemesh", "flame"] = "facemesh"
    background: Literal["portrait", "black"] = "portrait"
    light: Literal["source", "driver"] = "source"
    rasterizer: Literal["numba", "pytorch3d"] = "numba"
    surroundings: SurroundingsConfig = field(default_factory=SurroundingsConfig)
    dense_motion: DenseMotionConfig | None = None
    licensed: LicensedFiles = field(default_factory=LicensedFiles)

    def __post_init__(self) -> None:
        """Check that the choices fit one another.

        Raises:
            ValueError: the rig cannot render what is asked for.
        """
        if self.rig == "flame" and self.background != "black":
            raise ValueError(
                f"face.background is {self.background}; expected black, for FLAME has no texture "
                "of the portrait to move: set face.background: black"
            )
        if self.background == "black" and self.dense_motion is not None:
            raise ValueError(
                "face.dense_motion moves the portrait around the face, but face.background is "
                "black: leave dense_motion out"
            )
