"""A driver video and a portrait in, the portrait moving as the driver does out, as MP4 files.

Everything about the files is checked before the model is loaded. Finished segments are kept
beside the output, so that an interrupted run can go on and ends in the very same file.
"""

import errno
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import av
import numpy as np
from numpy.typing import NDArray

from streamer.attributes import Place
from streamer.certificate import Credentials, SigningSettings, load_credentials
from streamer.engine import (
    Engine,
    EngineSettings,
    driver_errors,
    find_model,
    load_engine,
    portrait_errors,
)
from streamer.errors import DriverError, OutputError, ResumeError, StreamerError
from streamer.mp4_file import Mp4Plan, write_mp4
from streamer.output_file import check_output, unfinished
from streamer.partial import PartialRun, file_hash
from streamer.places import Donors, GivenFile, dressed, read_places
from streamer.portrait import read_portrait
from streamer.provenance import Statement, check_can_sign, sign_file
from streamer.segment import SEGMENT_FRAMES, EncoderSettings, SegmentSeries, View
from streamer.video_file import (
    AUTO_REFERENCE_S,
    DriverFrame,
    DriverInfo,
    VideoReader,
    check_driver,
    first_images,
    read_ahead,
    read_frame,
    work_ahead,
)

if TYPE_CHECKING:
    from streamer.engine import Prepared, Reenacted, Source, StreamState, Trail

_DISK_ERRORS = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}

OnFrame = Callable[[int, int | None, bool], None]
"""Told after each frame: frames done, frames expected (None: unknown), whether it was made now."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to make of what.

    Attributes:
        outputs: the file to write for each view wanted; the first is the main one.
        reference: frame number, None for the first frame with a face, or "auto": the frame of the
            first seconds most like the portrait, and the first with a face where none shows one.
        places: files that attributes are taken from.
        face: which face of the portrait, counted from 1, left to right; None when there is one.
        keeps_source: whether what the portrait alone decides stays in the user's cache folder for
            later runs.
        signing: with which certificate the outputs are labelled; None leaves them unlabelled.
    """

    driver: Path
    source: Path
    outputs: Mapping[View, Path]
    engine: EngineSettings = field(default_factory=EngineSettings)
    reference: int | Literal["auto"] | None = None
    places: Mapping[Place, Path] = field(default_factory=dict)
    face: int | None = None
    can_overwrite: bool = False
    can_resume: bool = False
    keeps_source: bool = True
    signing: SigningSettings | None = None

    @property
    def partial_folder(self) -> Path:
        """Where finished segments wait, beside the main output."""
        main = next(iter(self.outputs.values()))
        return main.with_name(main.name + ".partial")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a finished run did.

    Attributes:
        num_held: frames without a face, in which the motion was held.
        num_resumed: frames taken over from an earlier run.
        num_damaged: packets of the driver that could not be decoded.
        size: (width, height) of the portrait.
        signed_with: the kind of certificate that signed the outputs; None where they are unsigned.
    """

    outputs: tuple[Path, ...]
    num_frames: int
    num_held: int
    num_resumed: int
    num_damaged: int
    duration_s: float
    size: tuple[int, int]
    signed_with: Literal["test certificate", "certificate"] | None = None


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """A job's inputs, all of them good."""

    job: Job
    portrait: NDArray[np.uint8]
    given: tuple[GivenFile, ...]
    info: DriverInfo
    reference: DriverFrame | None
    credentials: Credentials | None


