import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from difffae.evaluate import EvaluateConfig, main
from evaluation_media import portrait_256, turned, write_clips


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [turned(portrait_256(), angle) for angle in (0, 5, 9, 5, 0, -5)]
    return write_clips(tmp_path_factory.mktemp("media"), frames)


@pytest.fixture
def evaluate(media: Path, tmp_path: Path) -> Callable[..., int]:
    def run(*extra: str) -> int:
        fixed = ["--model", "none", "--clips", str(media / "clips"), "--csv"]
        weights = ["--weights-embedder", "none", "--weights-features", "none"]
        output = ["--output", str(tmp_path / "report")]
        return main([*fixed, str(media / "clips.csv"), *weights, *output, *extra])

    return run


def test_a_perfect_method_scores_perfectly_in_table_json_and_markdown(
    evaluate: Callable[..., int], media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("--protocol", "self", "--external", f"copy={media / 'clips'}") == 0
    printed = capsys.readouterr().out
    assert "source, unmoved" in printed
    assert "copy" in printed
    document = json.loads((tmp_path / "report" / "figures.json").read_text("utf-8"))
    unmoved, copy = document["rows"]
    assert copy["row"] == "copy"
    assert copy["mean"]["psnr_db"] == 60
    assert copy["mean"]["correlation"] == pytest.approx(1)
    assert copy["mean"]["change"] == pytest.approx(1)
    assert unmoved["mean"]["correlation"] == 0
    assert copy["videos"]["apd_rad"] == pytest.approx(0, abs=1e-3)
    assert copy["videos"]["aed"] == pytest.approx(0, abs=0.02)
    assert copy["videos"]["ald"] == pytest.approx(0, abs=1e-3)
    assert 0.01 < unmoved["videos"]["apd_rad"] < 0.05  # 4.8 degrees about one of three axes
    assert document["instruments"]["tracker"].startswith("facemesh rig (stand-in")
    assert set(copy["people"]) == {"anna", "bea"}
    assert "| self | copy | 60.00 |" in (tmp_path / "report" / "figures.md").read_text("utf-8")
    grid = cv2.imread(str(tmp_path / "report" / "grid_self.png"))
    assert grid.shape[1] == 3 * 256
    text = (tmp_path / "report" / "figures.md").read_text("utf-8")
    assert "| paper | DiffFAE | 31.83 |" in text
    assert "| self | copy | - | 0.000" in text
    assert "DiffusionRig" in printed


def test_cross_pairs_are_listed_and_measured(
    evaluate: Callable[..., int], media: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(media / "clips" / "anna#1.mp4", folder / "bea#1__anna#1.mp4")
    shutil.copy(media / "clips" / "bea#1.mp4", folder / "anna#1__bea#1.mp4")
    assert evaluate("--protocol", "both", "--external", f"copy={folder}") == 0
    document = json.loads((tmp_path / "report" / "figures.json").read_text("utf-8"))
    rows = {(row["protocol"], row["row"]): row["mean"] for row in document["rows"]}
    assert list(rows) == [
        ("self", "source, unmoved"),
        ("cross", "source, unmoved"),
        ("cross", "copy"),
    ]
    assert rows["cross", "copy"]["correlation"] > 0.98
    assert rows["cross", "copy"]["psnr_db"] is None
    cross = [case for case in document["cases"] if case["protocol"] == "cross"]
    assert [case["source"] for case in cross] == ["bea#1.mp4", "anna#1.mp4"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--split", "test"], "no clip of split 'test'"),
        (["--external", "other=/nowhere"], "no video in /nowhere"),
        (["--weights-embedder", "/nowhere/a.onnx"], "no embedder at /nowhere/a.onnx"),
        (["--max-frames", "1"], "expected at least 2 frames"),
        (["--model", "/nowhere/model"], "/nowhere/model"),
        (["--protocol", "swap"], "Got protocol 'swap'"),
        (["--protocol", "light"], "no model for protocol light"),
        (["--weights-inception", "/nowhere/i.pth"], "no file at /nowhere/i.pth"),
        (["--weights-lpips", "/nowhere/l.safetensors"], "/nowhere/l.safetensors"),
        (["--tracker", "/nowhere/flame.yaml"], "/nowhere/flame.yaml"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    evaluate: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    assert evaluate(*arguments) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.out == ""


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="1 step"):
        EvaluateConfig(clips=Path("clips"), csv=Path("clips.csv"), steps=(1, 0))
