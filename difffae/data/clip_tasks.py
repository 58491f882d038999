"""Tasks of any folder of media: face crops taken whole, videos cut into clips, stills."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from difffae.arrays import ImageU8, Points3
from difffae.data.boxes import cut_out, middle_square
from difffae.data.clip_plan import PlannedClip, plan_clips
from difffae.data.clip_writers import ClipName, FrameShard, clip_path
from difffae.data.cutting import Cut, discarding, write_cuts
from difffae.data.report import Finding
from difffae.data.shards import write_shard
from difffae.data.tasks import Bench, file_stamp
from difffae.data.video import read_clip
from difffae.face.crop import CropBox, crop, portrait_box


@dataclass(frozen=True, kw_only=True)
class CropTask:
    """A face crop under FOMM's name: taken whole, as a clip of its own."""

    path: Path

    @property
    def stamps(self) -> Mapping[str, str]:
        """See `Task.stamps`."""
        return {str(self.path): file_stamp(self.path)}

    def run(self, bench: Bench) -> list[Finding]:
        """See `Task.run`."""
        settings, stem = bench.settings, self.path.stem
        path = clip_path(settings.output, stem, settings.form)
        if path.exists():
            return [settings.kept(str(self.path), stem, path)]
        writer = bench.writer(path, stem.split("#")[0], self.path.name)
        with discarding([writer]):
            for number, frame in enumerate(read_clip(self.path)):
                box = middle_square(frame.shape[1], frame.shape[0])
                writer.add(number, cut_out(frame, box, settings.size), None)
            reason = writer.finish()
        return [settings.finding(str(self.path), stem, path, reason)]


@dataclass(frozen=True, kw_only=True)
class VideoTask:
    """A whole video: its clips are looked for, judged and cut out."""

    path: Path
    person: str
    video: str

    @property
    def stamps(self) -> Mapping[str, str]:
        """See `Task.stamps`."""
        return {str(self.path): file_stamp(self.path)}

    def run(self, bench: Bench) -> list[Finding]:
        """See `Task.run`."""
        settings = bench.settings
        plan = plan_clips(self.path, bench.tools.tracker, settings.limits, settings.stride)
        findings = [
            Finding(
                file=str(self.path),
                clip=self._name(refused.start, refused.end),
                result="rejected",
                reason=refused.shortfall.reason,
                value=refused.shortfall.value,
                limit=refused.shortfall.limit,
            )
            for refused in plan.refused
        ]
        if not plan.clips and not plan.refused:
            findings.append(Finding(file=str(self.path), result="rejected", reason="no face"))
        return findings + self._write(plan.clips, bench)

    def _write(self, clips: tuple[PlannedClip, ...], bench: Bench) -> list[Finding]:
        settings, findings = bench.settings, []
        cuts: dict[tuple[str, Path], Cut] = {}
        for clip in clips:
            name = self._name(clip.start, clip.end)
            path = clip_path(settings.output, name, settings.form)
            if path.exists():
                findings.append(settings.kept(str(self.path), name, path))
                continue
            is_tracked = settings.form == "shards"
            cuts[name, path] = Cut(
                start=clip.start,
                end=clip.end,
                box=clip.box,
                points=_crop_points(clip, settings.size) if is_tracked else None,
                writer=bench.writer(path, self.person, f"{name}.mp4"),
            )
        reasons = write_cuts(self.path, list(cuts.values()), settings.size)
        return findings + [
            settings.finding(str(self.path), name, path, reason)
            for (name, path), reason in zip(cuts, reasons, strict=True)
        ]

    def _name(self, start: int, end: int) -> str:
        return str(ClipName(person=self.person, video=self.video, start=start, end=end))


def _crop_points(clip: PlannedClip, size: int) -> dict[int, Points3]:
    box = CropBox(left=clip.box.left, top=clip.box.top, size=clip.box.width)
    return {frame.tick: box.to_crop(frame.points, size) for frame in clip.frames}


@dataclass(frozen=True, kw_only=True)
class StillsTask:
    """A batch of stills to one shard, each of a person of its own.

    But for those named `person#...`: one person's are labelled as the frames of a clip are.
    """

    paths: tuple[Path, ...]
    shard: Path

    @property
    def stamps(self) -> Mapping[str, str]:
        """See `Task.stamps`."""
        return {str(path): file_stamp(path) for path in self.paths}

    def run(self, bench: Bench) -> list[Finding]:
        """See `Task.run`."""
        settings = bench.settings
        if self.shard.exists():
            return [settings.kept(str(path), path.stem, self.shard) for path in self.paths]
        shard, names, findings = FrameShard(segmenter=bench.tools.segmenter), [], []
        for path in self.paths:
            reason = _add_still(shard, path, bench)
            if reason is None:
                names.append(path.stem)
            findings.append(settings.finding(str(path), path.stem, self.shard, reason))
        if names:
            people = [name.partition("#")[0] for name in names]
            write_shard(self.shard, shard.contents(people, people))
        return findings


def _add_still(shard: FrameShard, path: Path, bench: Bench) -> str | None:
    """Add a still to a shard; the reason where it is left out."""
    image = cast(ImageU8 | None, cv2.imread(str(path)))
    if image is None:
        return "not a picture"
    rgb = np.ascontiguousarray(image[..., ::-1])
    faces = bench.tools.tracker.find_faces(rgb)
    if len(faces) != 1:
        return f"{len(faces)} faces"
    size = bench.settings.size
    box = portrait_box(faces[0], *rgb.shape[:2])
    shard.add(0, crop(rgb, box, size), box.to_crop(faces[0], size))
    return None
