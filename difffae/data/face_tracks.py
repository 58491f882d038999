"""Faces followed through the frames of a video, several at once, until a cut, a jump or a gap."""

from dataclasses import dataclass, field

from difffae.arrays import ImageU8, Points3
from difffae.data.boxes import Box
from difffae.data.quality import ClipLimits, FaceFigures, face_box, measure_face
from difffae.face.crop import FACE_TO_CROP, box_around
from difffae.face.tracker import Tracker

_SEARCH_EVERY = 12  # looked-at frames between searches for further faces
_SAME_FACE = 0.25  # boxes of one face in successive frames overlap by more
_DOUBLED = 0.5  # two tracks whose faces overlap by more follow the same face


@dataclass(frozen=True, kw_only=True)
class TrackedFrame:
    """A face in one frame of a video, in the frame's pixels."""

    tick: int
    points: Points3
    figures: FaceFigures


@dataclass(kw_only=True)
class FaceTrack:
    """One face through successive frames."""

    frames: list[TrackedFrame] = field(default_factory=list)

    @property
    def last(self) -> TrackedFrame:
        """Where the face was seen last."""
        return self.frames[-1]


class FaceTracks:
    """Fed with a video's frames in order; hands out the tracks that have ended."""

    def __init__(self, tracker: Tracker, limits: ClipLimits) -> None:
        self._tracker = tracker
        self._max_gap = limits.max_gap_frames
        self._live: list[FaceTrack] = []
        self._since_search = 0

    def step(self, tick: int, image: ImageU8) -> list[FaceTrack]:
        """Follow all faces into the next looked-at frame; the tracks that ended before it."""
        ended = []
        jumped: list[Points3] = []
        for track in list(self._live):
            points = self._tracker.track(image, track.last.points)
            if points is not None and _overlap(points, track.last.points) > _SAME_FACE:
                _append(track, tick, image, points)
            elif points is not None:
                jumped.append(points)
            if tick - track.last.tick > self._max_gap:
                self._live.remove(track)
                ended.append(track)
        ended += self._without_doubles(tick)
        self._since_search += 1
        seen = any(track.last.tick == tick for track in self._live)
        if not seen or self._since_search >= _SEARCH_EVERY:
            jumped += self._tracker.find_faces(image)
            self._since_search = 0
        for points in jumped:
            self._begin(tick, image, points)
        return ended

    def cut(self) -> list[FaceTrack]:
        """End all tracks: the next frame begins another shot, or there is none."""
        ended, self._live = self._live, []
        self._since_search = 0
        return ended

    def _without_doubles(self, tick: int) -> list[FaceTrack]:
        """End the younger of two tracks that have come to follow the same face."""
        ended = []
        current = [track for track in self._live if track.last.tick == tick]
        for older, younger in ((a, b) for k, a in enumerate(current) for b in current[k + 1 :]):
            is_double = _overlap(older.last.points, younger.last.points) > _DOUBLED
            if is_double and younger in self._live and older in self._live:
                younger.frames.pop()
                self._live.remove(younger)
                ended.append(younger)
        return [track for track in ended if track.frames]

    def _begin(self, tick: int, image: ImageU8, points: Points3) -> None:
        known = (track.last.points for track in self._live if track.last.tick == tick)
        if all(_overlap(points, other) <= _SAME_FACE for other in known):
            track = FaceTrack()
            _append(track, tick, image, points)
            if track.frames:
                self._live.append(track)


def head_box(points: Points3, growth: float) -> Box:
    """The box of a head: grown by this share on each end it is the crop portraits are given."""
    box = box_around(points, factor=FACE_TO_CROP / (1 + 2 * growth))
    return Box(left=box.left, top=box.top, right=box.left + box.size, bottom=box.top + box.size)


def _append(track: FaceTrack, tick: int, image: ImageU8, points: Points3) -> None:
    figures = measure_face(image, points)
    if figures is not None:
        track.frames.append(TrackedFrame(tick=tick, points=points, figures=figures))


def _overlap(one: Points3, other: Points3) -> float:
    return face_box(one).overlap(face_box(other))
