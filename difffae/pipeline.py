"""The whole of DiffFAE (paper figure 2): encode a source once, reenact it frame after frame."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from difffae.arrays import ImageU8, MaskU8, Points3
from difffae.config import ModelConfig
from difffae.face.crop import CropBox, crop, portrait_box
from difffae.face.facemesh import FaceMeshModel
from difffae.face.identity import align_face, five_points
from difffae.face.mediapipe import PersonSegmenter
from difffae.face.motion import (
    Frame,
    MotionControls,
    MotionState,
    Stage,
    distance,
    follow,
    lose,
    take_reference,
)
from difffae.face.parameters import FaceParameters, Motion
from difffae.face.pytorch3d import rasterize_pytorch3d
from difffae.face.rasterizer import rasterize
from difffae.face.renderer import Condition, Layers, Renderer
from difffae.face.source_face import SourceFace, build_source_face
from difffae.face.surroundings import background_plate
from difffae.face.tracker import FaceNotFoundError, Tracker, pick_face
from difffae.generator import Generated, Generator, SourceTokens
from difffae.paste_back import lay_into, paste_back

MAX_STRENGTH = 2.0
LARGEST_LAYER_PX = 1024  # a crop larger than this is composed at this size


@dataclass(frozen=True, kw_only=True)
class Controls:
    """How a stream is reenacted.

    Attributes:
        motion: "relative" adds the driver's motion since the reference frame to the portrait's own
            pose; "absolute" takes the driver's pose and expression as they are.
        strength: multiplies the motion, 0 to 2.
        num_steps: sampler steps.
        seed: of the noise, which is the same for every frame.
    """

    motion: Motion = "relative"
    strength: float = 1.0
    num_steps: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: a value is out of range.
        """
        if self.motion not in ("relative", "absolute"):
            raise ValueError(f"motion is {self.motion!r}; expected 'relative' or 'absolute'")
        if not 0 <= self.strength <= MAX_STRENGTH:
            raise ValueError(f"strength is {self.strength}; expected 0 to {MAX_STRENGTH}")
        if self.num_steps < 1:
            raise ValueError(f"num_steps is {self.num_steps}; expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Everything of a portrait that does not depend on the driver.

    Attributes:
        image: the portrait as given.
        crop_box: the square of it that is edited.
        face: the crop taken apart, at the model's size.
        layers: the crop's layers at (up to) its own resolution.
        tokens: what the networks keep of it.
        digest: SHA-256 of the portrait's pixels.
    """

    image: ImageU8
    crop_box: CropBox
    face: SourceFace
    layers: Layers
    tokens: SourceTokens
    digest: str


@dataclass(frozen=True, kw_only=True)
class StreamState:
    """All that one stream remembers between frames."""

    motion: MotionState = field(default_factory=MotionState)


@dataclass(frozen=True, kw_only=True)
class Reenacted:
    """One output frame.

    Attributes:
        image: the portrait, its own size, with the edited head.
        mask: 255 where pixels were edited.
        is_tracked: False where the driver's frame showed no face and motion is held or fading.
    """

    image: ImageU8
    mask: MaskU8
    is_tracked: bool


class Pipeline:
    """One model with its tracker; every method is a function of its arguments.

    Not for use by two threads at once: the tracker and the compiled networks are not.
    """

    def __init__(
        self,
        *,
        config: ModelConfig,
        head_model: FaceMeshModel,
        generator: Generator,
        tracker: Tracker,
        segmenter: PersonSegmenter | None = None,
    ) -> None:
        """Put the parts together; `difffae.loading.load_pipeline` makes them."""
        self.config = config
        self._head_model = head_model
        self._generator = generator
        self._tracker = tracker
        self._segmenter = PersonSegmenter() if segmenter is None else segmenter
        self._renderer = Renderer(
            head_model,
            config.surroundings,
            config.image_size,
            rasterize if config.rasterizer == "numba" else rasterize_pytorch3d,
        )

    def encode_source(self, image: ImageU8, *, face: int | None = None) -> Source:
        """Crop, track, take apart and encode a portrait: once for each source.

        Args:
            image: the portrait.
            face: which face, counted from 1 at the left; None where it shows one.

        Raises:
            FaceNotFoundError: it shows none, or none of that number.
            SeveralFacesError: it shows several and `face` is None.
        """
        points = pick_face(self._tracker.find_faces(image), face)
        box = portrait_box(points, *image.shape[:2])
        size = self.config.image_size
        patch = crop(image, box, size)
        points = self._refined(patch, box.to_crop(points, size))
        source_face = build_source_face(
            patch, points, self._segmenter.segment(patch), self._head_model
        )
        aligned = align_face(patch, five_points(points))
        return Source(
            image=image,
            crop_box=box,
            face=source_face,
            layers=_full_layers(image, box, source_face.layers),
            tokens=self._generator.encode_source(patch, aligned),
            digest=hashlib.sha256(np.ascontiguousarray(image).data).hexdigest(),
        )

    def open_stream(self, source: Source, controls: Controls) -> StreamState:
        """The state before the first frame."""
        del source, controls
        return StreamState()

    def choose_reference(
        self, frames: Iterable[ImageU8], source: Source, controls: Controls
    ) -> int:
        """Index of the frame whose expression and pose are nearest the portrait's own.

        Raises:
            FaceNotFoundError: no frame shows a face.
        """
        del controls
        best: tuple[float, int] | None = None
        points: Points3 | None = None
        for index, frame in enumerate(frames):
            points = self._tracker.track(frame, points)
            if points is None:
                continue
            far = distance(self._head_model.fit(points).parameters, source.face.fitted.parameters)
            best = min(best, (far, index)) if best is not None else (far, index)
        if best is None:
            raise FaceNotFoundError("no face in any of these frames: the driver must show one")
        return best[1]

    def set_reference(self, frame: ImageU8, source: Source, state: StreamState) -> StreamState:
        """Measure motion from this frame on.

        Raises:
            FaceNotFoundError: the frame shows no face.
        """
        points = self._tracker.track(frame, state.motion.points)
        if points is None:
            raise FaceNotFoundError("no face in the reference frame: take another one")
        fresh = take_reference(points, self._stage(source), _shape(frame), self._head_model)
        return StreamState(motion=replace(fresh, points=state.motion.points))

    def reenact(
        self, frame: ImageU8, source: Source, state: StreamState, controls: Controls
    ) -> tuple[Reenacted, StreamState]:
        """Edit the portrait as this frame of the driver asks; returns that and the next state."""
        condition, state = self.condition(frame, source, state, controls)
        generated = self._generate(condition, source, controls)
        patch, edited = paste_back(generated, condition, source.face.layers.person, source.layers)
        image, mask = lay_into(source.image, patch, edited, source.crop_box)
        return Reenacted(image=image, mask=mask, is_tracked=state.motion.num_lost == 0), state

    def skip(
        self, frame: ImageU8, source: Source, state: StreamState, controls: Controls
    ) -> StreamState:
        """Advance the state over a frame without making a picture."""
        points = self._tracker.track(frame, state.motion.points)
        stage = self._stage(source)
        if points is None:
            return StreamState(motion=lose(state.motion, stage))
        motion = MotionControls(motion=controls.motion, strength=controls.strength)
        return StreamState(
            motion=follow(points, state.motion, stage, _shape(frame), self._head_model, motion)
        )

    def condition(
        self, frame: ImageU8, source: Source, state: StreamState, controls: Controls
    ) -> tuple[Condition, StreamState]:
        """Track, retarget and render one frame; all that comes before the networks."""
        state = self.skip(frame, source, state, controls)
        shown = self._shown(source, state)
        face = source.face
        return self._renderer.condition(
            face.fitted, face.layers, shown, (face.lighting, face.lighting)
        ), state

    def generate(self, condition: Condition, source: Source, controls: Controls) -> ImageU8:
        """The networks alone: the generated crop of a condition."""
        return self._generate(condition, source, controls).image

    def reconstruct(self, image: ImageU8, condition: Condition, source: Source) -> ImageU8:
        """A true crop's own latent, decoded with the condition: the ceiling of the sampler."""
        del source
        return self._generator.decode(self._generator.encode_latent(image), condition).image

    def _generate(self, condition: Condition, source: Source, controls: Controls) -> Generated:
        latent = self._generator.sample(
            condition, source.tokens, num_steps=controls.num_steps, seed=controls.seed
        )
        return self._generator.decode(latent, condition)

    def _shown(self, source: Source, state: StreamState) -> FaceParameters:
        shown = state.motion.shown
        return source.face.fitted.parameters if shown is None else shown

    def _stage(self, source: Source) -> Stage:
        height, width = source.image.shape[:2]
        return Stage(
            face=source.face.fitted.parameters,
            box=source.crop_box,
            height=height,
            width=width,
            crop_size=self.config.image_size,
        )

    def _refined(self, patch: ImageU8, points: Points3) -> Points3:
        """Track once more in the crop, as drivers are; keep the first answer where that fails."""
        again = self._tracker.track(patch, points)
        return points if again is None else again


def _shape(frame: ImageU8) -> Frame:
    return Frame(height=frame.shape[0], width=frame.shape[1])


def _full_layers(image: ImageU8, box: CropBox, small: Layers) -> Layers:
    """The crop's layers at its own resolution; masks are enlarged, the plate is made anew."""
    size = min(round(box.size), LARGEST_LAYER_PX)
    if size == small.portrait.shape[0]:
        return small
    portrait = crop(image, box, size)
    person = np.clip(
        cv2.resize(small.person, (size, size), interpolation=cv2.INTER_CUBIC), 0, 1
    ).astype(np.float32)
    plate = background_plate(portrait, person)
    return Layers(portrait=portrait, person=person, plate=plate, mouth_colour=small.mouth_colour)
