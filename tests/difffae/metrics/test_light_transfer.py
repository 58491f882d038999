import math
from pathlib import Path

import numpy as np
import pytest

from difffae.metrics.editing import Bench, Editor
from difffae.metrics.evaluation import UNMOVED_ROW, CaseResult, Methods
from difffae.metrics.light_transfer import RATIO_ROW, LightTransfer
from difffae.metrics.outputs import Case
from difffae.metrics.parameter_meter import ParameterMeter
from difffae.metrics.report import COMPOSITE_ROW
from edited_media import (
    RADIANS,
    BarPipeline,
    BarRig,
    Bars,
    bar_instruments,
    dome_triangles,
    write_clip,
)

SOURCE, REFERENCE = Bars(light=60, identity=50), Bars(light=140, rotation=30, identity=150)
ROW = "bars, 1 step"


def run(pipeline: BarPipeline, case: Case) -> CaseResult:
    methods = Methods(pipeline=None, name="bars", steps=(1,), external={})
    parameters = ParameterMeter(BarRig(), name="bars")
    bench = Bench(instruments=bar_instruments(), parameters=parameters)
    editor = Editor(pipeline, methods)  # type: ignore[arg-type]
    return LightTransfer(editor, bench, dome_triangles()).measure(case)


@pytest.fixture(scope="module")
def light_case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("light")
    source, reference = (
        write_clip(folder, name, [bars] * 2)
        for name, bars in (("anna", SOURCE), ("bea", REFERENCE))
    )
    return Case(protocol="light", source=source, driver=reference)


def test_ald_is_to_the_reference_and_pose_and_identity_are_the_sources(light_case: Case) -> None:
    scores = run(BarPipeline(missed_light=-20), light_case).scores
    assert list(scores) == [UNMOVED_ROW, COMPOSITE_ROW, ROW]
    assert scores[UNMOVED_ROW].ald == pytest.approx(80 * RADIANS, abs=0.03)
    assert scores[COMPOSITE_ROW].ald == pytest.approx(0, abs=0.03)
    assert scores[ROW].ald == pytest.approx(20 * RADIANS, abs=0.03)
    assert scores[ROW].apd_rad == pytest.approx(0, abs=0.01)
    assert scores[ROW].aed == pytest.approx(0, abs=0.05)
    assert scores[ROW].csim == pytest.approx(1, abs=1e-3)
    assert math.isnan(scores[ROW].psnr_db)


def test_an_output_without_a_face_is_nobody_in_the_light_before(light_case: Case) -> None:
    scores = run(BarPipeline(is_blind=True), light_case).scores
    assert scores[ROW].ald == pytest.approx(scores[UNMOVED_ROW].ald)
    assert scores[ROW].csim == 0
    assert scores[ROW].tracked == 0
    assert math.isnan(scores[ROW].apd_rad)


def test_a_reference_without_a_face_is_refused_by_name(light_case: Case, tmp_path: Path) -> None:
    blank = Bars(rotation=0, expression=0, light=0, shape=0, identity=0)
    dark = write_clip(tmp_path, "dark", [blank] * 2)
    with pytest.raises(ValueError, match=r"no face in .*dark#1\.mp4"):
        run(BarPipeline(), Case(protocol="light", source=light_case.source, driver=dark))


def test_relight_is_measured_against_the_picture_as_it_was(light_case: Case) -> None:
    case = Case(protocol="relight", source=light_case.source, driver=light_case.source)

    class Knowing(BarPipeline):
        def generate(self, condition, source, controls):  # type: ignore[no-untyped-def]
            return SOURCE.drawn()

    found = run(Knowing(), case)
    scores = found.scores
    assert scores[ROW].face_psnr_db > 45
    assert scores[UNMOVED_ROW].face_psnr_db < 30
    assert scores[ROW].ssim > scores[UNMOVED_ROW].ssim
    assert scores[ROW].csim == pytest.approx(1, abs=1e-3)
    assert list(found.pictures.pictures) == [
        UNMOVED_ROW,
        RATIO_ROW,
        COMPOSITE_ROW,
        ROW,
        "driver = truth",
    ]
    truth, relit = found.pictures.pictures["driver = truth"], found.pictures.pictures[UNMOVED_ROW]
    assert np.abs(truth.astype(int) - SOURCE.drawn()).max() <= 2
    assert np.abs(relit.astype(int) - truth).max() > 10
