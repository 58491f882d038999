"""VoxCeleb1 in FOMM's form: rows of `vox-metadata.csv` and downloaded videos in, face clips out.

A row names a video, the first frame and the one after the last at its rate, and a box in a picture
of the recorded size. As in FOMM's preprocessing the box is rescaled to the size of the video found,
one box serves the whole clip, a box that is not square is stretched to the square picture, and a
box that reaches over the frame is trimmed to it (rows of the real table do, by up to an eighth).
"""

import csv
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from difffae.data.boxes import Box, whole
from difffae.data.clip_writers import ClipName, clip_path
from difffae.data.cutting import Cut, write_cuts
from difffae.data.identity_split import IdentitySplit
from difffae.data.report import Finding
from difffae.data.shards import appearing
from difffae.data.tasks import Bench, file_stamp
from difffae.data.video import FRAME_RATE_HZ, VIDEO_SUFFIXES, UnreadableVideoError, read_clip

COLUMNS = ("video_id", "start", "end", "bbox", "fps", "width", "height", "person_id")
_BOX_COLUMNS = ("bbox", "bbox(l-t-r-b)")
_NUMBER = r"-?\d+(?:\.\d+)?"
_BOX = re.compile(rf"({_NUMBER})-({_NUMBER})-({_NUMBER})-({_NUMBER})")
_NAME = re.compile(r"[\w-]+")
_MIN_INSIDE = 0.75  # share of a box that has to lie in the frame
_MAX_ASPECT_CHANGE = 0.05  # beyond it the video found is not the picture the box was drawn in
_MIN_BOX_PX = 32


@dataclass(frozen=True, kw_only=True)
class ClipRow:
    """One well-formed row.

    Attributes:
        name: FOMM's name of the clip.
        box: in a picture of the recorded size.
        rate_hz: frames a second by which start and end are counted.
        width: recorded width [px].
        height: recorded height [px].
        line: of the table, the header being 1.
    """

    name: ClipName
    box: Box
    rate_hz: float
    width: int
    height: int
    line: int


class _WrongRowError(ValueError):
    """A row that cannot be used."""


def read_rows(table: Path) -> tuple[list[ClipRow], list[Finding]]:
    """The well-formed rows of a table, and a finding for every other.

    Raises:
        ValueError: there is no such table, or it has no rows.
    """
    rows: list[ClipRow] = []
    findings: list[Finding] = []
    names: set[str] = set()
    try:
        lines = table.read_text("utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise ValueError(
            f"got no readable table at {table} ({error.strerror}): give --voxceleb vox-metadata.csv"
        ) from error
    reader = csv.DictReader(lines)
    for content in reader:
        try:
            row = _parse(content, reader.line_num)
            if str(row.name) in names:
                raise _WrongRowError("a second row of the same clip")
        except _WrongRowError as error:
            findings.append(
                Finding(file=str(table), result="rejected", reason=str(error), row=reader.line_num)
            )
            continue
        names.add(str(row.name))
        rows.append(row)
    if not rows and not findings:
        raise ValueError(f"got no rows in {table}, expected columns {', '.join(COLUMNS)}")
    return rows, findings


def _parse(content: Mapping[str | None, str | list[str] | None], line: int) -> ClipRow:
    texts = {key: value.strip() for key, value in content.items() if isinstance(value, str) and key}
    box_text = next((texts[name] for name in _BOX_COLUMNS if name in texts), None)
    if box_text is not None:
        texts["bbox"] = box_text
    missing = [name for name in COLUMNS if not texts.get(name)]
    if missing:
        raise _WrongRowError(f"no value in column {missing[0]}")
    if None in content:
        raise _WrongRowError("more values than columns")
    start, end = _whole_number(texts, "start"), _whole_number(texts, "end")
    width, height = _whole_number(texts, "width"), _whole_number(texts, "height")
    if not 0 <= start < end:
        raise _WrongRowError(f"no frames from {start} to {end}")
    rate = _number(texts, "fps")
    if not (width > 0 and height > 0 and rate > 0):
        raise _WrongRowError(f"no picture of {width}x{height} at {rate:g} frames a second")
    for name in ("person_id", "video_id"):
        if not _NAME.fullmatch(texts[name]):
            raise _WrongRowError(f"{name} {texts[name]!r} is not of letters, digits, - and _")
    return ClipRow(
        name=ClipName(person=texts["person_id"], video=texts["video_id"], start=start, end=end),
        box=_parse_box(texts["bbox"], width, height),
        rate_hz=rate,
        width=width,
        height=height,
        line=line,
    )


def _parse_box(text: str, width: int, height: int) -> Box:
    found = _BOX.fullmatch(text)
    if found is None:
        raise _WrongRowError(f"bbox {text!r} is not left-top-right-bottom")
    left, top, right, bottom = (float(part) for part in found.groups())
    box = Box(left=left, top=top, right=right, bottom=bottom)
    if box.width <= 0 or box.height <= 0:
        raise _WrongRowError(f"bbox {text} is inverted or empty")
    inside = box.share_within(whole(width, height))
    if inside < _MIN_INSIDE:
        raise _WrongRowError(f"bbox {text} lies outside the {width}x{height} frame")
    return box


