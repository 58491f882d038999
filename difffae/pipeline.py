"""The whole of DiffFAE (paper figure 2): encode a source once, reenact it frame after frame."""

import math
from collections.abc import Iterable
from dataclasses import replace

from difffae.arrays import ImageU8, Lighting, MaskF32, Points3
from difffae.config import ModelConfig
from difffae.controls import Controls
from difffae.diffusion.warm_start import Trail as Trail
from difffae.face.company import is_same_person
from difffae.face.crop import crop, portrait_box
from difffae.face.edit import Donor, apply_edit, neutral
from difffae.face.expression_ratio import SkinChange, SkinMemory, alike
from difffae.face.glimpse import glimpse_of, looks_the_same
from difffae.face.identity import align_face, five_points
from difffae.face.lamp import add_lamp
from difffae.face.mediapipe import MediaPipeTracker, PersonSegmenter
from difffae.face.motion import (
    MotionState,
    Stage,
    distance,
    follow,
    lose,
    presence,
    take_reference,
)
from difffae.face.parameters import FaceParameters
from difffae.face.reach import within_reach
from difffae.face.renderer import Condition
from difffae.face.rig import Rig, Sighting
from difffae.face.scene import Scene
from difffae.face.source_face import full_layers
from difffae.face.tracker import FaceNotFoundError, Tracker, measure, pick_face
from difffae.generator import Generator, Sampling
from difffae.hidden import HiddenRegions, hide_in_condition
from difffae.paste_back import lay_into, paste_back
from difffae.slot_overlay import SlotView, show_slots
from difffae.source import Source as Source
from difffae.source import digest_of, hide, redress
from difffae.stream import Prepared as Prepared
from difffae.stream import Reenacted as Reenacted
from difffae.stream import StreamState as StreamState


