"""The light protocols: a source under another picture's light, and one with a known answer.

`light`: the source keeps its pose and expression and is shown under the light of a reference of
another person: ALD to the reference, CSIM to the source. The unmoved source says how far apart the
two lights are.

`relight` has a ground truth: the source's face is first lit from a known side (`relighting`), and
the model is asked for the light of the picture as it was. Its output is compared with that real
picture; the unmoved source is here the relit picture, left as it is, and beside it is the relit
picture under the plain shading ratio of the model's two estimates. This way round, the truth is a
photograph and not the product of the shading formula that the renderer shares.
"""

import logging
from dataclasses import dataclass, replace

from difffae.arrays import ImageU8, Lighting, Triangles
from difffae.data.split import first_frame
from difffae.face.tracker import FaceNotFoundError
from difffae.metrics.editing import Bench, Editor
from difffae.metrics.evaluation import UNMOVED_ROW, CaseResult
from difffae.metrics.grid import GridRow
from difffae.metrics.identity import cosine
from difffae.metrics.image import psnr_db, ssim
from difffae.metrics.meter import Looks
from difffae.metrics.outputs import Case
from difffae.metrics.parameter_meter import ParameterDistances, Reading
from difffae.metrics.relighting import KNOWN_LIGHTS, lit_face, relight
from difffae.metrics.scores import NAN, Scores, mean_scores
from difffae.pipeline import Source

