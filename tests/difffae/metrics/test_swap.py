"""What swaps do, measured: means by hand, and the command with a random model."""

import json
from pathlib import Path

import cv2
import pytest
import yaml

from difffae.metrics.swap import PLANES, WAYS, SwapFigures, main, means
from random_model import write_random_model

REGIONS = ["face", "hair", "clothes", "background"]


def figures(region: str, way: str, fall: float) -> SwapFigures:
    return SwapFigures(region=region, way=way, fall=fall, fall_anywhere=2 * fall, outside_db=30.0)


def test_means_are_of_each_region_and_way() -> None:
    found = [figures("hair", "pixels", 0.2), figures("hair", "pixels", 0.4)]
    rows = means([*found, figures("clothes", "tokens", 0.1)])
    assert [(row.region, row.way) for row in rows] == [("hair", "pixels"), ("clothes", "tokens")]
    assert rows[0].fall == pytest.approx(0.3)
    assert rows[0].fall_anywhere == pytest.approx(0.6)


def test_hair_by_pixels_brings_the_output_nearer_the_donor(
    tmp_path: Path, openpeople: list[Path], data_root: Path
) -> None:
    folder = tmp_path / "people"
    folder.mkdir()
    for path in (openpeople[0], openpeople[7]):  # short and dark, long and fair
        small = cv2.resize(cv2.imread(str(path)), (320, 320), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{path.parents[1].name}.png"), small)
    model = tmp_path / "model"
    model.mkdir()
    write_random_model(model)
    config = yaml.safe_load((model / "config.yaml").read_text("utf-8"))
    config["model"]["region_encoder"]["regions"] = REGIONS
    (model / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    features = data_root / "weights" / "squeezenet11.safetensors"
    given = ["--model", str(model), "--runtime", "eager", "--portraits", str(folder)]
    given += ["--weights-features", str(features), "--output", str(tmp_path / "out")]
    assert main(given) == 0
    told = json.loads((tmp_path / "out" / "swap.json").read_text("utf-8"))
    rows = {(row["region"], row["way"]): row for row in told["swaps"]}
    assert set(rows) == {(region, way) for region in PLANES for way in WAYS}
    assert rows["hair", "pixels"]["fall"] > 0.1
    assert rows["hair", "pixels"]["fall"] > rows["hair", "tokens"]["fall"]
    assert 0 <= told["slots"]["mean_iou"] <= 1
    for region in PLANES:
        assert (tmp_path / "out" / f"swap_{region}.png").is_file()


def test_a_folder_without_pictures_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--portraits", str(tmp_path)]) == 2
    assert "Got no picture in" in capsys.readouterr().err
