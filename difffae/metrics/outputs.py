"""Where the pictures to judge come from: the pipeline, floor to ceiling, or any videos."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from difffae.arrays import ImageU8
from difffae.controls import Controls, Light
from difffae.data.split import Clip, read_frames
from difffae.face.crop import CropBox, crop
from difffae.face.parameters import Motion
from difffae.face.renderer import Condition
from difffae.metrics.report import COMPOSITE_ROW, MOVED_ROW
from difffae.pipeline import Pipeline, Source

CEILING_ROW = "ceiling: true latent decoded"

JudgedPart = UInt8[NDArray[np.uint8], "rows columns 3"]
ProtocolName = Literal["self", "cross", "light", "relight", "disentanglement"]


@dataclass(frozen=True, kw_only=True)
class CrossSettings:
    """What is asked for across people: whose zero the motion has, and whose light is shown."""

    motion: Motion = "relative"
    light: Light = "source"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One source and one driver; in self-reenactment the same clip."""

    protocol: ProtocolName
    source: Clip
    driver: Clip

    @property
    def video_name(self) -> str:
        """What a video of this case is called: the driver's name, in cross after the source's."""
        if self.protocol == "self":
            return self.driver.path.name
        return f"{self.source.stem}__{self.driver.path.name}"


@dataclass(frozen=True, kw_only=True)
class View:
    """The part of a picture that is judged: a model's working crop at the model's size."""

    box: CropBox
    size: int

    def of(self, image: ImageU8) -> JudgedPart:
        """That part of a picture of the source's size."""
        return crop(image, self.box, self.size)


class OpenedCase(Protocol):
    """A method at work on one case; the driver's frames come in order, each once."""

    def skip(self, frame: ImageU8) -> None:
        """Pass over a driver's frame that is not measured."""
        ...

    def outputs(self, frame: ImageU8, truth: JudgedPart | None) -> Mapping[str, JudgedPart]:
        """The rows' pictures for a driver's frame, in the crop that the truth is in."""
        ...


class PipelineCase:
    """Composites, the model at each number of steps and, where there is a truth, the ceiling."""

    def __init__(
        self,
        pipeline: Pipeline,
        source: Source,
        controls: Controls,
        *,
        rows: Mapping[str, int],
        has_bounds: bool = True,
    ) -> None:
        """Open a stream.

        Args:
            pipeline: the model.
            source: its source.
            controls: how the stream is driven.
            rows: the number of steps of each of the model's rows, by the row's name.
            has_bounds: give the composite and the ceiling too.
        """
        self._pipeline = pipeline
        self._source = source
        self._rows = rows
        self._has_bounds = has_bounds
        self._controls = controls
        self._state = pipeline.open_stream(source, self._controls)

    def skip(self, frame: ImageU8) -> None:
        """See `OpenedCase.skip`."""
        self._state = self._pipeline.skip(frame, self._source, self._state, self._controls)

    def outputs(self, frame: ImageU8, truth: JudgedPart | None) -> Mapping[str, JudgedPart]:
        """See `OpenedCase.outputs`."""
        condition, self._state = self._pipeline.condition(
            frame, self._source, self._state, self._controls
        )
        rows: dict[str, JudgedPart] = {}
        if self._has_bounds:
            floor = self._pipeline.floor(self._source, self._state, self._controls)
            rows.update(floor_rows(condition, floor))
        rows.update(generated_rows(self._pipeline, condition, self._source, self._rows))
        if truth is not None and self._has_bounds:
            rows[CEILING_ROW] = self._pipeline.reconstruct(truth, condition, self._source)
        return rows


def floor_rows(condition: Condition, floor: Condition | None) -> dict[str, JudgedPart]:
    """The composite that no network has touched and, where it is another, the condition's own.

    Args:
        condition: what the model is given.
        floor: of `Pipeline.floor`.
    """
    if floor is None:
        return {COMPOSITE_ROW: condition.composite}
    return {COMPOSITE_ROW: floor.composite, MOVED_ROW: condition.composite}


def case_controls(case: Case, settings: CrossSettings) -> Controls:
    """How a case is driven: in self absolutely, in the source's own light."""
    if case.protocol == "self":
        return Controls(motion="absolute")
    return Controls(motion=settings.motion, light=settings.light)


def model_name(name: str, precision: str) -> str:
    """What a model's rows are called where several precisions are compared."""
    return f"{name} {precision}"


def step_rows(name: str, steps: Sequence[int]) -> dict[str, int]:
    """The rows of a model: their names and numbers of steps."""
    return {f"{name}, {count} step{'s' if count > 1 else ''}": count for count in steps}


def generated_rows(
    pipeline: Pipeline, condition: Condition, source: Source, rows: Mapping[str, int]
) -> dict[str, JudgedPart]:
    """The pictures that a model makes of one condition, by row name."""
    return {
        name: pipeline.generate(condition, source, Controls(num_steps=num_steps))
        for name, num_steps in rows.items()
    }


class VideoCase:
    """A video that some other method rendered for the case, frame for frame the driver's."""

    def __init__(self, name: str, path: Path, view: View | None) -> None:
        """Open the video; `view` is the part that is judged, None for all of it."""
        self._name = name
        self._path = path
        self._view = view
        self._frames: Iterator[ImageU8] = read_frames(path)

    def _next(self, frame: ImageU8) -> ImageU8:
        image = next(self._frames, None)
        if image is None:
            raise ValueError(f"Got fewer frames than the driver's in {self._path}")
        if image.shape != frame.shape:
            raise ValueError(f"Got {image.shape} in {self._path} but expected {frame.shape}")
        return image

    def skip(self, frame: ImageU8) -> None:
        """See `OpenedCase.skip`."""
        self._next(frame)

    def outputs(self, frame: ImageU8, truth: JudgedPart | None) -> Mapping[str, JudgedPart]:
        """See `OpenedCase.outputs`."""
        del truth
        image = self._next(frame)
        return {self._name: image if self._view is None else self._view.of(image)}


def covered_protocols(folder: Path, cases: Sequence[Case]) -> set[ProtocolName]:
    """The protocols for which a folder holds the videos of all cases.

    Raises:
        ValueError: it holds none, or only some of a protocol's.
    """
    covered: set[ProtocolName] = set()
    for protocol in {case.protocol for case in cases}:
        names = [case.video_name for case in cases if case.protocol == protocol]
        missing = [name for name in names if not (folder / name).is_file()]
        if not missing:
            covered.add(protocol)
        elif len(missing) < len(names):
            raise ValueError(
                f"Got {len(names) - len(missing)} of {len(names)} {protocol} videos in {folder}; "
                f"render all, the first missing is {missing[0]}"
            )
    if not covered:
        raise ValueError(f"Got no video in {folder} named like a case, e.g. {cases[0].video_name}")
    return covered
