"""The offline command with attributes from other files."""

import signal
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from streamer.offline import main
from streamer_media import FakeLoader, FakeReenactor, moving_frames, never_load, write_video

pytestmark = pytest.mark.computes


def given(driver: Path, source: Path, *options: str) -> list[str]:
    """A command line that names the model beside the source."""
    return [str(driver), str(source), "--model", str(source.with_name("model")), *options]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The single line that was printed, all of it on stderr."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def test_an_expression_from_a_picture_and_a_pose_from_a_video_reach_every_frame(
    driver: Path, source: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.png"
    PillowImage.fromarray(moving_frames(1, height=80, width=90)[0]).save(other)
    turning = write_video(tmp_path / "turn.mp4", moving_frames(60))
    model = FakeReenactor()
    places = ["--expression", str(other), "--pose", str(turning), "--light", "studio"]
    assert main(given(driver, source, *places, "--no-sign", "--quiet"), load=FakeLoader(model)) == 0
    edits = [controls.edit for controls in model.given]
    assert len(edits) == 130
    assert len({id(edit.expression) for edit in edits}) == 1
    turns = [float(edit.pose.parameters.rotation[1]) for edit in edits if edit.pose is not None]
    assert len(set(turns[:60])) == 60
    assert set(turns[59:]) == {turns[59]}
    assert all(controls.moves_pose for controls in model.given)
    assert all(controls.lamp.strength == 0.8 for controls in model.given)


def test_a_donor_without_a_face_is_one_line_and_nothing_is_left(
    driver: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain.png"
    PillowImage.new("RGB", (80, 80), (90, 90, 90)).save(plain)
    before = sorted(tmp_path.iterdir())
    arguments = given(driver, source, "--expression", str(plain), "--no-sign")
    assert main(arguments, load=FakeLoader(FakeReenactor())) == 2
    assert "plain.png shows no face" in one_line(capsys)
    assert sorted(tmp_path.iterdir()) == before


def test_an_interrupted_run_goes_on_with_its_files_and_with_no_others(
    driver: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def before_frame(count: int) -> None:
        if count >= 130:  # 60 of them frames of the other video
            signal.raise_signal(signal.SIGINT)

    turning = write_video(tmp_path / "turn.mp4", moving_frames(60))
    other = write_video(tmp_path / "other.mp4", moving_frames(20))
    arguments = given(driver, source, "--no-sign", "--pose", str(turning))
    assert main(arguments, load=FakeLoader(FakeReenactor(before_frame=before_frame))) == 130
    changed = given(driver, source, "--no-sign", "--pose", str(other), "--resume")
    capsys.readouterr()
    assert main(changed, load=never_load) == 2
    assert "another pose from" in one_line(capsys)
    assert main([*arguments, "--resume"], load=FakeLoader(FakeReenactor())) == 0
    resumed = source.with_name("person_clip.mp4").read_bytes()
    assert main([*arguments, "--overwrite"], load=FakeLoader(FakeReenactor())) == 0
    assert source.with_name("person_clip.mp4").read_bytes() == resumed
