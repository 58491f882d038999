"""A model shown parameters directly: a source, a face and a light in; every row's picture out."""

from dataclasses import dataclass
from pathlib import Path

from difffae.arrays import ImageU8, Lighting
from difffae.face.edit import with_expression
from difffae.face.parameters import FaceParameters
from difffae.face.rig import Sighting
from difffae.face.tracker import FaceNotFoundError
from difffae.metrics.evaluation import Methods
from difffae.metrics.meter import Instruments, Looks
from difffae.metrics.outputs import JudgedPart, View, floor_rows, generated_rows
from difffae.metrics.parameter_meter import ParameterMeter
from difffae.metrics.realism import RealismMeter
from difffae.metrics.report import COMPOSITE_ROW, MOVED_ROW
from difffae.pipeline import Pipeline, Source, StreamState


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a protocol of direct edits measures with.

    Attributes:
        instruments: the networks that measure.
        parameters: the rig that reads outputs.
        realism: gathers features for FID and KID; None to leave them out.
    """

    instruments: Instruments
    parameters: ParameterMeter
    realism: RealismMeter | None = None

    def gather(self, protocol: str, row: str, looks: Looks) -> None:
        """Take an output's features."""
        if self.realism is not None and looks.realism is not None:
            self.realism.add(protocol, row, looks.realism)

    def gather_real(self, protocol: str, looks: Looks) -> None:
        """Take a real picture's features."""
        if self.realism is not None and looks.realism is not None:
            self.realism.add_real(protocol, looks.realism)


class Editor:
    """One model, asked for parameters rather than for a driver's motion."""

    def __init__(self, pipeline: Pipeline, methods: Methods) -> None:
        """Use the model's rows of `methods`."""
        self._pipeline = pipeline
        self._rows = methods.rows
        plain = pipeline.rig.without_networks()
        self._plain = None if plain is pipeline.rig else plain

    @property
    def rows(self) -> list[str]:
        """The rows of `pictures`, in order."""
        floors = [COMPOSITE_ROW] if self._plain is None else [COMPOSITE_ROW, MOVED_ROW]
        return [*floors, *self._rows]

    def encode(self, portrait: ImageU8) -> Source:
        """See `Pipeline.encode_source`."""
        return self._pipeline.encode_source(portrait)

    def seen(self, image: ImageU8, source: Source) -> JudgedPart:
        """The part of a picture of the source's size that outputs are in."""
        return View(box=source.crop_box, size=self._pipeline.config.image_size).of(image)

    def light_of(self, image: ImageU8, path: Path) -> Lighting:
        """The light of a picture, as the model's own rig reads it.

        Raises:
            FaceNotFoundError: no face is found.
        """
        return self._pipeline.rig.lighting(self._sight(image, path))

    def parameters_of(self, image: ImageU8, path: Path) -> FaceParameters:
        """The parameters of a picture, as the model's own rig reads them.

        Raises:
            FaceNotFoundError: no face is found.
        """
        return self._pipeline.rig.read(self._sight(image, path))

    def with_expression(self, face: FaceParameters, donor: FaceParameters) -> FaceParameters:
        """See `difffae.face.edit.with_expression`."""
        return with_expression(face, donor, self._pipeline.rig)

    def pictures(
        self, source: Source, shown: FaceParameters, lighting: Lighting
    ) -> dict[str, JudgedPart]:
        """The composites, and the model's picture at each number of steps, by row name."""
        condition = self._pipeline.render(source, shown, lighting)
        rows = generated_rows(self._pipeline, condition, source, self._rows)
        plain = self._plain
        floor = None if plain is None else plain.condition(source.face, shown, lighting)
        return {**floor_rows(condition, floor), **rows}

    def _sight(self, image: ImageU8, path: Path) -> Sighting:
        sighting = self._pipeline.sight(image, StreamState())
        if sighting is None:
            raise FaceNotFoundError(f"Got no face in a frame of {path}: give a clip that shows one")
        return sighting
