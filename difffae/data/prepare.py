"""`python -m difffae.data.prepare FOLDER OUT`: videos and stills in, tracked frame shards out.

Videos under FOMM's names `person#video#start#end.mp4`, files or folders of PNG frames, are face
crops and are taken whole. Every other video is cut into clips: at scene cuts and where the face
jumps, one face and one fixed box a clip, if its picture holds the limits. Pictures are stills of
one person each, or several of one where their names begin alike: `person#...`. With `--voxceleb
vox-metadata.csv` the folder's videos are those the table names, and the clips become those of First
Order Motion Model. `report.jsonl` in OUT says what became of each; a run that was stopped goes on
where it was.
"""

import argparse
import csv
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from difffae.data.clip_writers import ClipForm
from difffae.data.identity_split import IdentitySplit, load_split, save_split, split_people
from difffae.data.media_folder import PICTURE_SUFFIXES, clip_tasks, list_media, stills_tasks
from difffae.data.quality import ClipLimits
from difffae.data.ray_tasks import run_on_ray
from difffae.data.report import REPORT_NAME, Report, Summary
from difffae.data.tasks import Task, TaskSettings, file_stamp
from difffae.data.voxceleb import ClipRow, read_rows, rows_tasks, write_table
from difffae.data.workers import run_tasks

_EXIT_INTERRUPTED = 130
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a folder is prepared.

    Attributes:
        folder: of videos, crops and stills, with its subfolders.
        output: for shards or clips, and the report.
        stride: every n-th frame is tracked and, in shards, stored.
        allowed: names, or paths within the folder, of the files to take; None = all.
        size: side of the square pictures [px].
        form: what clips are written as; stills always go to shards.
        limits: what clips cut from whole videos hold to.
        is_person_folder: whether a video's first folder names its person; else each is of its own.
        table: VoxCeleb's table; None = any folder of media.
        is_stretched: whether boxes of the table are stretched to squares as FOMM does.
        seed: of the division of the table's people.
        num_workers: processes, or Ray actors.
        ray: address of a Ray cluster; None = here.
    """

    folder: Path
    output: Path
    stride: int = 2
    allowed: frozenset[str] | None = None
    size: int = 256
    form: ClipForm = "shards"
    limits: ClipLimits = field(default_factory=ClipLimits)
    is_person_folder: bool = False
    table: Path | None = None
    is_stretched: bool = True
    seed: int = 0
    num_workers: int = 1
    ray: str | None = None

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 2 or self.stride < 1 or self.num_workers < 1:
            raise ValueError(
                f"got size {self.size}, stride {self.stride} and {self.num_workers} workers, "
                "expected an even size of at least 32 and at least 1 of the others"
            )


def prepare(job: Preparation) -> Summary:
    """Prepare a folder; what is there already is kept.

    Raises:
        ValueError: the folder cannot be read or holds nothing to prepare, no row of the table can
            be used, the output was prepared with other settings, or the disk is full.
    """
    if not job.folder.is_dir():
        raise ValueError(f"got no folder at {job.folder}: give the folder of your media")
    if job.table is not None:
        return _prepare_voxceleb(job, job.table)
    media = list_media(job.folder, job.output, job.allowed)
    report = Report(job.output, _recorded(job))
    report.add(media.findings)
    clips, findings = clip_tasks(job.folder, media.clips, job.is_person_folder)
    report.add(findings)
    folder = job.folder.resolve()
    stills = _pending(media.stills, report)
    num_done = report.num_finished(folder, PICTURE_SUFFIXES)
    shards = job.output / f"frames-stills-{folder.name}-"
    _run([*clips, *stills_tasks(stills, shards, num_done)], job, report)
    return report.summary()


def _prepare_voxceleb(job: Preparation, table: Path) -> Summary:
    rows, findings = read_rows(table)
    report = Report(job.output, _recorded(job))
    report.add(findings)
    if not rows:
        raise ValueError(
            f"got no usable row in {table}, the first: {findings[0].reason}; "
            f"all are in {job.output / REPORT_NAME}"
        )
    split = _divided(job, table, rows)
    tasks, findings = rows_tasks(job.folder, rows, split, job.is_stretched)
    report.add(findings)
    _run(tasks, job, report)
    if job.form != "shards":
        write_table(job.output, rows, split)
    return report.summary()


def _divided(job: Preparation, table: Path, rows: Sequence[ClipRow]) -> IdentitySplit:
    """The table's people divided, those of earlier runs as they were; stored."""
    known = load_split(job.output, job.seed)
    split = split_people({row.name.person for row in rows}, job.seed, known)
    clips = Counter(split.part_of(row.name.person) for row in rows)
    details = {
        "population": f"the {len(split.train | split.test)} people of {table.name}; VoxCeleb1 has "
        "1251, of whom FOMM's table carries 437",
        "clips": {part: clips[part] for part in ("train", "test")},
    }
    save_split(job.output, split, job.seed, details)
    return split


