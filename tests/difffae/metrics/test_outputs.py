from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from difffae.arrays import ImageU8
from difffae.data.split import Clip
from difffae.face.crop import CropBox
from difffae.metrics.outputs import (
    CEILING_ROW,
    Case,
    CrossSettings,
    PipelineCase,
    VideoCase,
    View,
    case_controls,
    covered_protocols,
    step_rows,
)
from difffae.metrics.report import COMPOSITE_ROW, MOVED_ROW
from evaluation_media import FakePipeline, off, write_video

ANNA = Clip(path=Path("clips/anna#1.mp4"), person="anna", num_frames=9)
BEA = Clip(path=Path("clips/bea#1.mp4"), person="bea", num_frames=9)
SELF = Case(protocol="self", source=ANNA, driver=ANNA)
CROSS = Case(protocol="cross", source=ANNA, driver=BEA)


def open_case(pipeline: FakePipeline, case: Case, portrait: ImageU8) -> PipelineCase:
    source = pipeline.encode_source(portrait)
    controls = case_controls(case, CrossSettings())
    rows = step_rows("lite-256", (1, 4))
    return PipelineCase(pipeline, source, controls, rows=rows)  # type: ignore[arg-type]


def test_videos_are_named_like_the_driver_and_in_cross_after_the_source_too() -> None:
    assert SELF.video_name == "anna#1.mp4"
    assert CROSS.video_name == "anna#1__bea#1.mp4"


def test_self_is_driven_absolutely_and_cross_relatively(portrait: ImageU8) -> None:
    pipeline = FakePipeline()
    open_case(pipeline, SELF, portrait)
    open_case(pipeline, CROSS, portrait)
    assert pipeline.motions == ["absolute", "relative"]


def test_strangers_may_be_driven_as_the_paper_does() -> None:
    paper = CrossSettings(motion="absolute", light="driver")
    controls = case_controls(CROSS, paper)
    assert (controls.motion, controls.light) == ("absolute", "driver")
    assert case_controls(SELF, paper).light == "source"


def test_rows_are_composite_each_number_of_steps_and_the_ceiling(portrait: ImageU8) -> None:
    opened = open_case(FakePipeline(), SELF, portrait)
    rows = opened.outputs(portrait, portrait)
    assert list(rows) == [COMPOSITE_ROW, "lite-256, 1 step", "lite-256, 4 steps", CEILING_ROW]
    levels = [int(np.abs(image.astype(int) - portrait).max()) for image in rows.values()]
    assert levels == [40, 20, 5, 1]


def test_what_dense_motion_adds_has_a_row_of_its_own(portrait: ImageU8) -> None:
    pipeline = FakePipeline(plain=SimpleNamespace(composite=off(portrait, 60)))
    rows = open_case(pipeline, SELF, portrait).outputs(portrait, portrait)
    assert list(rows)[:2] == [COMPOSITE_ROW, MOVED_ROW]
    levels = [int(np.abs(rows[name].astype(int) - portrait).max()) for name in list(rows)[:2]]
    assert levels == [60, 40]


def test_without_a_truth_there_is_no_ceiling(portrait: ImageU8) -> None:
    rows = open_case(FakePipeline(), CROSS, portrait).outputs(portrait, None)
    assert CEILING_ROW not in rows


def test_the_stream_goes_on_over_skipped_frames(portrait: ImageU8) -> None:
    pipeline = FakePipeline()
    opened = open_case(pipeline, SELF, portrait)
    opened.skip(portrait)
    opened.outputs(portrait, portrait)
    opened.skip(portrait)
    assert pipeline.log == ["skip 0", "condition 1", "skip 2"]


def test_a_video_is_read_in_step_with_the_driver(tmp_path: Path, rolled: list[ImageU8]) -> None:
    video = VideoCase("other", write_video(tmp_path / "a.mp4", rolled[:3]), None)
    video.skip(rolled[0])
    output = video.outputs(rolled[1], None)["other"]
    assert np.abs(output.astype(int) - rolled[1]).mean() < 3
    assert np.abs(output.astype(int) - rolled[0]).mean() > 3


def test_a_video_is_seen_in_the_models_crop(tmp_path: Path, rolled: list[ImageU8]) -> None:
    view = View(box=CropBox(left=64, top=32, size=128), size=128)
    video = VideoCase("other", write_video(tmp_path / "a.mp4", rolled[:1]), view)
    output = video.outputs(rolled[0], None)["other"]
    assert output.shape == (128, 128, 3)
    assert np.abs(output.astype(int) - rolled[0][32:160, 64:192]).mean() < 3


def test_a_video_too_short_or_of_another_size_is_refused(
    tmp_path: Path, rolled: list[ImageU8]
) -> None:
    video = VideoCase("other", write_video(tmp_path / "a.mp4", rolled[:1]), None)
    with pytest.raises(ValueError, match="expected"):
        video.skip(rolled[0][:128])
    with pytest.raises(ValueError, match="fewer frames"):
        video.skip(rolled[0])


def test_a_folder_covers_a_protocol_only_with_all_its_videos(tmp_path: Path) -> None:
    other = Case(protocol="self", source=BEA, driver=BEA)
    with pytest.raises(ValueError, match="no video in"):
        covered_protocols(tmp_path, [SELF, other, CROSS])
    (tmp_path / SELF.video_name).touch()
    with pytest.raises(ValueError, match=r"1 of 2 self videos.*bea#1\.mp4"):
        covered_protocols(tmp_path, [SELF, other, CROSS])
    (tmp_path / other.video_name).touch()
    assert covered_protocols(tmp_path, [SELF, other, CROSS]) == {"self"}
    (tmp_path / CROSS.video_name).touch()
    assert covered_protocols(tmp_path, [SELF, other, CROSS]) == {"self", "cross"}