RATIO_ROW = "shading ratio"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What an output should show.

    Attributes:
        source: whose identity.
        reading: the source's pose and expression under the wanted light.
        unlit: the light before.
        truth: the picture itself, where it is known.
    """

    source: Looks
    reading: Reading
    unlit: Lighting
    truth: Looks | None = None


class LightTransfer:
    """Every row of a model over the light protocols' cases."""

    def __init__(self, editor: Editor, bench: Bench, triangles: Triangles) -> None:
        """Prepare.

        Args:
            editor: the model.
            bench: what measures.
            triangles: of the meter's mesh, to relight with.
        """
        self._editor = editor
        self._bench = bench
        self._triangles = triangles

    def measure(self, case: Case) -> CaseResult:
        """Measure a case of `light` or `relight`.

        Raises:
            FaceNotFoundError: no face in the source or the reference.
        """
        return self._transferred(case) if case.protocol == "light" else self._relit(case)

    def _transferred(self, case: Case) -> CaseResult:
        """The source under the light of the driver's first frame."""
        frame = first_frame(case.driver.path)
        source = self._editor.encode(first_frame(case.source.path))
        looks = self._look(self._editor.seen(source.image, source), case)
        reference = self._look(frame, case)
        own, other = self._read(looks, case), self._read(reference, case)
        wanted = _Wanted(
            source=looks, reading=replace(own, lighting=other.lighting), unlit=own.lighting
        )
        light = self._editor.light_of(frame, case.driver.path)
        pictures = {UNMOVED_ROW: looks.image, **self._lit(source, light)}
        return CaseResult(
            case=case,
            scores=self._scores(case, pictures, wanted),
            pictures=GridRow(
                label=case.video_name, pictures={**pictures, "driver = light": reference.image}
            ),
        )

    def _relit(self, case: Case) -> CaseResult:
        """The source lit from known sides, asked for its own light."""
        portrait = first_frame(case.source.path)
        light = self._editor.light_of(portrait, case.source.path)
        points = self._bench.instruments.look(portrait, with_features=False).points
        if points is None:
            raise _no_face(case)
        kept: list[dict[str, Scores]] = []
        shown: dict[str, ImageU8] = {}
        for side, known in KNOWN_LIGHTS.items():
            relit = relight(portrait, points, known, self._triangles)
            try:
                source = self._editor.encode(relit)
            except FaceNotFoundError:
                _logger.warning("no face in %s lit %s: left out", case.source.path.name, side)
                continue
            truth = self._look(self._editor.seen(portrait, source), case)
            before = self._editor.seen(relit, source)
            look = self._look(before, case, is_real=False)
            pictures = {
                UNMOVED_ROW: before,
                RATIO_ROW: self._ratio(look, (source.face.appearance.lighting, light)),
                **self._lit(source, light),
            }
            unlit = self._read(look, case)
            wanted = _Wanted(
                source=truth,
                reading=self._read(truth, case),
                unlit=unlit.lighting,
                truth=truth,
            )
            kept.append(self._scores(case, pictures, wanted))
            shown = shown or {**pictures, "driver = truth": truth.image}
        if not kept:
            raise _no_face(case)
        return CaseResult(
            case=case,
            scores={name: mean_scores([each[name] for each in kept]) for name in kept[0]},
            pictures=GridRow(label=case.source.path.name, pictures=shown),
        )

    def _ratio(self, looks: Looks, lighting: tuple[Lighting, Lighting]) -> ImageU8:
        """The relit picture under the two lights' plain shading ratio: what needs no model."""
        if looks.points is None:
            return looks.image
        before, after = lighting
        return relight(looks.image, looks.points, after, self._triangles, before)

    def _lit(self, source: Source, light: Lighting) -> dict[str, ImageU8]:
        return dict(self._editor.pictures(source, source.face.fitted.parameters, light))

    def _look(self, image: ImageU8, case: Case, *, is_real: bool = True) -> Looks:
        looks = self._bench.instruments.look(image)
        if is_real:
            self._bench.gather_real(case.protocol, looks)
        return looks

    def _read(self, looks: Looks, case: Case) -> Reading:
        if looks.points is None:
            raise _no_face(case)
        return self._bench.parameters.read(looks.image, looks.points)

    def _scores(
        self, case: Case, pictures: dict[str, ImageU8], wanted: _Wanted
    ) -> dict[str, Scores]:
        scores: dict[str, Scores] = {}
        for name, image in pictures.items():
            looks = self._bench.instruments.look(image)
            self._bench.gather(case.protocol, name, looks)
            scores[name] = self._score(looks, wanted)
        return scores

    def _score(self, looks: Looks, wanted: _Wanted) -> Scores:
        distances = self._distances(looks, wanted)
        similarity = _similarity(looks, wanted.source)
        scores = Scores(
            apd_rad=distances.apd_rad,
            apd_deg=distances.apd_deg,
            aed=distances.aed,
            aed_jaw=distances.aed_jaw,
            ald=distances.ald,
            csim=similarity,
            identity=similarity,
            tracked=float(looks.points is not None),
        )
        truth = wanted.truth
        if truth is None or truth.points is None:
            return scores
        face = lit_face(truth.points, self._triangles, truth.image.shape[0])
        instruments = self._bench.instruments
        return replace(
            scores,
            psnr_db=psnr_db(looks.image, truth.image),
            face_psnr_db=psnr_db(looks.image, truth.image, face),
            ssim=ssim(looks.image, truth.image),
            feature_distance=instruments.feature_distance(looks, truth),
            lpips=instruments.lpips(looks, truth),
        )

    def _distances(self, looks: Looks, wanted: _Wanted) -> ParameterDistances:
        """An output without a face counts as left in its own light."""
        meter = self._bench.parameters
        if looks.points is None:
            unlit = replace(wanted.reading, lighting=wanted.unlit)
            return ParameterDistances(ald=meter.distances(unlit, wanted.reading).ald)
        person = wanted.reading.parameters
        return meter.distances(meter.read(looks.image, looks.points, person), wanted.reading)


def _no_face(case: Case) -> FaceNotFoundError:
    return FaceNotFoundError(
        f"Got no face in the first frame of {case.source.path.name} or {case.driver.path.name}: "
        "leave that clip out of the split"
    )


def _similarity(looks: Looks, source: Looks) -> float:
    """CSIM; an output without a face is nobody: 0."""
    if source.embedding is None:
        return NAN
    return 0.0 if looks.embedding is None else cosine(looks.embedding, source.embedding)