def _recorded(job: Preparation) -> dict[str, Any]:
    """The settings that all runs into one output have to share."""
    shared = {"size": job.size, "stride": job.stride, "form": job.form}
    return {**shared, "is_stretched": job.is_stretched, **asdict(job.limits)}


def _pending(stills: Sequence[Path], report: Report) -> list[Path]:
    pending = []
    for path in stills:
        if report.is_finished(str(path), file_stamp(path)):
            report.skip(str(path))
        else:
            pending.append(path)
    return pending


def _run(tasks: Sequence[Task], job: Preparation, report: Report) -> None:
    """Do the tasks that earlier runs have not finished."""
    settings = TaskSettings(
        output=job.output, size=job.size, stride=job.stride, form=job.form, limits=job.limits
    )
    pending: list[Task] = []
    for task in tasks:
        stamps = task.stamps
        if all(report.is_finished(file, stamp) for file, stamp in stamps.items()):
            for file in stamps:
                report.skip(file)
        else:
            pending.append(task)
    if not pending:
        return
    if job.ray is not None:
        outcomes = run_on_ray(pending, settings, job.ray, job.num_workers)
    else:
        outcomes = run_tasks(pending, settings, job.num_workers)
    for number, findings in enumerate(outcomes, start=1):
        report.add(findings)
        log.info("%d of %d: %s", number, len(pending), Path(findings[0].file).name)


def _allowed(table: Path, split: str) -> frozenset[str]:
    """The files of one split of a table.

    Raises:
        ValueError: there is no such table, or it lacks a column.
    """
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return frozenset(row["file"] for row in csv.DictReader(file) if row["split"] == split)
    except (OSError, KeyError) as error:
        raise ValueError(
            f"got no table with columns file and split at {table} ({error}): give it with --csv"
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m difffae.data.prepare", description=__doc__)
    add = parser.add_argument
    add("folder", type=Path, help="folder of videos, FOMM clips or stills")
    add("output", type=Path, help="folder for the shards or clips, and for report.jsonl")
    add("--stride", type=int, default=2, help="take every n-th frame of a video (default 2)")
    add("--csv", type=Path, help="table with columns file and split, to take one split alone")
    add("--split", default="train", help="which split of the table (default train)")
    add("--voxceleb", type=Path, metavar="CSV", help="vox-metadata.csv: clips in FOMM's form")
    add("--seed", type=int, default=0, help="of the 8:2 division of its people (default 0)")
    add(
        "--keep-aspect",
        action="store_true",
        help="make its boxes square instead of stretching them to squares as FOMM does",
    )
    add(
        "--as",
        dest="form",
        choices=get_args(ClipForm),
        help="write shards (default), or FOMM's clips: mp4 (default with --voxceleb), png",
    )
    add("--size", type=int, default=256, help="side of the squares in pixels (default 256)")
    add(
        "--people",
        choices=("videos", "folders"),
        default="videos",
        help="whether each video is of a person of its own (default), or each folder",
    )
    add("--workers", type=int, default=1, help="processes, or Ray actors (default 1)")
    add("--ray", metavar="ADDRESS", help="run on this Ray cluster; all machines share the folders")
    limits = parser.add_argument_group("limits on clips cut from whole videos")
    for limit in fields(ClipLimits):
        flag, kind = "--" + limit.name.replace("_", "-"), type(limit.default)
        limits.add_argument(flag, type=kind, default=limit.default, help=f"default {limit.default}")
    return parser


def _job(arguments: argparse.Namespace) -> Preparation:
    table = arguments.voxceleb
    return Preparation(
        folder=arguments.folder,
        output=arguments.output,
        stride=arguments.stride,
        allowed=_allowed(arguments.csv, arguments.split) if arguments.csv else None,
        size=arguments.size,
        form=arguments.form or ("shards" if table is None else "mp4"),
        limits=ClipLimits(
            **{limit.name: getattr(arguments, limit.name) for limit in fields(ClipLimits)}
        ),
        is_person_folder=arguments.people == "folders",
        table=table,
        is_stretched=not arguments.keep_aspect,
        seed=arguments.seed,
        num_workers=arguments.workers,
        ray=arguments.ray,
    )


def main() -> None:
    """Command line; see the module docstring."""
    parser = _parser()
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        summary = prepare(_job(arguments))
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        log.info("stopped: the same command goes on from here")
        sys.exit(_EXIT_INTERRUPTED)
    log.info("%s; see %s", summary, arguments.output / REPORT_NAME)


if __name__ == "__main__":
    main()
