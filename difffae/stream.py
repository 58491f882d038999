"""What travels between the stages of a stream: its state, a prepared frame, a painted one."""

from dataclasses import dataclass, field

from difffae.arrays import ImageU8, Latents, Lighting, MaskU8
from difffae.diffusion.warm_start import Trail
from difffae.face.company import Company
from difffae.face.expression_ratio import SkinMemory
from difffae.face.glimpse import Glimpse
from difffae.face.motion import MotionState
from difffae.face.renderer import Condition


@dataclass(frozen=True, kw_only=True)
class StreamState:
    """All that one stream remembers between frames.

    Attributes:
        motion: of the driver and of the source's face.
        glimpse: of the driver where `motion.points` were found; None before.
        skin: of the driver.
        lighting: the driver's, as last seen; None before.
        company: who else was in the picture at the last look.
        trail: of the last frame that `reenact` painted; who paints apart keeps it apart.
    """

    motion: MotionState = field(default_factory=MotionState)
    glimpse: Glimpse | None = None
    skin: SkinMemory = field(default_factory=SkinMemory)
    lighting: Lighting | None = None
    company: Company = field(default_factory=Company)
    trail: Trail | None = None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A frame of the driver, tracked and rendered: what the networks need of it.

    Attributes:
        condition: what they are told.
        prior: the condition's own latent.
        is_tracked, is_in_company: see `Reenacted`.
    """

    condition: Condition
    prior: Latents
    is_tracked: bool
    is_in_company: bool


@dataclass(frozen=True, kw_only=True)
class Reenacted:
    """One output frame.

    Attributes:
        image: the portrait, its own size, with the edited head.
        mask: 255 where pixels were edited.
        is_tracked: False where the driver's frame showed no face and motion is held or fading.
        is_in_company: whether at the last look (see `Pipeline.look_around`) other faces of
            comparable size were in the driver's frame.
        trail: what the next `paint` may start from; None where the controls ask for no warm start.
    """

    image: ImageU8
    mask: MaskU8
    is_tracked: bool
    is_in_company: bool = False
    trail: Trail | None = None
