"""A driver's motion over time: tracked points in, what the source's face should do out."""

from dataclasses import dataclass, field, replace

import numpy as np

from difffae.arrays import Points3
from difffae.face.company import MEMORY_FRAMES
from difffae.face.crop import CropBox
from difffae.face.morphable import EyeOpenings
from difffae.face.parameters import FaceParameters, Motion, Vector, retarget
from difffae.face.regions import Regions
from difffae.face.rig import Rig, Sighting
from difffae.face.smoothing import SmoothingConfig, SmoothingState, smooth

HOLD_FRAMES = 12  # a lost face is held still so long,
FADE_FRAMES = 24  # then goes back to the portrait's own pose over so long
RETURN_FRAMES = 10  # a face found again takes over within so long, or twice as long as it was lost
_LEAST_OPENING = 0.03  # of eyes that are called open, in head units
_LID_GAIN = (0.7, 1.6)  # how much less or more a source's lids may travel than the driver's
_LIP_GAIN = 2.5  # how much more a source's lips may close than the driver's
_ALIKE_SIZE = 1.6  # heads of sizes within this factor
_ALIKE_SHIFT = 1.2  # and this near, in head units, count as framed alike


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The source's picture that a driver is laid over, and the crop the face lives in."""

    face: FaceParameters
    box: CropBox
    height: int
    width: int
    crop_size: int

    def overlay(self, driver: FaceParameters, height: int, width: int) -> FaceParameters:
        """A face in the crop's pixels: pictures laid centre on centre, sides fitted.

        Args:
            driver: a face in another picture's pixels.
            height: of that picture [px].
            width: likewise.
        """
        grow = min(self.height, self.width) / min(height, width)
        middle = np.array([width, height], np.float32) / 2
        centre = np.array([self.width, self.height], np.float32) / 2
        corner = np.array([self.box.left, self.box.top], np.float32)
        to_crop = self.crop_size / self.box.size
        translation = ((driver.translation - middle) * grow + centre - corner) * to_crop
        return replace(
            driver, scale=driver.scale * grow * to_crop, translation=translation.astype(np.float32)
        )

    def in_picture(self, face: FaceParameters) -> FaceParameters:
        """A face in the crop's pixels in those of the source's picture."""
        to_picture = self.box.size / self.crop_size
        corner = np.array([self.box.left, self.box.top], np.float32)
        translation = face.translation * to_picture + corner
        return replace(
            face, scale=face.scale * to_picture, translation=translation.astype(np.float32)
        )


@dataclass(frozen=True, kw_only=True)
class MotionState:
    """All that motion remembers between frames.

    Attributes:
        reference: the driver's face that motion is measured from, in the crop's pixels; it also
            fixes the driver's shape.
        points: the last tracked points, in the driver's pixels; None before, and once the person
            was lost for so long that anyone may be followed.
        smoothing: of the driver's motion.
        shown: what the source's face did last.
        num_lost: frames since the face was last seen.
        num_returning: frames until a face found again is followed in full.
    """

    reference: FaceParameters | None = None
    points: Points3 | None = None
    smoothing: SmoothingState | None = None
    shown: FaceParameters | None = None
    num_lost: int = 0
    num_returning: int = 0


@dataclass(frozen=True, kw_only=True)
class MotionControls:
    """How motion is carried over; see `retarget`.

    Attributes:
        motion, strength: see `retarget`.
        moves_pose: the head turns; else it stays as in the portrait.
        moves_expression: face and lids move; else they stay as in the portrait.
        moves_gaze: whether the eyes turn; None: with the expression, as far as `regions` lets them.
        moves_camera: whether the head shifts and grows; None: with the pose.
        regions: which of the face's regions move where the face does.
        smoothing: of the driver's motion.
    """

    motion: Motion
    strength: float
    moves_pose: bool = True
    moves_expression: bool = True
    moves_gaze: bool | None = None
    moves_camera: bool | None = None
    regions: Regions = field(default_factory=Regions)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)


def take_reference(sighting: Sighting, stage: Stage, rig: Rig) -> MotionState:
    """A state whose reference is this frame, explained as all later frames will be."""
    person = rig.read(sighting)
    reference = stage.overlay(rig.read(sighting, person), *sighting.image.shape[:2])
    return MotionState(reference=reference, points=sighting.points)


def follow(
    sighting: Sighting, state: MotionState, stage: Stage, rig: Rig, controls: MotionControls
) -> MotionState:
    """Carry one tracked frame over; `shown` of the answer is what the source's face should do."""
    if state.reference is None:
        state = take_reference(sighting, stage, rig)
    reference = state.reference
    assert reference is not None
    driver = stage.overlay(rig.read(sighting, reference), *sighting.image.shape[:2])
    unit = _units(reference, rig)
    smoothing = smooth(driver.motion_vector() / unit, state.smoothing, controls.smoothing)
    driver = driver.with_motion(smoothing.value * unit)
    shown = retarget(
        stage.face,
        driver,
        reference,
        motion=controls.motion,
        strength=controls.strength,
        is_framed_alike=_is_framed_alike(stage.face, reference),
    )
    lids = controls.strength * _lid_change(driver, reference, stage.face, rig)
    lips = _lip_change(shown, (driver, reference), stage.face, rig, controls)
    shown = rig.open_mouth(rig.open_eyes(shown, lids), lips)
    wanted = _wanted(shown, stage.face, controls, rig)
    num_returning = state.num_returning
    if state.num_lost > 0 and state.shown is not None:
        num_returning = min(RETURN_FRAMES, 2 * state.num_lost)
    if num_returning > 0 and state.shown is not None:
        wanted = _between(state.shown, wanted, 1 / num_returning)
    return MotionState(
        reference=reference,
        points=sighting.points,
        smoothing=smoothing,
        shown=wanted,
        num_returning=max(0, num_returning - 1),
    )


