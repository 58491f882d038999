"""Measures a method's outputs on one clip, frame after frame, keeping numbers and no pictures."""

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from difffae.arrays import Images, ImageU8, MaskU8, Points3
from difffae.face.parameters import FaceParameters
from difffae.face.tracker import FaceNotFoundError
from difffae.metrics.embedding import PictureEmbedding, PictureFeatures
from difffae.metrics.identity import Embedding, FaceEmbedder, cosine
from difffae.metrics.image import face_hull, mean_change, psnr_db, ssim
from difffae.metrics.landmarks import LandmarkMeter
from difffae.metrics.motion import (
    SIGNALS,
    HeadMotion,
    HeadReference,
    Signals,
    correlations,
    expression_error,
    pose_error_deg,
)
from difffae.metrics.parameter_meter import (
    Asked,
    ParameterDistances,
    ParameterMeter,
    Reading,
)
from difffae.metrics.perceptual import FeatureDistance
from difffae.metrics.scores import NAN, Scores, mean_scores
from difffae.metrics.temporal import TemporalMeter


class PerceptualDistance(Protocol):
    """How differently two pictures look: LPIPS."""

    def __call__(self, images: Images, targets: Images) -> Tensor:
        """Distance of each picture to its target, (b,)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Looks:
    """One picture, measured once: where its face is, whose it is, what the feature network sees.

    Attributes:
        image: the picture.
        points: mesh points; None where no face is found.
        embedding: of the face.
        features: of the feature distance.
        realism: features that sets of pictures are compared by (FID).
    """

    image: ImageU8
    points: Points3 | None
    embedding: Embedding | None
    features: list[Tensor] | None
    realism: PictureFeatures | None = None


class Instruments:
    """The networks that measure; one set for a run."""

    def __init__(
        self,
        landmarks: LandmarkMeter,
        *,
        embedder: FaceEmbedder | None = None,
        features: FeatureDistance | None = None,
        lpips: PerceptualDistance | None = None,
        parameters: ParameterMeter | None = None,
        realism: PictureEmbedding | None = None,
    ) -> None:
        """Use these; figures that need one not given stay NaN."""
        self._landmarks = landmarks
        self._features = features
        self._lpips = lpips
        self.embedder = embedder
        self.parameters = parameters
        self.realism = realism

    @property
    def temporal_name(self) -> str:
        """What the change from frame to frame is called: by the distance it is measured with."""
        return "tFD" if self._lpips is None else "tLP"

    def look(self, image: ImageU8, *, with_features: bool = True) -> Looks:
        """Measure one picture."""
        points = self._landmarks.points(image)
        embedding = None
        if self.embedder is not None and points is not None:
            embedding = self.embedder.embed(image, points)
        return Looks(
            image=image,
            points=points,
            embedding=embedding,
            features=self._seen(image) if with_features else None,
            realism=self.realism.embed(image) if self.realism and with_features else None,
        )

    def read(self, looks: Looks, person: FaceParameters | None = None) -> Reading | None:
        """What the rig reads from a face; None without a rig or a face."""
        if self.parameters is None or looks.points is None:
            return None
        return self.parameters.read(looks.image, looks.points, person)

    def _seen(self, image: ImageU8) -> list[Tensor] | None:
        if self._features is None:
            return None
        with torch.inference_mode():
            return self._features.features(_tensor(image))

    def feature_distance(self, looks: Looks, others: Looks) -> float:
        """SqueezeNet feature distance; NaN without the network."""
        if self._features is None or looks.features is None or others.features is None:
            return NAN
        with torch.inference_mode():
            return float(self._features.between(looks.features, others.features))

    def lpips(self, looks: Looks, others: Looks) -> float:
        """LPIPS; NaN without its weights."""
        if self._lpips is None:
            return NAN
        with torch.inference_mode():
            return float(self._lpips(_tensor(looks.image), _tensor(others.image)))

    def change(self, looks: Looks, previous: Looks) -> float:
        """LPIPS between neighbouring frames; without its weights, the feature distance."""
        if self._lpips is None:
            return self.feature_distance(looks, previous)
        return self.lpips(looks, previous)


def _tensor(image: ImageU8) -> Images:
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    return pixels.float() / 127.5 - 1


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A driver's frame: the true one in self-reenactment.

    Attributes:
        index: of the frame.
        looks: what is seen of it.
        motion: since the driver's reference; None where no face is found.
        hull: 255 on its face.
        reading: what the rig reads from it.
        change: how much it differs from the frame before; NaN where that was not measured.
    """

    index: int
    looks: Looks
    motion: HeadMotion | None
    hull: MaskU8 | None
    reading: Reading | None = None
    change: float = NAN


def moment(
    index: int, looks: Looks, reference: HeadReference, reading: Reading | None = None
) -> Moment:
    """Measure a driver's frame against the driver's reference."""
    if looks.points is None:
        return Moment(index=index, looks=looks, motion=None, hull=None)
    height, width = looks.image.shape[:2]
    return Moment(
        index=index,
        looks=looks,
        motion=reference.measure(looks.points),
        hull=face_hull(looks.points, height, width),
        reading=reading,
    )


