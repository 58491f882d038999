"""A model before portraits: drive them by frames or edit them by number, and see what comes out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from difffae.arrays import ImageU8, Points3, SquareU8
from difffae.controls import Controls
from difffae.face.edit import Donor, Edit
from difffae.face.lamp import Lamp
from difffae.face.mediapipe import triangles
from difffae.face.tracker import FaceNotFoundError
from difffae.figures.drawing import draw_mesh
from difffae.figures.media import Portrait
from difffae.figures.signals import Signs, read_signs
from difffae.metrics.identity import cosine
from difffae.metrics.meter import Instruments, Looks
from difffae.metrics.motion import HeadReference
from difffae.metrics.outputs import View
from difffae.metrics.scores import NAN
from difffae.pipeline import Pipeline, Source, StreamState

DRAWING_SIDE = 256  # [px]


@dataclass(frozen=True, kw_only=True)
class Sitter:
    """A portrait before the model.

    Attributes:
        portrait: the picture.
        source: as the model keeps it.
        looks: the part of it that is edited, as the instruments see it.
        signs: what its face does.
    """

    portrait: Portrait
    source: Source
    looks: Looks
    signs: Signs


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One output.

    Attributes:
        image: the part of the portrait that is edited, at the model's size.
        identity: cosine with the portrait; NaN where there is no embedder.
        signs: what its face does; None where no face is found.
    """

    image: SquareU8
    identity: float
    signs: Signs | None


class Studio:
    """One model and one set of instruments, for all figures."""

    def __init__(self, pipeline: Pipeline, instruments: Instruments, *, steps: int = 1) -> None:
        """Use these.

        Args:
            pipeline: the model.
            instruments: what measures.
            steps: of the sampler.
        """
        self.pipeline = pipeline
        self.instruments = instruments
        self.triangles = triangles()
        self._controls = Controls(smoothing=0, num_steps=steps)

    def seat(self, portrait: Portrait) -> Sitter:
        """Encode a portrait.

        Raises:
            FaceNotFoundError: it shows no face.
            SeveralFacesError: it shows several.
        """
        return self.seat_source(portrait, self.pipeline.encode_source(portrait.image))

    def seat_source(self, portrait: Portrait, source: Source) -> Sitter:
        """A portrait that is encoded already.

        Raises:
            FaceNotFoundError: the instruments see no face in it.
        """
        looks = self.instruments.look(self.view(source).of(source.image), with_features=False)
        if looks.points is None:
            raise FaceNotFoundError(f"Got no face in {portrait.name}: give a portrait of one")
        reference = HeadReference(looks.points)
        signs = read_signs(looks.points, reference)
        return Sitter(portrait=portrait, source=source, looks=looks, signs=signs)

    def drive(
        self, sitter: Sitter, frame: ImageU8, reference: ImageU8, controls: Controls | None = None
    ) -> SquareU8:
        """The portrait moved by what a driver has done since a reference frame.

        Args:
            sitter: whom.
            frame: of the driver.
            reference: likewise.
            controls: how, if not plainly.

        Raises:
            FaceNotFoundError: the reference frame shows no face.
        """
        source, controls = sitter.source, self._controls if controls is None else controls
        state = self.pipeline.set_reference(reference, source, StreamState())
        made, _ = self.pipeline.reenact(frame, source, state, controls)
        return self.view(source).of(made.image)

    def stream(self, sitter: Sitter, frames: Iterable[ImageU8]) -> Iterator[SquareU8]:
        """The portrait moved by a driver's frames in their order, smoothed as commands do.

        Args:
            sitter: whom.
            frames: of the driver.
        """
        source, controls = sitter.source, Controls()
        state = self.pipeline.open_stream(source, controls)
        for frame in frames:
            made, state = self.pipeline.reenact(frame, source, state, controls)
            yield self.view(source).of(made.image)

    def copy(self, sitter: Sitter, frame: ImageU8) -> SquareU8:
        """The portrait with the very pose and expression of a driver's frame."""
        controls = replace(self._controls, motion="absolute")
        source = sitter.source
        made, _ = self.pipeline.reenact(frame, source, StreamState(), controls)
        return self.view(source).of(made.image)

    def edit(self, sitter: Sitter, edit: Edit | None = None, lamp: Lamp | None = None) -> SquareU8:
        """The portrait as an edit and a lamp have it."""
        controls = replace(self._controls, edit=edit or Edit(), lamp=lamp or Lamp())
        made = self.pipeline.still(sitter.source, controls)
        return self.view(sitter.source).of(made.image)

    def donor(self, image: ImageU8) -> Donor:
        """A picture for attributes to be taken from.

        Raises:
            FaceNotFoundError: it shows no face.
        """
        return self.pipeline.donor(self.pipeline.encode_source(image))

    def draw(self, points: Points3) -> SquareU8:
        """The drawing of a face's mesh, where its picture is not to be shown."""
        return draw_mesh(points, self.triangles, DRAWING_SIDE)

    def signs_of(self, image: ImageU8, reference: ImageU8) -> Signs:
        """What a face in a picture does, seen against another picture of the same person.

        Raises:
            FaceNotFoundError: one of them shows none.
        """
        look = self.instruments.look
        seen, first = (look(each, with_features=False).points for each in (image, reference))
        if seen is None or first is None:
            raise FaceNotFoundError("Got no face in a picture to drive with: expected one")
        return read_signs(seen, HeadReference(first))

    def judge(self, sitter: Sitter, image: SquareU8) -> Shot:
        """Measure an output of a portrait."""
        looks = self.instruments.look(image, with_features=False)
        if looks.points is None:
            return Shot(image=image, identity=0.0, signs=None)
        identity = NAN
        if looks.embedding is not None and sitter.looks.embedding is not None:
            identity = cosine(looks.embedding, sitter.looks.embedding)
        assert sitter.looks.points is not None
        signs = read_signs(looks.points, HeadReference(sitter.looks.points))
        return Shot(image=image, identity=identity, signs=signs)

    def view(self, source: Source) -> View:
        """The part of a portrait that is edited, at the model's size."""
        return View(box=source.crop_box, size=self.pipeline.config.image_size)
