"""The measuring loop: a case in, every row's scores and its liveliest pictures out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from difffae.arrays import ImageU8
from difffae.data.split import first_frame, read_frames
from difffae.metrics.grid import GridRow
from difffae.metrics.meter import ClipMeter, Instruments, Moment, moment
from difffae.metrics.motion import STILL_BELOW, HeadReference
from difffae.metrics.outputs import (
    Case,
    JudgedPart,
    OpenedCase,
    PipelineCase,
    ProtocolName,
    VideoCase,
    View,
    covered_protocols,
)
from difffae.metrics.protocol import chosen_frames
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


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """What one case gave: each row's scores, and the pictures of its liveliest moment."""

    case: Case
    scores: dict[str, Scores]
    pictures: GridRow


class Evaluation:
    """Every method over the same cases, measured by the same instruments."""

    def __init__(
        self,
        methods: Methods,
        cases: Sequence[Case],
        *,
        instruments: Instruments,
        max_frames: int,
    ) -> None:
        """Check that the external folders hold what the cases need.

        Args:
            methods: what is compared.
            cases: what is measured.
            instruments: what measures.
            max_frames: how many frames of a clip, in neighbouring pairs spread over it.

        Raises:
            ValueError: external videos are missing.
        """
        self._methods = methods
        self._instruments = instruments
        self._max_frames = max_frames
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
            opened.append(
                PipelineCase(methods.pipeline, source, case, steps=methods.steps, name=methods.name)
            )
        for name, folder in methods.external.items():
            if case.protocol in self._covered[name]:
                opened.append(VideoCase(name, folder / case.video_name, view))
        return view, opened

    def measure(self, case: Case) -> CaseResult:
        """Measure every row on one case, one frame in memory at a time.

        Raises:
            ValueError: no face in the source or in the driver's first frame.
        """
        portrait = first_frame(case.source.path)
        view, opened = self._open(case, portrait)
        has_truth = case.protocol == "self"
        source = self._instruments.look(_seen(portrait, view))
        meters: dict[str, ClipMeter] = {}
        liveliest: tuple[float, dict[str, ImageU8]] = (-1.0, {})
        for frame, driver in self._moments(case, view, opened):
            rows: dict[str, ImageU8] = {UNMOVED_ROW: source.image}
            for method in opened:
                rows.update(method.outputs(frame, driver.looks.image if has_truth else None))
            for name, image in rows.items():
                if name not in meters:
                    meters[name] = ClipMeter(self._instruments, source, has_truth=has_truth)
                meters[name].add(image, driver)
            if _liveliness(driver) > liveliest[0]:
                truth = "driver = truth" if has_truth else "driver"
                liveliest = (_liveliness(driver), {**rows, truth: driver.looks.image})
        return CaseResult(
            case=case,
            scores={name: meter.scores() for name, meter in meters.items()},
            pictures=GridRow(label=case.video_name, pictures=liveliest[1]),
        )

    def _moments(
        self, case: Case, view: View | None, opened: Sequence[OpenedCase]
    ) -> Iterator[tuple[ImageU8, Moment]]:
        """The driver's chosen frames, measured; the methods are told to skip the others."""
        chosen = set(chosen_frames(case.driver.num_frames, self._max_frames))
        seen_in = view if case.protocol == "self" else None
        reference: HeadReference | None = None
        for index, frame in enumerate(read_frames(case.driver.path)):
            if reference is None:
                first = self._instruments.look(_seen(frame, seen_in), with_features=False)
                if first.points is None:
                    raise ValueError(f"Got no face in the first frame of {case.driver.path}")
                reference = HeadReference(first.points)
            if index in chosen:
                looks = self._instruments.look(_seen(frame, seen_in))
                yield frame, moment(index, looks, reference)
            elif index < max(chosen):
                for method in opened:
                    method.skip(frame)
            else:
                return


def _seen(image: ImageU8, view: View | None) -> JudgedPart:
    return image if view is None else view.of(image)


def _liveliness(driver: Moment) -> float:
    """How far a driver's frame is from its reference, in just countable movements."""
    if driver.motion is None:
        return -0.5
    return float(np.abs(driver.motion.change).mean()) + float(
        np.abs(driver.motion.signals[4:] / STILL_BELOW[4:]).mean()
    )