def reenact_file(
    job: Job,
    *,
    load: Callable[[EngineSettings], Engine] = load_engine,
    on_frame: OnFrame = lambda done, total, is_new: None,
) -> Summary:
    """Run a job, from the start or from where it stopped, to its finished files.

    Args:
        job: what to make of what.
        load: makes the model; called once all files have been checked.
        on_frame: told of the progress.

    Raises:
        StreamerError: a user's error; then nothing is left that was not there before.
        KeyboardInterrupt: passed on; the job's partial folder keeps the finished segments.
    """
    inputs = _check(job)
    run = _open_run(job)
    num_resumed = run.num_frames
    try:
        with _write_errors(job):
            num_damaged = _make_segments(inputs, load(job.engine), run, on_frame)
            _check_any_face(job, run)
            _publish(inputs, run)
    except Exception as error:
        if not run.is_resumed and (isinstance(error, StreamerError) or not run.segments):
            run.remove()
        raise
    run.remove()
    return Summary(
        outputs=tuple(job.outputs.values()),
        num_frames=run.num_frames,
        num_held=run.num_held,
        num_resumed=num_resumed,
        num_damaged=num_damaged,
        duration_s=float(run.segments[-1].end_pts * inputs.info.time_base),
        size=(inputs.portrait.shape[1], inputs.portrait.shape[0]),
        signed_with=_kind(inputs.credentials),
    )


def _kind(
    credentials: Credentials | None,
) -> Literal["test certificate", "certificate"] | None:
    if credentials is None:
        return None
    return "test certificate" if credentials.is_test else "certificate"


def _check(job: Job) -> _Inputs:
    portrait = read_portrait(job.source)
    info = check_driver(job.driver)
    given = read_places(job.places)
    find_model(job.engine.model)
    _check_outputs(job)
    reference = job.reference
    return _Inputs(
        job=job,
        portrait=portrait,
        given=given,
        info=info,
        reference=read_frame(job.driver, reference) if isinstance(reference, int) else None,
        credentials=_credentials(job),
    )


def _credentials(job: Job) -> Credentials | None:
    if job.signing is None:
        return None
    credentials = load_credentials(job.signing)
    check_can_sign(credentials)
    return credentials


def _check_outputs(job: Job) -> None:
    outputs = list(job.outputs.values())
    inputs = (job.driver, job.source, *job.places.values())
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise OutputError("two outputs have the same name; give each its own")
    for path in outputs:
        check_output(path, suffixes={".mp4"}, inputs=inputs, can_overwrite=job.can_overwrite)


def _open_run(job: Job) -> PartialRun:
    folder = job.partial_folder
    made_from = _made_from(job)
    if not folder.exists():
        return PartialRun.create(folder, made_from)
    if job.can_resume:
        return PartialRun.resume(folder, made_from)
    if not job.can_overwrite:
        raise ResumeError(
            f"{folder} holds an unfinished run; add --resume to go on or --overwrite to start again"
        )
    run = PartialRun(folder, made_from)
    run.remove()
    return PartialRun.create(folder, made_from)


def _made_from(job: Job) -> dict[str, str]:
    """All that decides what the frames look like, under the names the user knows."""
    return {
        "driver": file_hash(job.driver),
        "source": file_hash(job.source),
        "model": file_hash(find_model(job.engine.model)),
        "device": job.engine.device,
        "runtime": job.engine.runtime,
        **{name: str(value) for name, value in asdict(job.engine.controls).items()},
        "seed": str(job.engine.seed),
        "warm start": str(job.engine.warm_start),
        **{f"{place} from": file_hash(path) for place, path in job.places.items()},
        "reference": str(job.reference),
        "face": str(job.face),
        "outputs": ", ".join(job.outputs),
    }


@contextmanager
def _write_errors(job: Job) -> Iterator[None]:
    try:
        yield
    except (OSError, av.error.FFmpegError) as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise OutputError(
            f"cannot write {job.partial_folder.with_suffix('')}: {error.strerror}; free some space "
            "or choose another output"
        ) from error


