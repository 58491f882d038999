"""What a session gives up when the model is slower than the camera, and when it has it back.

First fewer steps of the sampler, then fewer frames, evenly spaced. Pure: state goes in with an
observation and comes back out; times are whatever clock the caller has.
"""

import math
from dataclasses import dataclass

from streamer.controls import STEPS

KEEP_EVERY = (1.25, 1.5, 2.0, 3.0, 4.0)


@dataclass(frozen=True, kw_only=True)
class LadderSettings:
    """How soon the ladder is climbed.

    Attributes:
        give_up_after_s: seconds of too slow results before something is given up.
        give_back_after_s: seconds in which more would have fitted before it is tried.
        spare: part of the frame interval that has to stay free for that, 0 to 1.
    """

    give_up_after_s: float = 1.0
    give_back_after_s: float = 5.0
    spare: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Rung:
    """What a session may use: steps of the sampler, and every how many-th frame is moved."""

    steps: int
    keep_every: float


@dataclass(frozen=True, kw_only=True)
class LoadState:
    """Where a session stands.

    Attributes:
        level: rungs below what was asked for; 0 is all of it.
        slow_since_s: when results began to be too slow, where they are.
        spare_since_s: when the rung above began to fit, where it does.
    """

    level: int = 0
    slow_since_s: float | None = None
    spare_since_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Load:
    """One observation.

    Attributes:
        now_s: when.
        model_s: how long the model was busy for a round: one frame of every session it serves.
        interval_s: between two frames of the camera.
    """

    now_s: float
    model_s: float
    interval_s: float


def ladder(wanted_steps: int) -> tuple[Rung, ...]:
    """The rungs from what was asked for down to the least, each cheaper than the one before."""
    fewer = sorted((steps for steps in STEPS if steps < wanted_steps), reverse=True)
    least = fewer[-1] if fewer else wanted_steps
    return (
        *(Rung(steps=steps, keep_every=1) for steps in (wanted_steps, *fewer)),
        *(Rung(steps=least, keep_every=every) for every in KEEP_EVERY),
    )


def rung(state: LoadState, wanted_steps: int) -> Rung:
    """What the session may use now; a level below the last rung is the last."""
    rungs = ladder(wanted_steps)
    return rungs[min(state.level, len(rungs) - 1)]


def is_kept(number: int, keep_every: float) -> bool:
    """Whether the frame of that running number goes to the model; of 5, 4 do for 1.25."""
    return math.floor(number / keep_every) != math.floor((number - 1) / keep_every)


def observe(state: LoadState, load: Load, wanted_steps: int, settings: LadderSettings) -> LoadState:
    """The state after one more result; it moves by one level at a time.

    The time of the rung above is estimated as if all of the model's time grew with the steps,
    which is never less than it takes.
    """
    rungs = ladder(wanted_steps)
    level = min(state.level, len(rungs) - 1)
    here = rungs[level]
    if load.model_s > load.interval_s * here.keep_every and level + 1 < len(rungs):
        since_s = load.now_s if state.slow_since_s is None else state.slow_since_s
        if load.now_s - since_s >= settings.give_up_after_s:
            return LoadState(level=level + 1)
        return LoadState(level=level, slow_since_s=since_s)
    if level > 0 and _fits(rungs[level - 1], here, load, settings.spare):
        since_s = load.now_s if state.spare_since_s is None else state.spare_since_s
        if load.now_s - since_s >= settings.give_back_after_s:
            return LoadState(level=level - 1)
        return LoadState(level=level, spare_since_s=since_s)
    return LoadState(level=level)


def _fits(above: Rung, here: Rung, load: Load, spare: float) -> bool:
    model_s = load.model_s * above.steps / here.steps
    return model_s <= load.interval_s * above.keep_every * (1 - spare)
