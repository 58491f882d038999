"""What a rig reads from pictures, against what was asked for: APD, AED and ALD of one frame."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from difffae.arrays import ImageU8, Lighting, Points3
from difffae.face.parameters import FaceParameters, Motion, retarget
from difffae.face.rig import Sighting
from difffae.metrics.expression_distance import aed, aed_jaw
from difffae.metrics.lighting_distance import ald
from difffae.metrics.pose_distance import apd_deg, apd_rad

NAN = float("nan")
Basis = Float[NDArray[np.float32], "n v 3"]


class FaceReader(Protocol):
    """Reads pictures: any `difffae.face.rig.Rig` is one."""

    def read(self, sighting: Sighting, person: FaceParameters | None = None) -> FaceParameters:
        """The parameters of a face, with the shape of a person known already."""
        ...

    def lighting(self, sighting: Sighting) -> Lighting:
        """The light on a face."""
        ...


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a rig reads from one face in one picture."""

    parameters: FaceParameters
    lighting: Lighting


@dataclass(frozen=True, kw_only=True)
class ParameterDistances:
    """Distances of one output to what it should show; see the metrics' own modules."""

    apd_rad: float = NAN
    apd_deg: float = NAN
    aed: float = NAN
    aed_jaw: float = NAN
    ald: float = NAN


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a reenactment should show, given what it is shown of the driver.

    Attributes:
        source: read from the source.
        reference: of the driver's first frame.
        motion: absolute: the driver's pose and expression; relative: the source's own, moved as the
            driver has since the reference.
        is_lit_by_driver: whether the light should be the driver's rather than the source's.
    """

    source: Reading
    reference: FaceParameters
    motion: Motion
    is_lit_by_driver: bool

    def of(self, driver: Reading) -> Reading:
        """What the output should show for a driver's frame."""
        parameters = retarget(
            self.source.parameters,
            driver.parameters,
            self.reference,
            motion=self.motion,
            strength=1.0,
            is_framed_alike=False,
        )
        lighting = driver.lighting if self.is_lit_by_driver else self.source.lighting
        return Reading(parameters=parameters, lighting=lighting)


@dataclass(frozen=True, kw_only=True)
class Bases:
    """What one unit of each coefficient does to the mesh [head units]; None: not known."""

    expression: Float[NDArray[np.float32], "expressions v 3"] | None = None
    shape: Float[NDArray[np.float32], "shapes v 3"] | None = None


class ParameterMeter:
    """Measures by one rig."""

    def __init__(
        self, reader: FaceReader, *, name: str, num_jaw: int = 0, bases: Bases | None = None
    ) -> None:
        """Use a reader.

        Args:
            reader: what reads the pictures.
            name: of the tracker, for the report.
            num_jaw: how many of its last expression values are the jaw's (FLAME: 3).
            bases: what its coefficients move; None: compare the coefficients themselves.
        """
        self._reader = reader
        self.name = name
        self.num_jaw = num_jaw
        self._bases = bases or Bases()

    def read(
        self, image: ImageU8, points: Points3, person: FaceParameters | None = None
    ) -> Reading:
        """Read a face; `person` is the same person's parameters, if read before."""
        sighting = Sighting(image=image, points=points)
        return Reading(
            parameters=self._reader.read(sighting, person),
            lighting=self._reader.lighting(sighting),
        )

    def vectors(self, reading: Reading) -> dict[str, Float[NDArray[np.float64], " read"]]:
        """Attributes as vectors whose lengths mean something: degrees, head units, shading."""
        face = reading.parameters
        return {
            "pose": np.degrees(face.rotation.astype(np.float64)),
            "expression": _moved(face.expression, self._bases.expression),
            "light": reading.lighting.astype(np.float64).ravel(),
            "shape": _moved(face.shape, self._bases.shape),
        }

    def distances(self, output: Reading, asked: Reading) -> ParameterDistances:
        """All distances of an output to what was asked for."""
        shown, wanted = output.parameters, asked.parameters
        return ParameterDistances(
            apd_rad=apd_rad(shown, wanted),
            apd_deg=apd_deg(shown, wanted),
            aed=aed(shown, wanted, num_jaw=self.num_jaw),
            aed_jaw=aed_jaw(shown, wanted, num_jaw=self.num_jaw),
            ald=ald(output.lighting, asked.lighting),
        )


def _moved(
    coefficients: Float[NDArray[np.float32], " n"], basis: Basis | None
) -> Float[NDArray[np.float64], " read"]:
    """How far the mesh's points are moved, or the coefficients where no basis is known."""
    if basis is None:
        return coefficients.astype(np.float64)
    return np.asarray(np.tensordot(coefficients, basis, 1).ravel(), np.float64)