def _make_segments(inputs: _Inputs, engine: Engine, run: PartialRun, on_frame: OnFrame) -> int:
    """All frames the run still lacks; returns the driver's undecodable packets."""
    job, model, controls = inputs.job, engine.reenactor, engine.controls
    with portrait_errors(job.source):
        source = engine.encode_source(inputs.portrait, face=job.face, is_kept=job.keeps_source)
    source = dressed(source, inputs.given, job.engine.controls, model)
    donors = Donors(engine, source, inputs.given)
    state = model.open_stream(source, controls)
    state = _with_reference(inputs, engine, source, state)
    settings = EncoderSettings(time_base=inputs.info.time_base, rate=inputs.info.rate)
    total = inputs.info.num_frames
    num_finished = run.num_frames

    def prepare(frames: Iterator[DriverFrame]) -> Iterator[tuple[DriverFrame, "Prepared | None"]]:
        nonlocal state
        for frame in frames:
            edited = donors.next_controls()
            if frame.index < num_finished:
                state = model.skip(frame.image, source, state, edited)
                yield frame, None
            else:
                prepared, state = model.prepare(frame.image, source, state, edited)
                yield frame, prepared

    with (
        donors,
        VideoReader(job.driver) as reader,
        closing(read_ahead(reader.frames(), "decode")) as frames,
        closing(read_ahead(prepare(frames), "prepare")) as prepared_frames,
        closing(_painted(prepared_frames, engine, source)) as painted_frames,
        SegmentSeries(run, settings, job.outputs) as series,
    ):
        for frame, made in painted_frames:
            if made is not None:
                series.add(frame, made)
            on_frame(frame.index + 1, total, made is not None)
        series.finish()
        return reader.num_damaged


def _painted(
    frames: Iterator[tuple[DriverFrame, "Prepared | None"]], engine: Engine, source: "Source"
) -> Generator[tuple[DriverFrame, "Reenacted | None"], None, None]:
    """The frames' pictures, in order, two being painted at once: one network works for each.

    A warm start needs the frame before, so that then one is painted at a time.
    """
    model, controls = engine.reenactor, engine.controls
    trail: Trail | None = None

    def paint(
        frame: DriverFrame, prepared: "Prepared | None"
    ) -> tuple[DriverFrame, "Reenacted | None"]:
        nonlocal trail
        if prepared is None:
            return frame, None
        if controls.warm_start is None:
            return frame, model.paint(prepared, source, controls)
        if frame.index % SEGMENT_FRAMES == 0:
            trail = None  # where a run may be resumed, nothing is known of earlier frames
        made = model.paint(prepared, source, controls, trail)
        trail = made.trail
        return frame, made

    tasks = (partial(paint, frame, prepared) for frame, prepared in frames)
    return work_ahead(tasks, "paint", 2 if controls.warm_start is None else 1)


def _with_reference(
    inputs: _Inputs, engine: Engine, source: "Source", state: "StreamState"
) -> "StreamState":
    job, frame, model = inputs.job, inputs.reference, engine.reenactor
    if job.reference == "auto":
        images = first_images(job.driver)
        try:
            with driver_errors(f"the first {AUTO_REFERENCE_S} s of {job.driver}"):
                chosen = model.choose_reference(images, source, engine.controls)
                return model.set_reference(chosen, source, state)
        except DriverError:
            return state
    if frame is None:
        return state
    with driver_errors(f"frame {frame.index} of {job.driver}"):
        return model.set_reference(frame.image, source, state)


def _check_any_face(job: Job, run: PartialRun) -> None:
    if run.num_held == run.num_frames:
        raise DriverError(f"{job.driver} shows no face in any frame; use a video of a face")


def _publish(inputs: _Inputs, run: PartialRun) -> None:
    """Write every output under a hidden name, sign it, and rename them once all are whole."""
    job, info = inputs.job, inputs.info
    try:
        for view, path in job.outputs.items():
            has_sound = info.num_audio > 0 and view is not View.MASK
            plan = Mp4Plan(
                segments=run.segment_paths(view),
                num_frames=run.num_frames,
                end_pts=run.segments[-1].end_pts,
                time_base=info.time_base,
                sound_from=job.driver if has_sound else None,
                sound_offset_s=info.first_pts * info.time_base,
            )
            write_mp4(unfinished(path), plan)
            if inputs.credentials is not None:
                sign_file(unfinished(path), _statement(job, run), inputs.credentials)
        for path in job.outputs.values():
            unfinished(path).replace(path)
    finally:
        for path in job.outputs.values():
            unfinished(path).unlink(missing_ok=True)


def _statement(job: Job, run: PartialRun) -> Statement:
    return Statement(
        model=find_model(job.engine.model).name,
        model_sha256=run.made_from["model"],
        portrait_sha256=run.made_from["source"],
        driver_sha256=run.made_from["driver"],
    )
