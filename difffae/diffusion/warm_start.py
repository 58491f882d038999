"""Where a frame's sampling starts: the last frame's latent in, whether and what to noise out.

SDEdit (Meng et al. 2022) along a video: the last output is noised to an intermediate timestep, with
the noise that every frame has, and denoised from there. What it was made for must still be
right: after a jump (a cut, another pose or light, another portrait) the next frame starts from pure
noise, and so does every so many-th one, lest errors add up.
"""

from dataclasses import dataclass

from difffae.arrays import Latents


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """How warm starts are made.

    Attributes:
        timestep: noise level that the last output is brought to, of 1,000.
        refresh_every: at most so many frames lie between two that start from pure noise.
        largest_change: RMS change of the condition's latent from frame to frame, in latents' own
            spread, past which it is a jump.
    """

    timestep: int = 400
    refresh_every: int = 25
    largest_change: float = 0.35

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: a value is out of range.
        """
        if self.timestep < 1:
            raise ValueError(f"timestep is {self.timestep}; expected 1 or more")
        if self.refresh_every < 1:
            raise ValueError(f"refresh_every is {self.refresh_every}; expected 1 or more")
        if not self.largest_change >= 0:
            raise ValueError(f"largest_change is {self.largest_change}; expected 0 or more")


@dataclass(frozen=True, kw_only=True)
class Trail:
    """What a frame leaves for the next one to start from.

    Attributes:
        latent: of the frame, sampled.
        prior: latent of its condition.
        source: what else it was made from; compared by identity.
        num_warm: frames since one that started from pure noise; 0: this one did.
    """

    latent: Latents
    prior: Latents
    source: object
    num_warm: int = 0


def can_follow(trail: Trail, prior: Latents, source: object, config: WarmStart) -> bool:
    """Whether a frame may start from where the last one ended.

    Args:
        trail: of the last frame.
        prior: latent of this frame's condition.
        source: what else this frame is made from.
        config: the limits.
    """
    if trail.source is not source or trail.num_warm + 1 >= config.refresh_every:
        return False
    change = float((prior - trail.prior).square().mean().sqrt())
    return change <= config.largest_change
