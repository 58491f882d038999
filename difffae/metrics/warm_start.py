"""What a warm start gains and costs: a portrait and a driver in, two tables out.

`python -m difffae.metrics.warm_start PORTRAIT VIDEO` paints the same frames from pure noise and
from the frame before, at each number of steps, and prints for each: the time of a frame's networks
and paste-back; how much the output changes from frame to frame, beside how much the rendered
condition does, which changes as the driver does; the identity's agreement with the portrait at the
start and at the end; and how far warm and cold outputs have come apart. The moving driver is the
video, there and back again; the still one is its first frame under a camera's noise.
"""

import argparse
import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from difffae.arrays import ImageU8
from difffae.controls import Controls
from difffae.data.split import read_frames
from difffae.diffusion.warm_start import Trail, WarmStart
from difffae.loading import load_pipeline
from difffae.metrics.identity import Embedding, FaceEmbedder, load_embedder
from difffae.metrics.image import mean_change
from difffae.metrics.landmarks import LandmarkMeter
from difffae.pipeline import Pipeline, Source

NUM_ENDS = 20  # frames that the start and the end are averaged over
CAMERA_NOISE = 2.0  # standard deviation of a still camera's pixels [grey levels]
MIN_FRAMES = 2


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One way of painting a driver's frames.

    Attributes:
        name: steps, and cold or warm.
        median_ms, p95_ms: time to paint one frame.
        flicker: mean change of the output's edited pixels from frame to frame [grey levels].
        driver_change: the same of the rendered condition.
        first_identity, last_identity: mean cosine with the portrait over the first and the last
            frames; NaN without an embedder.
        first_apart, last_apart: mean difference from the cold output over the same frames [grey
            levels].
    """

    name: str
    median_ms: float
    p95_ms: float
    flicker: float
    driver_change: float
    first_identity: float
    last_identity: float
    first_apart: float
    last_apart: float


@dataclass(kw_only=True)
class _Way:
    """One way of painting, under way."""

    name: str
    controls: Controls
    trail: Trail | None = None
    previous: ImageU8 | None = None
    times_ms: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    identities: list[float] = field(default_factory=list)
    apart: list[float] = field(default_factory=list)


class Judge:
    """How much an output's face is the portrait's: a cosine of embeddings, NaN without them."""

    def __init__(self, embedder: FaceEmbedder | None, portrait: ImageU8) -> None:
        """Embed the portrait."""
        self._embedder = embedder
        self._landmarks = LandmarkMeter() if embedder is not None else None
        self._portrait = self._embedded(portrait)

    def cosine(self, image: ImageU8) -> float:
        """The agreement of one output."""
        found = self._embedded(image)
        if found is None or self._portrait is None:
            return float("nan")
        return float(found @ self._portrait)

    def _embedded(self, image: ImageU8) -> Embedding | None:
        if self._embedder is None or self._landmarks is None:
            return None
        points = self._landmarks.points(image)
        return None if points is None else self._embedder.embed(image, points)


def there_and_back(frames: list[ImageU8], num_frames: int) -> Iterator[ImageU8]:
    """So many frames of a video that runs forwards and backwards, without a cut."""
    loop = [*frames, *frames[-2:0:-1]]
    yield from itertools.islice(itertools.cycle(loop), num_frames)


def still(frame: ImageU8, num_frames: int) -> Iterator[ImageU8]:
    """One frame so many times, as a camera sees it: each time with other noise."""
    generator = np.random.default_rng(0)
    for _ in range(num_frames):
        noisy = frame + generator.normal(0, CAMERA_NOISE, frame.shape)
        yield np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def compare(
    pipeline: Pipeline,
    source: Source,
    frames: Iterable[ImageU8],
    steps: tuple[int, ...],
    judge: Judge,
) -> list[Figures]:
    """Paint frames in every way, all ways one frame after another so that load hits all alike.

    Args:
        pipeline: the model.
        source: the portrait.
        frames: of the driver.
        steps: numbers of sampler steps.
        judge: of identity.

    Raises:
        ValueError: there are fewer than two frames.
    """
    ways = [way for count in steps for way in _ways(count)]
    state, before, driver_changes = pipeline.open_stream(source, Controls()), None, []
    for frame in frames:
        prepared, state = pipeline.prepare(frame, source, state, Controls())
        composite = prepared.condition.composite
        if before is not None:
            driver_changes.append(mean_change(composite, before))
        before, cold = composite, None
        for way in ways:
            begun = time.perf_counter()
            made = pipeline.paint(prepared, source, way.controls, way.trail)
            way.times_ms.append(1000 * (time.perf_counter() - begun))
            way.trail = made.trail
            patch = _patch(made.image, source, composite.shape[0])
            cold = patch if way.controls.warm_start is None or cold is None else cold
            way.apart.append(mean_change(patch, cold))
            if way.previous is not None:
                way.changes.append(mean_change(patch, way.previous))
            way.previous = patch
            way.identities.append(judge.cosine(made.image))
    if len(driver_changes) < MIN_FRAMES - 1:
        raise ValueError(f"got {len(driver_changes)} changes; expected {MIN_FRAMES} frames or more")
    return [_figures(way, float(np.mean(driver_changes))) for way in ways]


def _ways(num_steps: int) -> tuple[_Way, _Way]:
    cold, plural = Controls(num_steps=num_steps), "s" if num_steps > 1 else ""
    warm = replace(cold, warm_start=WarmStart())
    return (
        _Way(name=f"{num_steps} step{plural}, cold", controls=cold),
        _Way(name=f"{num_steps} step{plural}, warm", controls=warm),
    )


def _patch(image: ImageU8, source: Source, size: int) -> ImageU8:
    """The edited square of an output, at the networks' size."""
    box = source.crop_box
    top, left, side = round(box.top), round(box.left), round(box.size)
    square = image[top : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _figures(way: _Way, driver_change: float) -> Figures:
    median_ms, p95_ms = np.percentile(way.times_ms, [50, 95])
    return Figures(
        name=way.name,
        median_ms=float(median_ms),
        p95_ms=float(p95_ms),
        flicker=float(np.mean(way.changes)),
        driver_change=driver_change,
        first_identity=_mean(way.identities[:NUM_ENDS]),
        last_identity=_mean(way.identities[-NUM_ENDS:]),
        first_apart=_mean(way.apart[:NUM_ENDS]),
        last_apart=_mean(way.apart[-NUM_ENDS:]),
    )


def _mean(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _table(title: str, figures: list[Figures]) -> Table:
    table = Table(title=title)
    for name in ("", "median ms", "p95 ms", "change", "driver's", "identity", "from cold"):
        table.add_column(name, justify="left" if not name else "right")
    for row in figures:
        table.add_row(
            row.name,
            f"{row.median_ms:.1f}",
            f"{row.p95_ms:.1f}",
            f"{row.flicker:.3f}",
            f"{row.driver_change:.3f}",
            f"{row.first_identity:.4f} .. {row.last_identity:.4f}",
            f"{row.first_apart:.3f} .. {row.last_apart:.3f}",
        )
    return table


def main() -> None:
    """Measure a moving and a still driver and print both tables."""
    parser = argparse.ArgumentParser(prog="python -m difffae.metrics.warm_start")
    add = parser.add_argument
    add("portrait", type=Path, help="picture of one face")
    add("video", type=Path, help="the driver")
    add("--model", default="lite-256", help="bundled name or folder")
    add("--frames", type=int, default=1000, help="of each driver")
    add("--steps", type=int, nargs="+", default=[1, 2], help="sampler steps")
    add("--embedder", help="ONNX file of a face embedder; without it no identity")
    given = parser.parse_args()
    frames = list(read_frames(given.video))
    portrait = np.asarray(cv2.imread(str(given.portrait))[..., ::-1], np.uint8)
    pipeline = load_pipeline(given.model)
    source = pipeline.encode_source(portrait)
    judge = Judge(load_embedder(given.embedder) if given.embedder else None, portrait)
    console = Console(width=120)
    drivers = {
        "moving driver": there_and_back(frames, given.frames),
        "still driver": still(frames[0], given.frames),
    }
    for title, driver in drivers.items():
        found = compare(pipeline, source, driver, tuple(given.steps), judge)
        console.print(_table(f"{title}, {given.frames} frames", found))


if __name__ == "__main__":
    main()
