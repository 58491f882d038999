"""The measuring loop of reenactment: a case in, every row's scores and liveliest pictures out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from difffae.arrays import ImageU8
from difffae.data.split import first_frame, read_frames
from difffae.face.crop import crop, portrait_box
from difffae.face.tracker import FaceNotFoundError
from difffae.metrics.grid import GridRow
from difffae.metrics.meter import ClipMeter, Instruments, Looks, Moment, moment
from difffae.metrics.motion import STILL_BELOW, HeadReference
from difffae.metrics.outputs import (
    Case,
    CrossSettings,
    JudgedPart,
    OpenedCase,
    PipelineCase,
    ProtocolName,
    VideoCase,
    View,
    case_controls,
    covered_protocols,
    step_rows,
)
from difffae.metrics.parameter_meter import Asked, Reading
from difffae.metrics.protocol import chosen_frames
from difffae.metrics.realism import RealismMeter
from difffae.metrics.scores import Scores
from difffae.pipeline import Pipeline

UNMOVED_ROW = "source, unmoved"


@dataclass(frozen=True, kw_only=True)
class Methods:
    """What is compared: a model at some numbers of steps, and folders of videos made elsewhere."""

    pipeline: Pipeline | None
    name: str  # of the model, for its rows
    steps: tuple[int, ...]
    external: Mapping[str, Path]  # row name to folder
    cross: CrossSettings = field(default_factory=CrossSettings)
    variants: Mapping[str, Pipeline] = field(default_factory=dict)  # the same model, by its name

    @property
    def rows(self) -> dict[str, int]:
        """The model's rows and their numbers of steps."""
        return step_rows(self.name, self.steps)


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """What one case gave: each row's scores, and the pictures of its liveliest moment."""

    case: Case
    scores: dict[str, Scores]
    pictures: GridRow


@dataclass(frozen=True, kw_only=True)
class _Driver:
    """The driver's first frame, which its motion is measured from."""

    reference: HeadReference
    reading: Reading | None
    view: View | None  # in which its frames are judged; None for the whole