@dataclass(kw_only=True)
class _Tally:
    """What is kept of a clip while it runs: numbers, and the one frame before."""

    frames: list[Scores] = field(default_factory=list)
    output_signals: list[Signals] = field(default_factory=list)
    driver_signals: list[Signals] = field(default_factory=list)
    output_change: float = 0.0
    driver_change: float = 0.0
    previous: tuple[int, Looks, ImageU8] | None = None
    temporal: TemporalMeter = field(default_factory=TemporalMeter)


class ClipMeter:
    """Measures one method's output on one clip, frame after frame."""

    def __init__(
        self,
        instruments: Instruments,
        source: Looks,
        *,
        has_truth: bool,
        asked: Asked | None = None,
    ) -> None:
        """Begin a clip.

        Args:
            instruments: what measures.
            source: the portrait, in the crop that the outputs are in.
            has_truth: whether the driver's frames are the true ones (self-reenactment).
            asked: what the rig should read from the outputs; None to leave APD, AED and ALD out.

        Raises:
            FaceNotFoundError: the portrait shows no face.
        """
        if source.points is None:
            raise FaceNotFoundError("Got a source without a face: its motion cannot be measured")
        self._instruments = instruments
        self._source = source
        self._reference = HeadReference(source.points)
        self._has_truth = has_truth
        self._asked = asked
        self._tally = _Tally()
        self._last: Looks = source

    def add(self, output: ImageU8, driver: Moment) -> Looks:
        """Measure one output frame, and return what is seen of it.

        Frames come in order, gaps allowed.
        """
        if output is not self._last.image:
            self._last = self._instruments.look(output)
        looks = self._last
        tally = self._tally
        tally.frames.append(self._frame(looks, driver))
        if driver.motion is not None:
            tally.output_signals.append(self._motion(looks).signals)
            tally.driver_signals.append(driver.motion.signals)
        self._add_change(looks, driver)
        return looks

    def _motion(self, looks: Looks) -> HeadMotion:
        """An output without a face counts as one that did not move."""
        if looks.points is None:
            return self._reference.rest()
        return self._reference.measure(looks.points)

    def _frame(self, looks: Looks, driver: Moment) -> Scores:
        motion = self._motion(looks)
        known = driver.motion
        scores = self._against_truth(looks, driver) if self._has_truth else Scores()
        attributes = self._attributes(looks, driver)
        return replace(
            scores,
            apd_rad=attributes.apd_rad,
            apd_deg=attributes.apd_deg,
            aed=attributes.aed,
            aed_jaw=attributes.aed_jaw,
            ald=attributes.ald,
            identity=self._identity(looks, driver.looks if self._has_truth else self._source),
            csim=self._identity(looks, self._source),
            pose_error_deg=NAN if known is None else pose_error_deg(motion, known),
            expression_error=NAN if known is None else expression_error(motion, known),
            tracked=float(looks.points is not None),
        )

    def _attributes(self, looks: Looks, driver: Moment) -> ParameterDistances:
        """APD, AED and ALD; an output without a face counts as the source, unmoved and unlit."""
        meter, asked = self._instruments.parameters, self._asked
        if meter is None or asked is None or driver.reading is None:
            return ParameterDistances()
        reading = self._instruments.read(looks, asked.source.parameters)
        shown = asked.source if reading is None else reading
        return meter.distances(shown, asked.of(driver.reading))

    def _against_truth(self, looks: Looks, truth: Moment) -> Scores:
        image, wanted = looks.image, truth.looks.image
        return Scores(
            psnr_db=psnr_db(image, wanted),
            face_psnr_db=NAN if truth.hull is None else psnr_db(image, wanted, truth.hull),
            ssim=ssim(image, wanted),
            feature_distance=self._instruments.feature_distance(looks, truth.looks),
            lpips=self._instruments.lpips(looks, truth.looks),
        )

    def _identity(self, looks: Looks, target: Looks) -> float:
        """An output without a face is nobody: 0."""
        if target.embedding is None:
            return NAN
        return 0.0 if looks.embedding is None else cosine(looks.embedding, target.embedding)

    def _add_change(self, output: Looks, driver: Moment) -> None:
        tally, previous = self._tally, self._tally.previous
        if previous is not None and previous[0] == driver.index - 1:
            tally.output_change += mean_change(output.image, previous[1].image)
            tally.driver_change += mean_change(driver.looks.image, previous[2])
            tally.temporal.add(self._instruments.change(output, previous[1]), driver.change)
        tally.previous = (driver.index, output, driver.looks.image)

    def scores(self) -> Scores:
        """The clip's figures: means over frames; correlation and change over the whole."""
        tally = self._tally
        mean = mean_scores(tally.frames)
        signals = self._correlations()
        counted = [value for value in signals if np.isfinite(value)]
        moving = tally.driver_change > 0
        return replace(
            mean,
            signals=signals,
            correlation=float(np.mean(counted)) if counted else NAN,
            change=tally.output_change / tally.driver_change if moving else NAN,
            temporal=tally.temporal.value(),
        )

    def _correlations(self) -> tuple[float, ...]:
        if not self._tally.driver_signals:
            return (NAN,) * len(SIGNALS)
        outputs = np.stack(self._tally.output_signals)
        drivers = np.stack(self._tally.driver_signals)
        return tuple(float(value) for value in correlations(outputs, drivers))