class Pipeline:
    """One model with its tracker; every method is a function of its arguments.

    Not for use by two threads at once, as the tracker is not: each has its own, see `beside`. But
    others may `paint`, several frames at once, while one prepares the next.
    """

    def __init__(
        self,
        *,
        config: ModelConfig,
        rig: Rig,
        generator: Generator,
        tracker: Tracker,
        segmenter: PersonSegmenter | None = None,
    ) -> None:
        """Put the parts together; `difffae.loading.load_pipeline` makes them."""
        self.config = config
        self.rig = rig
        self._generator = generator
        self._tracker = tracker
        self._segmenter = PersonSegmenter() if segmenter is None else segmenter

    def beside(self) -> "Pipeline":
        """The same model, for one more thread: with a tracker and a segmenter of its own.

        The networks are shared and take turns; what both give is the same.
        """
        return Pipeline(
            config=self.config, rig=self.rig, generator=self._generator, tracker=MediaPipeTracker()
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
        points = measure(self._tracker, patch, box.to_crop(points, size))
        sighting = Sighting(image=patch, points=points)
        source_face = self.rig.take_apart(sighting, self._segmenter.segment(patch))
        aligned = align_face(patch, five_points(points))
        return Source(
            image=image,
            crop_box=box,
            points=points,
            face=source_face,
            layers=full_layers(image, box, source_face.layers),
            tokens=self._generator.encode_source(patch, aligned),
            digest=digest_of(image),
        )

    def segment(self, image: ImageU8) -> MaskF32:
        """The person's soft mask in a picture of any size."""
        return self._segmenter.segment(image)

    def redress(self, source: Source, scene: Scene) -> Source:
        """The same face in another scene of the portrait's size; identity and light stay."""
        return redress(source, scene, self._generator, self.config.image_size)

    def hide(self, source: Source, hidden: HiddenRegions) -> Source:
        """The same source with regions that its slot tokens alone tell the networks of."""
        return hide(source, hidden, self._generator, self.config.image_size)

    def open_stream(self, source: Source, controls: Controls) -> StreamState:
        """The state before the first frame."""
        del source, controls
        return StreamState()

    def restart(self, state: StreamState) -> StreamState:
        """The state of the same person, with motion measured anew from the next frame."""
        motion = MotionState(points=state.motion.points, num_lost=state.motion.num_lost)
        return replace(state, motion=motion)

    def choose_reference(
        self, frames: Iterable[ImageU8], source: Source, controls: Controls
    ) -> ImageU8:
        """The frame whose expression and pose are nearest the portrait's own, the first of equals.

        Raises:
            FaceNotFoundError: no frame shows a face.
        """
        del controls
        best: ImageU8 | None = None
        least = math.inf
        points: Points3 | None = None
        for frame in frames:
            points = self._tracker.track(frame, points)
            if points is None:
                continue
            driver = self.rig.read(Sighting(image=frame, points=points))
            far = distance(driver, source.face.fitted.parameters)
            if far < least:
                best, least = frame, far
        if best is None:
            raise FaceNotFoundError("no face in any of these frames: the driver must show one")
        return best

    def set_reference(self, frame: ImageU8, source: Source, state: StreamState) -> StreamState:
        """Measure motion from this frame on.

        Raises:
            FaceNotFoundError: the frame shows no face.
        """
        points = self._tracker.track(frame, state.motion.points)
        if points is None:
            raise FaceNotFoundError("no face in the reference frame: take another one")
        sighting = Sighting(image=frame, points=measure(self._tracker, frame, points))
        fresh = take_reference(sighting, self._stage(source), self.rig)
        skin = replace(state.skin, before=self.rig.skin_detail(sighting))
        return replace(state, motion=replace(fresh, points=state.motion.points), skin=skin)

    def reenact(
        self, frame: ImageU8, source: Source, state: StreamState, controls: Controls
    ) -> tuple[Reenacted, StreamState]:
        """Edit the portrait as this frame of the driver asks; returns that and the next state."""
        prepared, state = self.prepare(frame, source, state, controls)
        made = self.paint(prepared, source, controls, state.trail)
        return made, replace(state, trail=made.trail)

    def prepare(
        self, frame: ImageU8, source: Source, state: StreamState, controls: Controls
    ) -> tuple[Prepared, StreamState]:
        """The first half of `reenact`: all that the next frame waits for."""
        condition, state = self.condition(frame, source, state, controls)
        prepared = Prepared(
            condition=condition,
            prior=self._generator.encode_latent(condition.composite),
            is_tracked=state.motion.num_lost == 0,
            is_in_company=bool(state.company.others),
        )
        return prepared, state

    def paint(
        self,
        prepared: Prepared,
        source: Source,
        controls: Controls,
        trail: Trail | None = None,
    ) -> Reenacted:
        """The second half of `reenact`; another thread may do it while the next is prepared.

        Args:
            prepared: the frame.
            source: the portrait.
            controls: as the frame was prepared with.
            trail: of the frame painted last, for a warm start; None: start from pure noise.
        """
        condition, sampling = prepared.condition, _sampling(controls)
        left = self._generator.follow(condition, prepared.prior, source.tokens, trail, sampling)
        generated = self._generator.decode(left.latent, condition)
        patch, edited = paste_back(generated, condition, source.face.layers.person, source.layers)
        image, mask = lay_into(source.image, patch, edited, source.crop_box)
        if controls.shows_slots:
            image = show_slots(image, self._slots_of(source), condition)
        return Reenacted(
            image=image,
            mask=mask,
            is_tracked=prepared.is_tracked,
            is_in_company=prepared.is_in_company,
            trail=None if controls.warm_start is None else left,
        )

    def skip(
        self, frame: ImageU8, source: Source, state: StreamState, controls: Controls
    ) -> StreamState:
        """Advance the state over a frame without making a picture."""
        return self._advance(self.sight(frame, state), source, state, controls)

    def still(self, source: Source, controls: Controls) -> Reenacted:
        """The portrait as the controls' edit alone has it, without a driver."""
        shown = source.face.fitted.parameters
        condition = self.render(
            source, self._edited(shown, source, controls), self._light(None, source, controls)
        )
        prior = self._generator.encode_latent(condition.composite)
        prepared = Prepared(condition=condition, prior=prior, is_tracked=True, is_in_company=False)
        return self.paint(prepared, source, controls)

    def donor(self, source: Source, state: StreamState | None = None) -> Donor:
        """A portrait's face, for others to take attributes from; see `Edit`.

        Args:
            source: the portrait.
            state: of a stream; then it is the face that the driver has moved to.
        """
        height, width = source.image.shape[:2]
        shown = source.face.fitted.parameters if state is None else self._shown(source, state)
        lighting = None if state is None else state.lighting
        return Donor(
            parameters=self._stage(source).in_picture(shown),
            height=height,
            width=width,
            lighting=source.face.appearance.lighting if lighting is None else lighting,
        )

    def neutral(self, source: Source) -> Donor:
        """A donor that looks straight out of the picture and shows no expression."""
        return neutral(self.donor(source))

    def sight(self, frame: ImageU8, state: StreamState) -> Sighting | None:
        """Where the stream's face is in this frame; None where it shows none, or another's.

        A frame that later ones are measured from is looked at more than once; one that shows the
        face as it was before, not at all.
        """
        previous, known = state.motion.points, state.motion.reference is not None
        if previous is not None and known and looks_the_same(frame, state.glimpse):
            return Sighting(image=frame, points=previous)
        points = self._tracker.track(frame, previous)
        if points is None:
            return None
        if not is_same_person(points, previous, state.company, state.motion.num_lost):
            return None
        if not known:
            points = measure(self._tracker, frame, points)
        return Sighting(image=frame, points=points)

    def look_around(self, frame: ImageU8, state: StreamState) -> StreamState:
        """Note who else is in the frame just processed, now and then; faces far off are missed."""
        points = state.motion.points
        if points is None or state.motion.num_lost > 0:
            return state
        boxes = self._tracker.spot_faces(frame)
        return replace(state, company=state.company.after(boxes, points))

    def condition(
        self, frame: ImageU8, source: Source, state: StreamState, controls: Controls
    ) -> tuple[Condition, StreamState]:
        """Track, retarget and render one frame; all that comes before the networks."""
        sighting = self.sight(frame, state)
        state = self._advance(sighting, source, state, controls)
        if controls.light == "driver" and sighting is not None:
            state = replace(state, lighting=self.rig.lighting(sighting))
        shown = self._edited(self._shown(source, state), source, controls)
        light = self._light(state.lighting, source, controls)
        return self.render(source, shown, light, self._skin(source, state, controls)), state

    def floor(self, source: Source, state: StreamState, controls: Controls) -> Condition | None:
        """The last frame's condition before any network; None where it is the condition itself."""
        plain = self.rig.without_networks()
        if plain is self.rig:
            return None
        shown = self._edited(self._shown(source, state), source, controls)
        light = self._light(state.lighting, source, controls)
        return plain.condition(source.face, shown, light, self._skin(source, state, controls))

    def render(
        self,
        source: Source,
        shown: FaceParameters,
        lighting: Lighting,
        skin: SkinChange | None = None,
    ) -> Condition:
        """The condition of a source's face with these parameters under this light.

        Args:
            source: the portrait.
            shown: the face, in the pixels of the source's crop at the model's size.
            lighting: as `Rig.lighting` reads it.
            skin: how the driver's has changed.
        """
        condition = self.rig.condition(source.face, shown, lighting, skin)
        return condition if source.hidden is None else hide_in_condition(condition, source.hidden)

    def generate(self, condition: Condition, source: Source, controls: Controls) -> ImageU8:
        """The networks alone: the generated crop of a condition."""
        latent = self._generator.sample(
            condition, source.tokens, num_steps=controls.num_steps, seed=controls.seed
        )
        return self._generator.decode(latent, condition).image

    def reconstruct(self, image: ImageU8, condition: Condition, source: Source) -> ImageU8:
        """A true crop's own latent, decoded with the condition: the ceiling of the sampler."""
        del source
        return self._generator.decode(self._generator.encode_latent(image), condition).image

    def _advance(
        self, sighting: Sighting | None, source: Source, state: StreamState, controls: Controls
    ) -> StreamState:
        stage = self._stage(source)
        if sighting is None:
            return replace(state, motion=lose(state.motion, stage))
        if sighting.points is not state.motion.points:
            state = replace(state, glimpse=glimpse_of(sighting.image, sighting.points))
            now = self.rig.skin_detail(sighting)
            before = now if state.motion.reference is None else state.skin.before
            state = replace(state, skin=SkinMemory(now=now, before=before))
        motion = follow(sighting, state.motion, stage, self.rig, controls.of_motion())
        return replace(state, motion=motion)

    def _slots_of(self, source: Source) -> SlotView:
        names = self.config.region_encoder.regions
        return SlotView(masks=source.tokens.slot_masks, names=names, box=source.crop_box)

    def _edited(self, shown: FaceParameters, source: Source, controls: Controls) -> FaceParameters:
        """The face with what is asked for on top, no further turned than its portrait can follow.

        Where the networks make all of the face, there is no portrait to follow.
        """
        stage = self._stage(source)
        if controls.edit.moves_face:
            shown = apply_edit(shown, controls.edit, stage, self.rig, controls.regions)
        moves_portrait = self.config.face.background == "portrait"
        return within_reach(shown, stage.face) if moves_portrait else shown

    def _skin(self, source: Source, state: StreamState, controls: Controls) -> SkinChange | None:
        """What the driver's expression does to skin, where it is the driver's that is shown."""
        reference = state.motion.reference
        if reference is None or not controls.moves_expression or controls.edit.expression:
            return None
        amount = controls.strength * controls.edit.expression_strength * presence(state.motion)
        if controls.motion == "absolute":
            amount *= alike(reference.expression, source.face.fitted.parameters.expression)
        return state.skin.change(amount, controls.regions)

    def _light(self, driver: Lighting | None, source: Source, controls: Controls) -> Lighting:
        """The light to show: the donor's, the driver's or the portrait's, and the lamp."""
        lighting = source.face.appearance.lighting
        if controls.edit.light is not None:
            lighting = controls.edit.light.lighting
        elif controls.light == "driver" and driver is not None:
            lighting = driver
        return add_lamp(lighting, controls.lamp)

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


def _sampling(controls: Controls) -> Sampling:
    return Sampling(
        num_steps=controls.num_steps, seed=controls.seed, warm_start=controls.warm_start
    )
