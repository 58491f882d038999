import math
from pathlib import Path

import numpy as np
import pytest

from difffae.data.split import Clip, read_clips
from difffae.face.crop import CropBox
from difffae.metrics.evaluation import UNMOVED_ROW, CaseResult, Evaluation, Methods
from difffae.metrics.landmarks import LandmarkMeter
from difffae.metrics.meter import Instruments
from difffae.metrics.outputs import CEILING_ROW, Case
from difffae.metrics.report import COMPOSITE_ROW
from evaluation_media import FakePipeline, write_video


@pytest.fixture(scope="module")
def clips(clips_folder: Path) -> list[Clip]:
    return read_clips(clips_folder / "clips", clips_folder / "clips.csv", "val")


def run(
    case: Case, landmarks: LandmarkMeter, pipeline: FakePipeline, *, max_frames: int = 60
) -> CaseResult:
    methods = Methods(
        pipeline=pipeline,  # type: ignore[arg-type]
        name="fake",
        steps=(1, 2),
        external={},
    )
    evaluation = Evaluation(
        methods, [case], instruments=Instruments(landmarks), max_frames=max_frames
    )
    return evaluation.measure(case)


def level_db(levels: int) -> float:
    return 20 * math.log10(255 / levels)


def test_self_measures_floor_model_and_ceiling_against_the_driver(
    clips: list[Clip], landmarks: LandmarkMeter
) -> None:
    case = Case(protocol="self", source=clips[0], driver=clips[0])
    scores = run(case, landmarks, FakePipeline()).scores
    assert list(scores) == [
        UNMOVED_ROW,
        COMPOSITE_ROW,
        "fake, 1 step",
        "fake, 2 steps",
        CEILING_ROW,
    ]
    assert scores[COMPOSITE_ROW].psnr_db == pytest.approx(level_db(40))
    assert scores["fake, 1 step"].psnr_db == pytest.approx(level_db(20))
    assert scores["fake, 2 steps"].face_psnr_db == pytest.approx(level_db(10))
    assert scores[CEILING_ROW].psnr_db == pytest.approx(level_db(1))
    assert scores[CEILING_ROW].correlation > 0.99
    assert scores[UNMOVED_ROW].correlation == 0


def test_cross_measures_motion_since_both_first_frames(
    clips: list[Clip], landmarks: LandmarkMeter
) -> None:
    case = Case(protocol="cross", source=clips[1], driver=clips[0])
    scores = run(case, landmarks, FakePipeline()).scores
    assert list(scores) == [UNMOVED_ROW, COMPOSITE_ROW, "fake, 1 step", "fake, 2 steps"]
    assert scores["fake, 2 steps"].correlation > 0.98
    assert math.isnan(scores["fake, 2 steps"].psnr_db)


def test_frames_that_are_not_measured_still_move_the_stream(
    clips: list[Clip], landmarks: LandmarkMeter
) -> None:
    pipeline = FakePipeline()
    case = Case(protocol="self", source=clips[0], driver=clips[0])
    run(case, landmarks, pipeline, max_frames=4)
    assert pipeline.log == [
        *("skip 0", "condition 1", "condition 2", "skip 3", "skip 4", "skip 5", "skip 6"),
        *("condition 7", "condition 8"),
    ]


def test_the_picture_kept_is_of_the_liveliest_moment(
    clips: list[Clip], landmarks: LandmarkMeter
) -> None:
    pipeline = FakePipeline()
    case = Case(protocol="self", source=clips[0], driver=clips[0])
    pictures = run(case, landmarks, pipeline, max_frames=2).pictures
    assert next(iter(pictures.pictures)) == UNMOVED_ROW
    assert "driver = truth" in pictures.pictures
    assert pictures.label == "anna#1.mp4"


def test_truth_is_seen_in_the_models_crop(clips: list[Clip], landmarks: LandmarkMeter) -> None:
    class Cropping(FakePipeline):
        def condition(self, frame, source, state, controls):  # type: ignore[no-untyped-def]
            return super().condition(frame[16:240, 16:240], source, state, controls)

    pipeline = Cropping(box=CropBox(left=16, top=16, size=224))
    pipeline.config.image_size = 224
    case = Case(protocol="self", source=clips[0], driver=clips[0])
    scores = run(case, landmarks, pipeline, max_frames=2).scores
    assert scores[COMPOSITE_ROW].psnr_db == pytest.approx(level_db(40))


def test_a_driver_without_a_face_at_the_start_is_refused_by_name(
    clips: list[Clip], landmarks: LandmarkMeter, tmp_path: Path
) -> None:

    path = write_video(tmp_path / "blank.mp4", [np.zeros((256, 256, 3), np.uint8)] * 3)
    blank = Clip(path=path, person="nobody", num_frames=3)
    case = Case(protocol="cross", source=clips[0], driver=blank)
    with pytest.raises(ValueError, match=r"no face in the first frame of .*blank\.mp4"):
        run(case, landmarks, FakePipeline())
