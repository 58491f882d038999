"""How a person asks for a stream to be reenacted."""

from dataclasses import dataclass, field
from typing import Literal

from difffae.diffusion.warm_start import WarmStart
from difffae.face.edit import Edit
from difffae.face.lamp import Lamp
from difffae.face.motion import MotionControls
from difffae.face.parameters import Motion
from difffae.face.regions import Regions
from difffae.face.smoothing import SmoothingConfig

Light = Literal["source", "driver"]
MAX_STRENGTH = 2.0


@dataclass(frozen=True, kw_only=True)
class Controls:
    """How a stream is reenacted.

    Attributes:
        motion: "relative" adds the driver's motion since the reference frame to the portrait's own
            pose; "absolute" takes the driver's pose and expression as they are.
        strength: multiplies the motion, 0 to 2.
        moves_pose, moves_expression: whether the driver's head and face move the portrait's.
        moves_gaze: whether the driver's eyes do; None: with the face, where `moves_eyes` lets them.
        moves_camera: whether the driver's size and place in the picture do; None: with the pose.
        moves_eyes, moves_mouth: whether lids and gaze, and mouth and jaw, move with the face.
        smoothing: of the driver's motion: 0 follows at once, 1 is steadiest.
        light: whose light the face is shown in: the portrait's own, or the driver's.
        lamp: blended into that light; see `lamp_of` for presets.
        edit: attributes from elsewhere than the driver, and by number.
        shows_slots: tint the result by the source's slots, and name them.
        num_steps: sampler steps.
        seed: of the noise, which is the same for every frame.
        warm_start: how a frame starts from the last one's latent; None: each from pure noise.
    """

    motion: Motion = "relative"
    strength: float = 1.0
    moves_pose: bool = True
    moves_expression: bool = True
    moves_gaze: bool | None = None
    moves_camera: bool | None = None
    moves_eyes: bool = True
    moves_mouth: bool = True
    smoothing: float = 0.5
    light: Light = "source"
    lamp: Lamp = field(default_factory=Lamp)
    edit: Edit = field(default_factory=Edit)
    shows_slots: bool = False
    num_steps: int = 1
    seed: int = 0
    warm_start: WarmStart | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: a value is out of range.
        """
        if self.motion not in ("relative", "absolute"):
            raise ValueError(f"motion is {self.motion!r}; expected 'relative' or 'absolute'")
        if not 0 <= self.strength <= MAX_STRENGTH:
            raise ValueError(f"strength is {self.strength}; expected 0 to {MAX_STRENGTH}")
        if self.light not in ("source", "driver"):
            raise ValueError(f"light is {self.light!r}; expected 'source' or 'driver'")
        if not 0 <= self.smoothing <= 1:
            raise ValueError(f"smoothing is {self.smoothing}; expected 0 to 1")
        if self.num_steps < 1:
            raise ValueError(f"num_steps is {self.num_steps}; expected 1 or more")

    @property
    def regions(self) -> Regions:
        """Which of the face's regions move where the face does."""
        return Regions(eyes=self.moves_eyes, mouth=self.moves_mouth)

    def of_motion(self) -> MotionControls:
        """What of them says how motion is carried over."""
        return MotionControls(
            motion=self.motion,
            strength=self.strength,
            moves_pose=self.moves_pose,
            moves_expression=self.moves_expression,
            moves_gaze=self.moves_gaze,
            moves_camera=self.moves_camera,
            regions=self.regions,
            smoothing=SmoothingConfig.of(self.smoothing),
        )
