"""What an evaluation gathers for FID, and what it asks of the rig, on pictures of bars."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from difffae.arrays import ImageU8
from difffae.data.split import Clip
from difffae.metrics.evaluation import UNMOVED_ROW, CaseResult, Evaluation, Methods
from difffae.metrics.meter import Instruments
from difffae.metrics.outputs import Case, CrossSettings
from difffae.metrics.parameter_meter import ParameterMeter
from difffae.metrics.realism import RealismMeter
from difffae.metrics.report import COMPOSITE_ROW
from edited_media import RADIANS, BarEmbedder, BarLandmarks, BarRig, Bars, write_clip
from evaluation_media import FakePipeline

NUM_FRAMES = 4
ROW = "fake, 1 step"


class PictureKeeper:
    """Keeps the shapes of the pictures it is shown; the feature is their mean level."""

    name = "mean level"
    columns = ("FD", "KD")

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def embed(self, image: ImageU8) -> np.ndarray:
        self.shapes.append(image.shape)
        return np.array([image.mean(), 1], np.float32)


class KnownShapeRig(BarRig):
    """Remembers whose shape each reading was given."""

    def __init__(self) -> None:
        self.given: list[float | None] = []

    def read(self, sighting, person=None):  # type: ignore[no-untyped-def]
        self.given.append(None if person is None else float(person.shape[0]))
        return super().read(sighting, person)


class Copying(FakePipeline):
    """Gives the driver's frame itself."""

    def generate(self, condition: SimpleNamespace, source: object, controls: object) -> ImageU8:
        return np.asarray(condition.frame)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, Clip]:
    folder = tmp_path_factory.mktemp("sets")
    anna = [Bars(light=60 + n, rotation=50 + 9 * n, shape=30) for n in range(NUM_FRAMES)]
    bea = [Bars(light=150 + n, rotation=90 + 9 * n, shape=200) for n in range(NUM_FRAMES)]
    return write_clip(folder, "anna", anna), write_clip(folder, "bea", bea)


def run(
    case: Case, embedding: PictureKeeper, rig: BarRig, cross: CrossSettings | None = None
) -> tuple[CaseResult, RealismMeter]:
    instruments = Instruments(
        BarLandmarks(),  # type: ignore[arg-type]
        embedder=BarEmbedder(),
        parameters=ParameterMeter(rig, name="bars"),
        realism=embedding,
    )
    methods = Methods(
        pipeline=Copying(),  # type: ignore[arg-type]
        name="fake",
        steps=(1,),
        external={},
        cross=CrossSettings() if cross is None else cross,
    )
    realism = RealismMeter(embedding)
    evaluation = Evaluation(
        methods, [case], instruments=instruments, max_frames=60, realism=realism
    )
    return evaluation.measure(case), realism


def test_each_row_and_the_truth_give_every_frame_once(clips: tuple[Clip, Clip]) -> None:
    case = Case(protocol="self", source=clips[0], driver=clips[0])
    _, realism = run(case, PictureKeeper(), BarRig())
    rows = realism.results()["self"]
    assert {(row.num_outputs, row.num_real) for row in rows.values()} == {(3, 3)}
    assert rows[ROW].frechet == pytest.approx(0, abs=1e-6)
    assert rows[COMPOSITE_ROW].frechet > 100
    assert UNMOVED_ROW in rows


def test_real_frames_of_cross_are_cropped_as_sources_are(tmp_path: Path) -> None:
    """A face of 60 % of a picture fills the crop; a smaller one is cut out."""

    class SmallFace(BarLandmarks):
        def points(self, image: ImageU8) -> np.ndarray | None:
            found = super().points(image)
            return None if found is None else (found * [0.4, 0.4, 0.4]).astype(np.float32)

    clip = write_clip(tmp_path, "anna", [Bars()] * NUM_FRAMES)
    embedding = PictureKeeper()
    instruments = Instruments(SmallFace(), realism=embedding)  # type: ignore[arg-type]
    pipeline = Copying()
    pipeline.config.image_size = 96
    methods = Methods(
        pipeline=pipeline,  # type: ignore[arg-type]
        name="fake",
        steps=(1,),
        external={},
    )
    realism = RealismMeter(embedding)
    case = Case(protocol="cross", source=clip, driver=clip)
    Evaluation(methods, [case], instruments=instruments, max_frames=60, realism=realism).measure(
        case
    )
    assert embedding.shapes.count((96, 96, 3)) >= NUM_FRAMES - 1
    assert realism.results()["cross"][ROW].num_real == NUM_FRAMES - 1


def test_cross_asks_for_the_light_and_the_motion_of_its_settings(clips: tuple[Clip, Clip]) -> None:
    case = Case(protocol="cross", source=clips[0], driver=clips[1])
    paper = CrossSettings(motion="absolute", light="driver")
    scores = run(case, PictureKeeper(), BarRig(), paper)[0].scores
    assert scores[ROW].ald == pytest.approx(0, abs=0.01)
    assert scores[ROW].apd_rad == pytest.approx(0, abs=0.01)
    own = run(case, PictureKeeper(), BarRig())[0].scores
    assert own[ROW].ald == pytest.approx(92 * RADIANS, abs=0.03)
    assert own[UNMOVED_ROW].ald == pytest.approx(0, abs=0.01)
    assert own[ROW].apd_rad == pytest.approx(40 * RADIANS / 3, abs=0.01)


def test_driver_and_outputs_are_each_read_with_their_own_persons_shape(
    clips: tuple[Clip, Clip],
) -> None:
    rig = KnownShapeRig()
    run(Case(protocol="cross", source=clips[0], driver=clips[1]), PictureKeeper(), rig)
    given = [round(shape * 50) for shape in rig.given if shape is not None]
    assert rig.given.count(None) == 2  # the source, and the driver's first frame
    assert sum(abs(level - 200) <= 2 for level in given) == NUM_FRAMES - 1
    assert sum(abs(level - 30) <= 2 for level in given) == 3 * (NUM_FRAMES - 1)