def _number(texts: Mapping[str, str], name: str) -> float:
    try:
        value = float(texts[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _WrongRowError(f"{name} {texts[name]!r} is not a number")
    return value


def _whole_number(texts: Mapping[str, str], name: str) -> int:
    value = _number(texts, name)
    if value != int(value):
        raise _WrongRowError(f"{name} {texts[name]!r} is not a whole number")
    return int(value)


@dataclass(frozen=True, kw_only=True)
class RowsTask:
    """All clips of one video: it is decoded once.

    Attributes:
        path: the video.
        rows: its rows.
        parts: for each row "train" or "test", a folder of the output.
        is_stretched: whether boxes are stretched as FOMM does, or first made square.
    """

    path: Path
    rows: tuple[ClipRow, ...]
    parts: tuple[str, ...]
    is_stretched: bool

    @property
    def stamps(self) -> Mapping[str, str]:
        """See `Task.stamps`; another table means another stamp."""
        rows = hashlib.sha256(repr((self.rows, self.parts)).encode()).hexdigest()[:12]
        return {str(self.path): f"{file_stamp(self.path)}-{rows}"}

    def run(self, bench: Bench) -> list[Finding]:
        """See `Task.run`."""
        settings, findings = bench.settings, []
        missing: list[tuple[ClipRow, Path]] = []
        for row, part in zip(self.rows, self.parts, strict=True):
            path = clip_path(settings.output / part, str(row.name), settings.form)
            if path.exists():
                findings.append(settings.kept(str(self.path), str(row.name), path))
            else:
                missing.append((row, path))
        return findings + self._write(missing, bench) if missing else findings

    def _write(self, missing: Sequence[tuple[ClipRow, Path]], bench: Bench) -> list[Finding]:
        settings, findings = bench.settings, []
        size = self._frame_size()
        jobs: list[tuple[ClipRow, Path]] = []
        cuts: list[Cut] = []
        for row, path in missing:
            name = str(row.name)
            try:
                box = _found_box(row, size, self.is_stretched)
            except _WrongRowError as error:
                finding = settings.finding(str(self.path), name, path, str(error))
                findings.append(finding)
                continue
            writer = bench.writer(path, row.name.person, f"{name}.mp4")
            jobs.append((row, path))
            cuts.append(
                Cut(
                    start=math.ceil(row.name.start * FRAME_RATE_HZ / row.rate_hz),
                    end=math.ceil(row.name.end * FRAME_RATE_HZ / row.rate_hz),
                    box=box,
                    points=None,
                    writer=writer,
                )
            )
        reasons = write_cuts(self.path, cuts, settings.size)
        return findings + [
            settings.finding(str(self.path), str(row.name), path, reason)
            for (row, path), reason in zip(jobs, reasons, strict=True)
        ]

    def _frame_size(self) -> tuple[int, int]:
        for frame in read_clip(self.path):
            return frame.shape[1], frame.shape[0]
        raise UnreadableVideoError("a video without frames")


def _found_box(row: ClipRow, size: tuple[int, int], is_stretched: bool) -> Box:
    """A row's box in the video that was found, in whole pixels of it."""
    width, height = size
    across, down = width / row.width, height / row.height
    if not 1 / (1 + _MAX_ASPECT_CHANGE) <= across / down <= 1 + _MAX_ASPECT_CHANGE:
        raise _WrongRowError(
            f"the video is {width}x{height}, not of the shape {row.width}x{row.height}"
        )
    box = row.box.scaled(across, down)
    if not is_stretched:
        box = box.square(0).moved_inside(width, height)
    box = box.shared(whole(width, height))
    if min(box.width, box.height) < _MIN_BOX_PX:
        raise _WrongRowError(f"the box is only {box.width:.0f}x{box.height:.0f} px in this video")
    return box


def rows_tasks(
    folder: Path, rows: Sequence[ClipRow], split: IdentitySplit, is_stretched: bool
) -> tuple[list[RowsTask], list[Finding]]:
    """One task for each video that is there, and a finding for each row whose video is not.

    Args:
        folder: of videos named by their id.
        rows: well-formed rows.
        split: which person's clips go where.
        is_stretched: see `RowsTask`.
    """
    videos = {path.stem: path for path in _videos(folder.resolve())}
    of_video: dict[str, list[ClipRow]] = {}
    for row in rows:
        of_video.setdefault(row.name.video, []).append(row)
    tasks, findings = [], []
    for video, own in of_video.items():
        if video not in videos:
            reason = f"no video {video} in the folder"
            findings += [
                Finding(file=video, clip=str(row.name), result="rejected", reason=reason)
                for row in own
            ]
            continue
        tasks.append(
            RowsTask(
                path=videos[video],
                rows=tuple(own),
                parts=tuple(split.part_of(row.name.person) for row in own),
                is_stretched=is_stretched,
            )
        )
    return tasks, findings


def _videos(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), reverse=True):  # the first of equal stems wins
        if path.suffix.lower() in VIDEO_SUFFIXES:
            yield path


def write_table(output: Path, rows: Sequence[ClipRow], split: IdentitySplit) -> int:
    """Write `clips.csv`, the clips that are there: file, person, split, frames, fps.

    It is what `difffae.evaluate --csv` and `difffae.data.prepare --csv` take.
    """
    lines = []
    for row in rows:
        part = split.part_of(row.name.person)
        file = f"{part}/{row.name}.mp4"
        if (output / file).exists():
            num_frames = math.ceil(row.name.end * FRAME_RATE_HZ / row.rate_hz) - math.ceil(
                row.name.start * FRAME_RATE_HZ / row.rate_hz
            )
            lines.append([file, row.name.person, part, num_frames, FRAME_RATE_HZ])
    with (
        appearing(output / "clips.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file_out,
    ):
        writer = csv.writer(file_out)
        writer.writerow(["file", "person", "split", "frames", "fps"])
        writer.writerows(lines)
    return len(lines)
