"""A video in, the clips worth cutting from it out: shots, faces, fixed boxes, reasons against.

The rules are those of FOMM's preprocessing of VoxCeleb: a clip lasts while the face's box overlaps
its first one, and the clip's box holds the heads of all its frames, grown and made square.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from difffae.data.boxes import Box, whole
from difffae.data.face_tracks import FaceTrack, FaceTracks, TrackedFrame, head_box
from difffae.data.quality import ClipLimits, Shortfall, face_box, first_shortfall
from difffae.data.scene_cuts import SceneCutConfig, SceneCutDetector
from difffae.data.video import FRAME_RATE_HZ, read_at_rate
from difffae.face.tracker import Tracker


@dataclass(frozen=True, kw_only=True)
class PlannedClip:
    """A stretch of a video that shows one face, and the box to cut out of it.

    Attributes:
        start: first tick (25 a second).
        end: tick after the last.
        box: fixed box, in the video's pixels.
        frames: the frames looked at that show the face.
    """

    start: int
    end: int
    box: Box
    frames: tuple[TrackedFrame, ...]


@dataclass(frozen=True, kw_only=True)
class RefusedClip:
    """A stretch of a video that is not used, and why."""

    start: int
    end: int
    shortfall: Shortfall


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to cut from a video; both lists in order of time."""

    clips: tuple[PlannedClip, ...]
    refused: tuple[RefusedClip, ...]


@dataclass(frozen=True, kw_only=True)
class _Shot:
    width: int
    height: int
    stride: int
    end: int  # tick after the last


@dataclass(frozen=True, kw_only=True)
class _Stretch:
    frames: tuple[TrackedFrame, ...]
    shot: _Shot

    @property
    def start(self) -> int:
        return self.frames[0].tick

    @property
    def end(self) -> int:
        return min(self.frames[-1].tick + self.shot.stride, self.shot.end)


def plan_clips(path: Path, tracker: Tracker, limits: ClipLimits, stride: int) -> Plan:
    """Look through a video once and plan its clips.

    Args:
        path: the video.
        tracker: finds and follows faces.
        limits: what clips have to hold to.
        stride: faces are looked for in every n-th frame, at 25 a second.

    Raises:
        UnreadableVideoError: the file is no video, has none, or breaks off.
    """
    clips: list[PlannedClip] = []
    refused: list[RefusedClip] = []
    for stretches in _shots(path, tracker, limits, stride):
        for stretch in _main_faces(stretches, refused):
            outcome = _judge(stretch, limits)
            if isinstance(outcome, PlannedClip):
                clips.append(outcome)
            else:
                refused.append(outcome)
    return Plan(
        clips=tuple(sorted(clips, key=lambda clip: clip.start)),
        refused=tuple(sorted(refused, key=lambda clip: clip.start)),
    )


def _shots(
    path: Path, tracker: Tracker, limits: ClipLimits, stride: int
) -> Iterator[list[_Stretch]]:
    """The stretches of each shot."""
    cuts, faces = SceneCutDetector(SceneCutConfig()), FaceTracks(tracker, limits)
    ended: list[FaceTrack] = []
    shot = _Shot(width=0, height=0, stride=stride, end=0)
    for tick, image in read_at_rate(path, FRAME_RATE_HZ, lambda _: True):
        height, width = image.shape[:2]
        if cuts.is_cut(image) or (width, height) != (shot.width, shot.height):
            yield _stretches([*ended, *faces.cut()], limits, shot)
            ended = []
        shot = _Shot(width=width, height=height, stride=stride, end=tick + 1)
        if tick % stride == 0:
            ended += faces.step(tick, image)
    yield _stretches([*ended, *faces.cut()], limits, shot)


def _stretches(tracks: Sequence[FaceTrack], limits: ClipLimits, shot: _Shot) -> list[_Stretch]:
    """Tracks split where the face has left its first place, and where they get too long."""
    parts: list[list[TrackedFrame]] = []
    for track in tracks:
        part: list[TrackedFrame] = []
        for frame in track.frames:
            if part and _is_past(part[0], frame, limits):
                parts.append(part)
                part = []
            part.append(frame)
        parts.append(part)
    return [_Stretch(frames=tuple(part), shot=shot) for part in parts]


def _is_past(first: TrackedFrame, frame: TrackedFrame, limits: ClipLimits) -> bool:
    if frame.tick - first.tick >= limits.max_frames:
        return True
    one, other = (face_box(each.points).square(0) for each in (first, frame))
    return one.overlap(other) < limits.min_overlap


def _main_faces(stretches: Sequence[_Stretch], refused: list[RefusedClip]) -> list[_Stretch]:
    """Of stretches at the same time the one with most face in it; the others are refused."""

    def weight(stretch: _Stretch) -> float:
        return sum(frame.figures.side_px for frame in stretch.frames)

    kept: list[_Stretch] = []
    for stretch in sorted(stretches, key=weight, reverse=True):
        beside = [one for one in kept if one.start < stretch.end and stretch.start < one.end]
        if not beside:
            kept.append(stretch)
            continue
        shortfall = Shortfall(
            reason="a larger or longer seen face is beside it",
            value=weight(stretch) / len(stretch.frames),
            limit=weight(beside[0]) / len(beside[0].frames),
        )
        refused.append(RefusedClip(start=stretch.start, end=stretch.end, shortfall=shortfall))
    return kept


def _judge(stretch: _Stretch, limits: ClipLimits) -> PlannedClip | RefusedClip:
    box, shortfall = _box(stretch, limits)
    length = stretch.end - stretch.start
    if length < limits.min_frames:
        shortfall = Shortfall(reason="too short [frames]", value=length, limit=limits.min_frames)
    if shortfall is None:
        figures = [frame.figures for frame in stretch.frames]
        shortfall = first_shortfall(figures, -(-length // stretch.shot.stride), limits)
    if shortfall is not None:
        return RefusedClip(start=stretch.start, end=stretch.end, shortfall=shortfall)
    return PlannedClip(start=stretch.start, end=stretch.end, box=box, frames=stretch.frames)


def _box(stretch: _Stretch, limits: ClipLimits) -> tuple[Box, Shortfall | None]:
    """The box of the heads, moved inside the frame; and what speaks against it.

    As in FOMM it is the smaller box of the faces, grown, that must not leave the frame: a clip that
    is a face crop already has no room for more, and is taken whole.
    """
    heads = [head_box(frame.points, limits.growth) for frame in stretch.frames]
    faces = [face_box(frame.points) for frame in stretch.frames]
    frame_box = whole(stretch.shot.width, stretch.shot.height)
    outside = 1 - reduce(Box.joined, faces).square(limits.growth).share_within(frame_box)
    around = reduce(Box.joined, heads).square(limits.growth)
    box = around.moved_inside(stretch.shot.width, stretch.shot.height)
    if outside > limits.max_outside:
        reason = "the face's box leaves the frame"
        return box, Shortfall(reason=reason, value=outside, limit=limits.max_outside)
    if box.width < limits.min_box_px:
        reason = "the box is too small [px]"
        return box, Shortfall(reason=reason, value=box.width, limit=limits.min_box_px)
    return box, None
