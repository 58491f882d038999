"""How the sessions of one model share it when it is slower than their cameras.

All stand on one ladder (`load_ladder`): first everybody's steps of the sampler are limited, then
everybody's frames a second, to the same number: a slow camera gives nothing up before a fast one
has come down to it. Somebody who is alone gets what they asked for, and the newest frame each time.
"""

from dataclasses import dataclass, field, replace

from streamer.live import SessionSettings
from streamer.load_ladder import LadderSettings, Load, LoadState, observe, rung

_NEW_SHARE = 0.2  # of a measurement in its running mean
_ACTIVE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Served:
    """One frame that the model was given.

    Attributes:
        number: of the camera's frame.
        received_s: when it came from the camera.
        model_s: how long the model was busy with it.
        now_s: when that was done.
    """

    number: int
    received_s: float
    model_s: float
    now_s: float


@dataclass(kw_only=True)
class _Share:
    """What is known of a session."""

    wanted: SessionSettings
    given: SessionSettings
    last: Served | None = None
    model_s: float | None = None
    interval_s: float | None = None

    def add(self, served: Served) -> None:
        last, self.last = self.last, served
        self.model_s = _mean(self.model_s, served.model_s)
        if last is None:
            return
        num_frames = served.number - last.number
        passed_s = served.received_s - last.received_s
        if num_frames > 0 and passed_s > 0:
            self.interval_s = _mean(self.interval_s, passed_s / num_frames)

    def is_active(self, now_s: float) -> bool:
        return self.last is not None and now_s - self.last.now_s < _ACTIVE_S


@dataclass(kw_only=True)
class LoadControl:
    """What each session may use now. Pure: times are those that it is told.

    Attributes:
        settings: how soon something is given up.
        state: where all sessions stand.
    """

    settings: LadderSettings = field(default_factory=LadderSettings)
    state: LoadState = field(default_factory=LoadState)
    _shares: dict[str, _Share] = field(default_factory=dict)

    @property
    def level(self) -> int:
        """Rungs below all that was asked for; 0 while everybody has it."""
        return self.state.level

    def limited(self, settings: SessionSettings) -> SessionSettings:
        """Settings with no more steps than are allowed now."""
        allowed = rung(self.state, max(self._wanted_steps(), settings.controls.steps)).steps
        if settings.controls.steps <= allowed:
            return settings
        return replace(settings, controls=replace(settings.controls, steps=allowed))

    def set(self, session: str, wanted: SessionSettings, given: SessionSettings) -> None:
        """Note what a session asked for and what the model was told, at its opening and later."""
        share = self._shares.setdefault(session, _Share(wanted=wanted, given=given))
        share.wanted, share.given = wanted, given

    def due(self, session: str) -> SessionSettings | None:
        """What the model is to be told before this session's next frame, if anything."""
        share = self._shares[session]
        settings = self.limited(share.wanted)
        return None if settings == share.given else settings

    def wanted(self, session: str) -> SessionSettings:
        """What the session asked for."""
        return self._shares[session].wanted

    def forget(self, session: str) -> None:
        """The session ended."""
        self._shares.pop(session, None)

    def keep_every(self, session: str) -> float:
        """Every how many-th frame of the session is moved, 1 or more."""
        intervals = [share.interval_s for share in self._shares.values() if share.interval_s]
        own_s = self._shares[session].interval_s
        allowed = rung(self.state, self._wanted_steps()).keep_every
        return max(1.0, allowed * min(intervals) / own_s) if own_s else 1.0

    def observe(self, session: str, served: Served) -> None:
        """Count a frame and see whether something is to be given up or back."""
        self._shares[session].add(served)
        wanted = self._wanted_steps()
        here = rung(self.state, wanted)
        demand = self._demand(served.now_s)
        load = Load(now_s=served.now_s, model_s=demand * here.keep_every, interval_s=1.0)
        self.state = observe(self.state, load, wanted, self.settings)

    def _demand(self, now_s: float) -> float:
        """Seconds of the model that a second of all cameras asks for; none of one alone."""
        active = {name: one for name, one in self._shares.items() if one.is_active(now_s)}
        if len(active) < 2:
            return 0.0
        return sum(
            share.model_s / (share.interval_s * self.keep_every(name))
            for name, share in active.items()
            if share.model_s is not None and share.interval_s is not None
        )

    def _wanted_steps(self) -> int:
        return max((share.wanted.controls.steps for share in self._shares.values()), default=1)


def _mean(before: float | None, new: float) -> float:
    return new if before is None else before + _NEW_SHARE * (new - before)
