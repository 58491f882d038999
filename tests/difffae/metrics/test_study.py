"""All four protocols by one run, on pictures whose bars are a face's parameters."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from difffae.data.split import Clip
from difffae.metrics import study as study_module
from difffae.metrics.instruments import Measurement
from difffae.metrics.parameter_meter import ParameterMeter
from difffae.metrics.report import COMPOSITE_ROW, InstrumentNames
from difffae.metrics.scores import Scores
from difffae.metrics.settings import EvaluateConfig
from difffae.metrics.study import Study, draw_cases, gather, write_report
from edited_media import BarPipeline, BarRig, Bars, bar_instruments, write_clip

EDITING = ("light", "relight", "disentanglement")


@dataclass
class Pipelines:
    """Counts what is measured."""

    done: int = 0

    def advance(self) -> None:
        self.done += 1


@pytest.fixture
def config(tmp_path: Path) -> EvaluateConfig:
    folder = tmp_path / "clips"
    folder.mkdir()
    write_clip(folder, "anna", [Bars(light=60), Bars(light=62)])
    write_clip(folder, "bea", [Bars(light=140), Bars(light=141)])
    rows = ["file,person,split,frames", "anna#1.mp4,anna,val,2", "bea#1.mp4,bea,val,2"]
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n", "utf-8")
    return EvaluateConfig(
        clips=folder,
        csv=tmp_path / "clips.csv",
        protocol="light,disentanglement",
        steps=(1,),
        model="bars",
        output=tmp_path / "report",
    )


@pytest.fixture(autouse=True)
def bar_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instruments of the world of bars, instead of those that need faces."""
    measurement = Measurement(
        instruments=bar_instruments(),
        parameters=ParameterMeter(BarRig(), name="bars"),
        realism=None,
        names=InstrumentNames(tracker="bars"),
    )
    monkeypatch.setattr(study_module, "load_measurement", lambda _: measurement)


def test_light_and_disentanglement_come_out_as_json_markdown_and_grids(
    config: EvaluateConfig,
) -> None:
    study = Study(config, BarPipeline(missed_light=-10))  # type: ignore[arg-type]
    counter = Pipelines()
    result = study.run(counter.advance)
    assert counter.done == len(study.cases) == 6
    report = gather(result, config)
    write_report(report, result, config)
    document = json.loads((config.output / "figures.json").read_text("utf-8"))
    rows = {(row["protocol"], row["row"]): row for row in document["rows"]}
    assert {protocol for protocol, _ in rows} == {"light", "relight"}
    assert rows["light", "source, unmoved"]["videos"]["ald"] == pytest.approx(0.8, abs=0.05)
    assert rows["light", COMPOSITE_ROW]["videos"]["ald"] == pytest.approx(0, abs=0.03)
    assert rows["light", "bars, 1 step"]["videos"]["ald"] == pytest.approx(0.1, abs=0.03)
    assert rows["light", "bars, 1 step"]["num_videos"] == 2
    cell = document["disentanglement"]["rows"]["bars, 1 step"]["light"]["light"]
    assert cell["target"] == "query"
    assert cell["distance"] == pytest.approx(0.1, abs=0.03)
    assert cell["relative"] == pytest.approx(0.1 / 0.8, abs=0.05)
    assert document["instruments"]["tracker"] == "bars"
    assert document["paper"]["rows"]["DiffFAE"]["CSIM"] == 0.9458
    assert document["paper"]["rows"]["Hou et al."]["APD"] is None
    assert any("Tracker of APD, AED and ALD: bars." in text for text in document["definitions"])
    text = (config.output / "figures.md").read_text("utf-8")
    for part in ("paper's table 1", "## Disentanglement", "## Definitions", "relight: the source"):
        assert part in text
    for protocol in EDITING:
        grid = cv2.imread(str(config.output / f"grid_{protocol}.png"))
        assert grid.shape[1] % 256 == 0
        assert np.ptp(grid) > 0


def test_pairs_are_the_same_in_cross_light_and_disentanglement(config: EvaluateConfig) -> None:
    clips = [Clip(path=Path(f"{p}.mp4"), person=p, num_frames=9) for p in ("a", "b", "c")]
    wanted = EvaluateConfig(clips=config.clips, csv=config.csv, protocol="all")
    cases = draw_cases(clips, wanted)
    assert len(cases) == 15
    pairs = {
        name: [(c.source.person, c.driver.person) for c in cases if c.protocol == name]
        for name in wanted.protocols
    }
    assert pairs["cross"] == pairs["light"] == pairs["disentanglement"]
    assert all(source != driver for source, driver in pairs["cross"])
    assert pairs["self"] == pairs["relight"] == [("a", "a"), ("b", "b"), ("c", "c")]


def test_one_person_may_be_measured_alone_but_not_paired(config: EvaluateConfig) -> None:
    clips = [Clip(path=Path("a.mp4"), person="a", num_frames=9)]
    alone = EvaluateConfig(clips=config.clips, csv=config.csv, protocol="self")
    assert len(draw_cases(clips, alone)) == 1
    with pytest.raises(ValueError, match="pairs of different people need two"):
        draw_cases(clips, config)


def test_scores_that_were_not_measured_are_null(config: EvaluateConfig) -> None:
    result = Study(config, BarPipeline()).run(lambda: None)  # type: ignore[arg-type]
    assert np.isnan(Scores().ald)
    write_report(gather(result, config), result, config)
    document = json.loads((config.output / "figures.json").read_text("utf-8"))
    light = next(row for row in document["rows"] if row["protocol"] == "light")
    assert light["videos"]["psnr_db"] is None
    assert light["realism"]["frechet"] is None
    assert "NaN" not in (config.output / "figures.json").read_text("utf-8")


def test_cases_without_a_face_are_left_out_and_named(config: EvaluateConfig) -> None:
    blank = Bars(rotation=0, expression=0, light=0, shape=0, identity=0)
    write_clip(config.clips, "carl", [blank, blank])
    with config.csv.open("a") as table:
        table.write("carl#1.mp4,carl,val,2\n")
    result = Study(config, BarPipeline()).run(lambda: None)  # type: ignore[arg-type]
    report = gather(result, config)
    left_out = [text for text in report.warnings if text.startswith("Left out")]
    assert left_out
    assert all("carl#1" in text for text in left_out)
    assert len(report.cases) + len(left_out) == 9
    assert report.rows["relight"]["bars, 1 step"].num_videos == 2


def test_a_run_without_any_face_is_refused(config: EvaluateConfig) -> None:
    blank = Bars(rotation=0, expression=0, light=0, shape=0, identity=0)
    for person in ("anna", "bea"):
        write_clip(config.clips, person, [blank, blank])
    with pytest.raises(ValueError, match="no case that could be measured"):
        Study(config, BarPipeline()).run(lambda: None)  # type: ignore[arg-type]
