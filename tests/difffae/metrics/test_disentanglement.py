import math
from pathlib import Path

import numpy as np
import pytest

from difffae.metrics.disentanglement import Disentanglement, EditedCase, matrix
from difffae.metrics.edit_matrix import EDITS, AttributeDistances
from difffae.metrics.editing import Bench, Editor
from difffae.metrics.evaluation import Methods
from difffae.metrics.outputs import Case
from difffae.metrics.parameter_meter import ParameterMeter
from difffae.metrics.report import COMPOSITE_ROW
from edited_media import (
    RADIANS,
    STEP,
    BarPipeline,
    BarRig,
    Bars,
    bar_instruments,
    write_clip,
)

SOURCE = Bars(rotation=60, expression=80, light=90, shape=120, identity=50)
QUERY = Bars(rotation=100, expression=150, light=130, shape=180, identity=150)
DEGREES = float(np.degrees(40 * RADIANS))  # between the two rotations
SPREAD = (DEGREES, 70 * STEP, 40 * RADIANS, 60 * STEP)
ROW = "bars, 1 step"
TWO_LEVELS = 0.06  # of coefficients: what a video's compression may cost


def run(pipeline: BarPipeline, case: Case) -> EditedCase:
    methods = Methods(pipeline=None, name="bars", steps=(1,), external={})
    bench = Bench(
        instruments=bar_instruments(),
        parameters=ParameterMeter(BarRig(), name="bars"),
    )
    editor = Editor(pipeline, methods)  # type: ignore[arg-type]
    return Disentanglement(editor, bench, max_queries=2).measure(case)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("bars")
    anna, bea = write_clip(folder, "anna", [SOURCE] * 3), write_clip(folder, "bea", [QUERY] * 5)
    return Case(protocol="disentanglement", source=anna, driver=bea)


def distances(found: AttributeDistances) -> tuple[float, ...]:
    return found.pose, found.expression, found.light, found.shape


def test_the_natural_spread_is_the_distance_of_source_and_query(case: Case) -> None:
    found = run(BarPipeline(), case)
    assert distances(found.spread) == pytest.approx(SPREAD, rel=0.05)
    assert found.spread.csim == pytest.approx(0, abs=0.05)  # a quarter turn apart
    assert found.num_queries == 2


def test_a_model_that_obeys_is_near_its_target_in_every_cell(case: Case) -> None:
    found = run(BarPipeline(), case)
    for edit in EDITS:
        cell = found.rows[ROW][edit]
        assert distances(cell) == pytest.approx((0, 0, 0, 0), abs=TWO_LEVELS), edit
        assert cell.csim == pytest.approx(1, abs=1e-3)


def test_a_leak_shows_in_its_own_cell_alone(case: Case) -> None:
    found = run(BarPipeline(leaked_shape=30), case).rows[ROW]
    assert found["pose"].shape == pytest.approx(30 * STEP, abs=TWO_LEVELS)
    assert found["all three"].shape == pytest.approx(30 * STEP, abs=TWO_LEVELS)
    assert found["light"].shape == pytest.approx(0, abs=TWO_LEVELS)
    assert found["pose"].light == pytest.approx(0, abs=TWO_LEVELS)


def test_an_edit_that_falls_short_is_measured_to_the_query(case: Case) -> None:
    found = run(BarPipeline(missed_light=-25), case)
    assert found.rows[ROW]["light"].light == pytest.approx(25 * RADIANS, abs=0.03)
    assert found.rows[ROW]["pose"].light == pytest.approx(25 * RADIANS, abs=0.03)
    assert found.rows[COMPOSITE_ROW]["light"].light == pytest.approx(0, abs=0.03)


def test_outputs_without_a_face_are_as_far_off_as_the_query_and_nobody(case: Case) -> None:
    found = run(BarPipeline(is_blind=True), case)
    assert distances(found.rows[ROW]["light"]) == pytest.approx(distances(found.spread))
    assert found.rows[ROW]["light"].csim == 0


def test_queries_without_a_face_are_passed_over_and_none_is_refused(tmp_path: Path) -> None:
    blank = Bars(rotation=0, expression=0, light=0, shape=0, identity=0)
    anna = write_clip(tmp_path, "anna", [SOURCE] * 2)
    some = write_clip(tmp_path, "some", [blank, blank, blank, QUERY, QUERY])
    found = run(BarPipeline(), Case(protocol="disentanglement", source=anna, driver=some))
    assert found.num_queries == 1
    assert found.spread.pose == pytest.approx(DEGREES, rel=0.05)
    none = write_clip(tmp_path, "none", [blank] * 3)
    with pytest.raises(ValueError, match=r"no face in any query of none#1\.mp4"):
        run(BarPipeline(), Case(protocol="disentanglement", source=anna, driver=none))


def test_the_matrix_is_the_mean_over_cases(case: Case) -> None:
    good, leaking = run(BarPipeline(), case), run(BarPipeline(leaked_shape=30), case)
    both = matrix([good, leaking])
    assert both.rows[ROW]["pose"].shape == pytest.approx(15 * STEP, abs=TWO_LEVELS)
    assert (both.num_pairs, both.num_queries) == (2, 4)
    with pytest.raises(ValueError, match="no edited pair"):
        matrix([])


def test_pictures_are_the_source_the_query_and_every_edit(case: Case) -> None:
    shown = run(BarPipeline(), case).pictures.pictures
    assert list(shown) == ["source", "driver = query", *(f"{edit}: {ROW}" for edit in EDITS)]
    assert not math.isnan(float(shown[f"pose: {ROW}"].mean()))
    assert np.abs(shown[f"nothing: {ROW}"].astype(int) - shown["source"]).max() <= 2


def test_a_model_that_obeys_goes_the_whole_way_and_takes_nothing_along(case: Case) -> None:
    found = matrix([run(BarPipeline(), case)]).moved[ROW]
    for edit, edited in EDITS.items():
        if edit == "nothing":
            assert edit not in found
            continue
        for name in ("pose", "expression", "light", "shape"):
            wanted = 1.0 if name in edited else 0.0
            assert getattr(found[edit], name) == pytest.approx(wanted, abs=0.05)
        assert found[edit].csim == pytest.approx(0, abs=0.01)