class Evaluation:
    """Every method over the same cases, measured by the same instruments."""

    def __init__(
        self,
        methods: Methods,
        cases: Sequence[Case],
        *,
        instruments: Instruments,
        max_frames: int,
        realism: RealismMeter | None = None,
    ) -> None:
        """Check that the external folders hold what the cases need.

        Args:
            methods: what is compared.
            cases: what is measured.
            instruments: what measures.
            max_frames: how many frames of a clip, in neighbouring pairs spread over it.
            realism: gathers the pictures' features for FID and KID; None to leave them out.

        Raises:
            ValueError: external videos are missing.
        """
        self._methods = methods
        self._instruments = instruments
        self._max_frames = max_frames
        self._realism = realism
        self._covered: dict[str, set[ProtocolName]] = {
            name: covered_protocols(folder, cases) for name, folder in methods.external.items()
        }

    def _open(self, case: Case, portrait: ImageU8) -> tuple[View | None, list[OpenedCase]]:
        """The part that is judged, and every method at work on the case."""
        view: View | None = None
        opened: list[OpenedCase] = []
        methods = self._methods
        if methods.pipeline is not None:
            source = methods.pipeline.encode_source(portrait)
            view = View(box=source.crop_box, size=methods.pipeline.config.image_size)
            controls = case_controls(case, methods.cross)
            opened.append(PipelineCase(methods.pipeline, source, controls, rows=methods.rows))
            for name, variant in methods.variants.items():
                rows = step_rows(name, methods.steps)
                own = variant.encode_source(portrait)
                opened.append(PipelineCase(variant, own, controls, rows=rows, has_bounds=False))
        for name, folder in methods.external.items():
            if case.protocol in self._covered[name]:
                opened.append(VideoCase(name, folder / case.video_name, view))
        return view, opened

    def measure(self, case: Case) -> CaseResult:
        """Measure every row on one case, one frame in memory at a time.

        Raises:
            FaceNotFoundError: no face in the source or in the driver's first frame.
            SeveralFacesError: several faces in the source.
            ValueError: a video cannot be read.
        """
        portrait = first_frame(case.source.path)
        view, opened = self._open(case, portrait)
        has_truth = case.protocol == "self"
        source = self._instruments.look(_seen(portrait, view))
        driver = self._driver(case, view if has_truth else None)
        asked = self._asked(case, source, driver)
        meters: dict[str, ClipMeter] = {}
        liveliest: tuple[float, dict[str, ImageU8]] = (-1.0, {})
        for frame, shown in self._moments(case, driver, opened):
            rows: dict[str, ImageU8] = {UNMOVED_ROW: source.image}
            for method in opened:
                rows.update(method.outputs(frame, shown.looks.image if has_truth else None))
            self._gather_real(case, frame, shown, view)
            for name, image in rows.items():
                if name not in meters:
                    meters[name] = ClipMeter(
                        self._instruments, source, has_truth=has_truth, asked=asked
                    )
                self._gather(case, name, meters[name].add(image, shown))
            if _liveliness(shown) > liveliest[0]:
                truth = "driver = truth" if has_truth else "driver"
                liveliest = (_liveliness(shown), {**rows, truth: shown.looks.image})
        return CaseResult(
            case=case,
            scores={name: meter.scores() for name, meter in meters.items()},
            pictures=GridRow(label=case.video_name, pictures=liveliest[1]),
        )

    def _driver(self, case: Case, view: View | None) -> _Driver:
        frame = _seen(first_frame(case.driver.path), view)
        first = self._instruments.look(frame, with_features=False)
        if first.points is None:
            raise FaceNotFoundError(f"Got no face in the first frame of {case.driver.path}")
        return _Driver(
            reference=HeadReference(first.points),
            reading=self._instruments.read(first),
            view=view,
        )

    def _asked(self, case: Case, source: Looks, driver: _Driver) -> Asked | None:
        """What the rig should read from the outputs; None without a rig."""
        reading = self._instruments.read(source)
        if reading is None or driver.reading is None:
            return None
        settings = self._methods.cross
        return Asked(
            source=reading,
            reference=driver.reading.parameters,
            motion=case_controls(case, settings).motion,
            is_lit_by_driver=case.protocol == "self" or settings.light == "driver",
        )

    def _moments(
        self, case: Case, driver: _Driver, opened: Sequence[OpenedCase]
    ) -> Iterator[tuple[ImageU8, Moment]]:
        """The driver's chosen frames, measured; the methods are told to skip the others."""
        chosen = set(chosen_frames(case.driver.num_frames, self._max_frames))
        person = None if driver.reading is None else driver.reading.parameters
        previous: tuple[int, Looks] | None = None
        for index, frame in enumerate(read_frames(case.driver.path)):
            if index in chosen:
                looks = self._instruments.look(_seen(frame, driver.view))
                reading = self._instruments.read(looks, person)
                found = moment(index, looks, driver.reference, reading)
                if previous is not None and previous[0] == index - 1:
                    found = replace(found, change=self._instruments.change(looks, previous[1]))
                yield frame, found
                previous = (index, looks)
            elif index < max(chosen):
                for method in opened:
                    method.skip(frame)
            else:
                return

    def _gather(self, case: Case, row: str, looks: Looks) -> None:
        if self._realism is not None and looks.realism is not None:
            self._realism.add(case.protocol, row, looks.realism)

    def _gather_real(self, case: Case, frame: ImageU8, shown: Moment, view: View | None) -> None:
        """A real frame: the truth in self; in cross the driver's, cropped as a source would be."""
        realism, embedding = self._realism, self._instruments.realism
        if realism is None or embedding is None:
            return
        features = shown.looks.realism
        if case.protocol != "self" and view is not None and shown.looks.points is not None:
            box = portrait_box(shown.looks.points, *frame.shape[:2])
            if frame.shape[:2] != (box.size, box.size):
                features = embedding.embed(crop(frame, box, view.size))
        if features is not None:
            realism.add_real(case.protocol, features)


def _seen(image: ImageU8, view: View | None) -> JudgedPart:
    return image if view is None else view.of(image)


def _liveliness(driver: Moment) -> float:
    """How far a driver's frame is from its reference, in just countable movements."""
    if driver.motion is None:
        return -0.5
    return float(np.abs(driver.motion.change).mean()) + float(
        np.abs(driver.motion.signals[4:] / STILL_BELOW[4:]).mean()
    )