def _between(start: FaceParameters, end: FaceParameters, share: float) -> FaceParameters:
    """The face that share of the way from one to the other."""
    begun = start.motion_vector()
    return end.with_motion(begun + np.float32(share) * (end.motion_vector() - begun))


def _wanted(
    moved: FaceParameters, still: FaceParameters, controls: MotionControls, rig: Rig
) -> FaceParameters:
    """What of the motion is to be shown; the rest stays as in the portrait."""
    gaze = moved.gaze
    if not (controls.moves_pose if controls.moves_camera is None else controls.moves_camera):
        moved = replace(moved, scale=still.scale, translation=still.translation)
    if not controls.moves_pose:
        moved = replace(moved, rotation=still.rotation)
    if controls.moves_expression:
        moved = rig.keep_regions(moved, still, controls.regions)
    else:
        moved = replace(moved, expression=still.expression, gaze=still.gaze)
    if controls.moves_gaze is None:
        return moved
    return replace(moved, gaze=gaze if controls.moves_gaze else still.gaze)


def _lid_change(
    driver: FaceParameters, reference: FaceParameters, source: FaceParameters, rig: Rig
) -> EyeOpenings:
    """What scales a closing of the driver's eyes to the source's: a blink closes eyes of any size.

    It is to be added to the openings that the driver's own lids give [head units].
    """
    open_source, open_reference = (rig.eye_openings(face) for face in (source, reference))
    closing = np.minimum(rig.eye_openings(driver) - open_reference, 0)
    ratio = open_source / np.maximum(open_reference, _LEAST_OPENING)
    return np.asarray((np.clip(ratio, *_LID_GAIN) - 1) * closing, np.float32)


def _lip_change(
    shown: FaceParameters,
    drivers: tuple[FaceParameters, FaceParameters],
    source: FaceParameters,
    rig: Rig,
    controls: MotionControls,
) -> float:
    """What opens the shown mouth as far as the driver's asks for [head units].

    Absolute motion opens it as far as the driver's, whatever the mouths' shapes. Relative motion
    adds the portrait's own opening, but lips do not pass through one another: a portrait that was
    less open than the driver's reference opens as far as the driver; one that was further open
    closes as the driver closes.

    Args:
        shown: the face moved without regard to its lips.
        drivers: the driver's face now, and in the reference frame.
        source: the portrait's face.
        rig: measures openings.
        controls: whose `motion` and `strength` count.
    """
    now, before, own, moved = (rig.mouth_opening(f) for f in (*drivers, source, shown))
    wanted = now
    if controls.motion == "relative" and own > before:
        gain = min(own / max(before, _LEAST_OPENING), _LIP_GAIN) if now < before else 1.0
        wanted = own + gain * (now - before)
    return own + controls.strength * (wanted - own) - moved


def lose(state: MotionState, stage: Stage) -> MotionState:
    """A frame without a face: hold what was shown, later fade back to the portrait."""
    num_lost = state.num_lost + 1
    shown = stage.face if state.shown is None else state.shown
    remaining = FADE_FRAMES - (num_lost - HOLD_FRAMES)
    if num_lost > HOLD_FRAMES:
        shown = _between(shown, stage.face, 1 / (remaining + 1) if remaining >= 0 else 1.0)
    points = state.points if num_lost < MEMORY_FRAMES else None
    return MotionState(reference=state.reference, points=points, shown=shown, num_lost=num_lost)


def presence(state: MotionState) -> float:
    """How much of what is shown is the driver's: all, but for a face that is lost or just found."""
    lost = max(state.num_lost - HOLD_FRAMES, 0) / FADE_FRAMES
    returning = min(state.num_returning / RETURN_FRAMES, 1.0)
    return max(1.0 - lost, 0.0) * (1.0 - returning)


def distance(driver: FaceParameters, source: FaceParameters) -> float:
    """How far a driver's expression and pose are from the source's: small for a good reference."""
    expression = float(np.abs(driver.expression - source.expression).mean())
    turn = float(np.linalg.norm(driver.rotation - source.rotation))
    return expression + 2 * turn


def _units(reference: FaceParameters, rig: Rig) -> Vector:
    """Usual change of each motion signal, so that one filter setting serves all."""
    rest = np.array([0.05, 0.1 * reference.scale, 0.1 * reference.scale], np.float32)
    units = [rig.expression_spread, np.full(4, 0.03), np.full(3, 0.1), rest]
    return np.asarray(np.concatenate(units), np.float32)


def _is_framed_alike(source: FaceParameters, reference: FaceParameters) -> bool:
    growth = reference.scale / source.scale
    shift = float(np.linalg.norm(reference.translation - source.translation)) / source.scale
    return 1 / _ALIKE_SIZE < growth < _ALIKE_SIZE and shift < _ALIKE_SHIFT
