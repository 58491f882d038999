"""Clips planned by a tracker that follows painted discs, and by the real one on real faces."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.arrays import ImageU8, Points3
from difffae.data.clip_plan import Plan, plan_clips
from difffae.data.quality import ClipLimits
from difffae.data.video import read_clip
from face_media import shared_tracker

WIDTH, HEIGHT, RADIUS = 320, 240, 30
LIMITS = ClipLimits(min_frames=10, min_box_px=64, min_face_px=20, min_sharpness=0, max_clipped=1)
WriteMp4 = Callable[[Path, list[NDArray[np.uint8]]], None]


class DiscTracker:
    """A tracker whose faces are red discs; like the real one it follows the nearest."""

    def find_faces(self, image: ImageU8) -> list[Points3]:
        red = (image[..., 0] > 150) & (image[..., 1] < 100)
        count, _, stats, _ = cv2.connectedComponentsWithStats(red.astype(np.uint8))
        return [mesh(*stats[k, :4]) for k in range(1, count) if stats[k, cv2.CC_STAT_AREA] > 300]

    def track(self, image: ImageU8, previous: Points3 | None) -> Points3 | None:
        faces = self.find_faces(image)
        if previous is None:
            return max(faces, key=lambda face: float(np.ptp(face[:, 0])), default=None)
        middle = previous[:, :2].mean(0)
        return min(
            faces, key=lambda f: float(np.abs(f[:, :2].mean(0) - middle).max()), default=None
        )


def mesh(left: int, top: int, width: int, height: int) -> Points3:
    points = np.zeros((478, 3), np.float32)
    angles = np.linspace(0, 2 * np.pi, 478)
    points[:, 0] = left + width / 2 * (1 + np.cos(angles))
    points[:, 1] = top + height / 2 * (1 + np.sin(angles))
    points[234], points[454] = (left, top + height / 2, 0), (left + width, top + height / 2, 0)
    return points


def scene(*discs: tuple[float, float, float], tone: int = 90) -> NDArray[np.uint8]:
    """Discs (x, y, radius) before a background of a tone."""
    image = np.full((HEIGHT, WIDTH, 3), tone, np.uint8)
    for x, y, radius in discs:
        cv2.circle(image, (round(x), round(y)), round(radius), (220, 40, 40), -1)
    return image


def plan(
    tmp_path: Path, mp4_writer: WriteMp4, frames: list[NDArray[np.uint8]], stride: int = 1
) -> Plan:
    mp4_writer(tmp_path / "a.mp4", frames)
    return plan_clips(tmp_path / "a.mp4", DiscTracker(), LIMITS, stride)


def spans(found: Plan) -> list[tuple[int, int]]:
    return [(clip.start, clip.end) for clip in found.clips]


def refused(found: Plan) -> list[tuple[int, int, str]]:
    return [(clip.start, clip.end, clip.shortfall.reason) for clip in found.refused]


def test_a_still_face_makes_one_clip_with_fomms_box(tmp_path: Path, mp4_writer: WriteMp4) -> None:
    found = plan(tmp_path, mp4_writer, [scene((160, 120, RADIUS))] * 20)
    assert spans(found) == [(0, 20)]
    box = found.clips[0].box
    assert box.width == box.height == pytest.approx(2.3 * 2 * RADIUS, abs=4)
    assert (box.left + box.right) / 2 == pytest.approx(160, abs=2)
    assert len(found.clips[0].frames) == 20


@pytest.mark.parametrize("stride", [1, 3, 4])
def test_a_planted_cut_splits_at_its_frame_whatever_the_stride(
    tmp_path: Path, mp4_writer: WriteMp4, stride: int
) -> None:
    frames = [scene((160, 120, RADIUS))] * 18 + [scene((160, 120, RADIUS), tone=200)] * 19
    found = plan(tmp_path, mp4_writer, frames, stride)
    first, second = found.clips
    assert first.end == 18
    assert 18 <= second.start < 18 + stride
    assert second.end == 37
    assert all(frame.tick % stride == 0 for frame in first.frames + second.frames)


def test_a_face_that_jumps_within_a_shot_begins_another_clip(
    tmp_path: Path, mp4_writer: WriteMp4
) -> None:
    frames = [scene((80, 120, RADIUS))] * 15 + [scene((240, 120, RADIUS))] * 15
    found = plan(tmp_path, mp4_writer, frames)
    assert spans(found) == [(0, 15), (15, 30)]
    assert found.clips[0].box.right <= 200
    assert found.clips[1].box.left >= 120


def test_a_clip_ends_where_the_face_has_left_its_first_box(
    tmp_path: Path, mp4_writer: WriteMp4
) -> None:
    frames = [scene((80 + 4 * n, 120, RADIUS)) for n in range(36)]
    found = plan(tmp_path, mp4_writer, frames)
    side = 2 * RADIUS + 1
    first_apart = next(n for n in range(36) if (side - 4 * n) / (side + 4 * n) < LIMITS.min_overlap)
    assert abs(found.clips[0].end - first_apart) <= 1
    assert found.clips[1].start == found.clips[0].end
    first, last = (found.clips[0].frames[k].points[:, 0].mean() for k in (0, -1))
    box = found.clips[0].box
    assert (box.left + box.right) / 2 == pytest.approx((first + last) / 2, abs=2)
    assert box.width == pytest.approx(2.3 * side + 1.2 * (last - first), abs=5)


def test_long_shots_become_several_clips_and_short_ones_none(
    tmp_path: Path, mp4_writer: WriteMp4
) -> None:
    mp4_writer(tmp_path / "a.mp4", [scene((160, 120, RADIUS))] * 47)
    limits = ClipLimits(**{**vars(LIMITS), "min_frames": 10, "max_frames": 20})
    found = plan_clips(tmp_path / "a.mp4", DiscTracker(), limits, 1)
    assert spans(found) == [(0, 20), (20, 40)]
    assert refused(found) == [(40, 47, "too short [frames]")]
    assert found.refused[0].shortfall.value == 7


def test_of_two_faces_the_larger_is_taken_also_when_it_comes_later(
    tmp_path: Path, mp4_writer: WriteMp4
) -> None:
    frames = [scene((70, 120, 22))] * 6 + [scene((70, 120, 22), (220, 120, 36))] * 40
    found = plan(tmp_path, mp4_writer, frames)
    assert len(found.clips) == 1
    assert found.clips[0].frames[0].points[:, 0].mean() == pytest.approx(220, abs=3)
    assert found.clips[0].end == 46
    assert [reason for *_, reason in refused(found)] == [
        "a larger or longer seen face is beside it"
    ]
    assert found.refused[0].shortfall.value == pytest.approx(45, abs=3)
    assert found.refused[0].shortfall.limit == pytest.approx(73, abs=3)


def test_a_face_that_jumps_beside_another_is_taken_up_at_once(
    tmp_path: Path, mp4_writer: WriteMp4
) -> None:
    beside = (36, 120, 14)
    frames = [scene(beside, (140, 120, 34))] * 13 + [scene(beside, (232, 120, 34))] * 12
    assert spans(plan(tmp_path, mp4_writer, frames)) == [(0, 13), (13, 25)]


def test_a_short_gap_stays_within_a_clip_and_a_long_one_ends_it(
    tmp_path: Path, mp4_writer: WriteMp4
) -> None:
    seen, hidden = [scene((160, 120, RADIUS))], [scene()]
    found = plan(tmp_path, mp4_writer, seen * 40 + hidden * 3 + seen * 20)
    assert spans(found) == [(0, 63)]
    assert len(found.clips[0].frames) == 60
    found = plan(tmp_path, mp4_writer, seen * 20 + hidden * 20 + seen * 20)
    assert spans(found) == [(0, 20), (40, 60)]


def test_a_face_cut_by_the_frames_edge_is_refused_with_the_share_outside(
    tmp_path: Path, mp4_writer: WriteMp4
) -> None:
    found = plan(tmp_path, mp4_writer, [scene((12, 120, RADIUS))] * 15)
    ((start, end, reason),) = refused(found)
    assert (start, end, reason) == (0, 15, "the face's box leaves the frame")
    assert 0.05 < found.refused[0].shortfall.value < 0.5


def test_a_large_face_takes_the_whole_height(tmp_path: Path, mp4_writer: WriteMp4) -> None:
    found = plan(tmp_path, mp4_writer, [scene((150, 120, 85))] * 15)
    box = found.clips[0].box
    assert (box.top, box.bottom, box.width) == (0, 240, 240)
    assert box.left == pytest.approx(30, abs=1)


def test_a_video_without_a_face_has_neither_clips_nor_refusals(
    tmp_path: Path, mp4_writer: WriteMp4
) -> None:
    assert plan(tmp_path, mp4_writer, [scene()] * 12) == Plan(clips=(), refused=())


def test_real_faces_are_followed_and_a_planted_cut_between_two_people_is_found(
    tmp_path: Path, mp4_writer: WriteMp4, carphone: Path, portrait: Path
) -> None:
    man = [
        cv2.resize(frame, (352, 288))
        for _, frame in zip(range(12), read_clip(carphone), strict=False)
    ]
    wide = np.full((288, 352, 3), 180, np.uint8)
    wide[:, 32:320] = cv2.resize(cv2.imread(str(portrait)), (288, 288))[..., ::-1]
    mp4_writer(tmp_path / "a.mp4", [*man, *[wide] * 12])
    limits = ClipLimits(min_frames=8, min_sharpness=0.005)
    found = plan_clips(tmp_path / "a.mp4", shared_tracker(), limits, 3)
    assert spans(found) == [(0, 12), (12, 24)]
    for clip, image in zip(found.clips, (man[0], wide), strict=True):
        (seen,) = shared_tracker().find_faces(image)
        assert np.abs(clip.frames[0].points - seen)[:, :2].mean() < 4
        assert clip.box.left <= seen[:, 0].min()
        assert clip.box.bottom >= seen[:, 1].max()
