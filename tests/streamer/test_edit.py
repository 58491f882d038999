"""The still command, with a stand-in for the model."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from streamer.controls import LiveControls
from streamer.edit import main
from streamer.errors import ModelError
from streamer.verify import verify
from streamer_media import FakeLoader, FakeReenactor, moving_frames, never_load, write_video

pytestmark = pytest.mark.computes


def given(source: Path, *options: str) -> list[str]:
    """A command line that names the model beside the source."""
    return [str(source), "--model", str(source.with_name("model")), *options]


def pixels(path: Path) -> np.ndarray:
    return np.asarray(PillowImage.open(path).convert("RGB"))


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a refusal before the model is loaded."""
    assert main(arguments, load=never_load) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_portrait_is_edited_by_number_into_a_picture_beside_it(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = FakeReenactor()
    assert main(given(source, "--yaw", "+10", "--no-sign"), load=FakeLoader(model)) == 0
    output = source.with_name("person_edited.png")
    assert f"wrote {output}" in capsys.readouterr().err
    np.testing.assert_array_equal(pixels(output), np.roll(pixels(source), 10, axis=1))


def test_every_edit_reaches_the_model(source: Path) -> None:
    loader = FakeLoader(FakeReenactor())
    numbers = ["--pitch=-3", "--roll", "4", "--zoom", "1.1", "--shift-x=-.1", "--gaze-y", "-5"]
    light = ["--light", "split", "--light-temperature", "3200", "--light-strength", "0.5"]
    worn = ["--hair-strength", "0.5", "--swap", "tokens", "--show", "slots"]
    options = [*numbers, *light, *worn, "--expression-strength", "1.5", "--no-sign", "--quiet"]
    assert main(given(source, *options, "--steps", "2"), load=loader) == 0
    assert loader.settings is not None
    assert loader.settings.controls == LiveControls(
        pitch=-3,
        roll=4,
        zoom=1.1,
        shift_x=-0.1,
        gaze_y=-5,
        light_preset="split",
        light_temperature=3200,
        light_strength=0.5,
        expression_strength=1.5,
        hair_strength=0.5,
        swap="tokens",
        show_slots=True,
        steps=2,
    )


def test_a_pose_is_taken_from_another_picture(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    PillowImage.fromarray(moving_frames(1, height=80, width=90)[0]).save(other)
    output = tmp_path / "out.png"
    options = ["--pose", str(other), "--output", str(output), "--no-sign", "--quiet"]
    assert main(given(source, *options), load=FakeLoader(FakeReenactor())) == 0
    shift = round(float(pixels(other).mean()))
    np.testing.assert_array_equal(pixels(output), np.roll(pixels(source), shift, axis=1))


@pytest.mark.parametrize("name", ["out.png", "out.jpg", "out.JPEG"])
def test_a_picture_is_labelled_and_signed(source: Path, tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    arguments = given(source, "--output", str(output), "--quiet")
    assert main(arguments, load=FakeLoader(FakeReenactor())) == 0
    verdict = verify(output)
    assert verdict.is_good
    assert set(verdict.statement) == {"model", "model_sha256", "portrait_sha256"}
    assert np.abs(pixels(output).astype(int) - pixels(source)).mean() < 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--output", "out.mp4"], "out.mp4 is not named .jpeg or .jpg or .png"),
        (["--output", "nowhere/out.png"], "there is no folder nowhere"),
        (["--yaw", "41"], "expected -40 to 40 degrees, got 41"),
        (["--gaze", "a.png", "--gaze", "b.png"], "there are two sources for the gaze"),
        (["--shoes", "a.png"], "unrecognized arguments: --shoes a.png"),
        (["--hair", "a.png", "--hair", "b.png"], "there are two sources for the hair"),
        (["--clothes", "none.png"], "there is no picture none.png"),
        (["--hair-strength", "2"], "expected 0 to 1 share, got 2"),
        (["--swap", "magic"], "invalid choice: 'magic'"),
        (["--show", "all"], "invalid choice: 'all'"),
        (["--light", "driver"], "expected a picture or one of none, studio"),
        (["--expression", "none.png"], "there is no picture none.png"),
        (["--strength", "1"], "unrecognized arguments"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(
    source: Path, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(source.parent.iterdir())
    assert sentence in error_of(given(source, *options), capsys)
    assert sorted(source.parent.iterdir()) == before


def test_inputs_are_not_written_over(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ["--output", str(source), "--overwrite"]
    assert "is also an input" in error_of(given(source, *output), capsys)
    existing = source.with_name("person_edited.png")
    existing.write_bytes(b"kept")
    assert "add --overwrite" in error_of(given(source), capsys)
    assert existing.read_bytes() == b"kept"


def test_a_video_cannot_be_a_stills_place(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "v.mp4", moving_frames(3))
    line = error_of(given(source, "--pose", str(video)), capsys)
    assert "v.mp4 is a video; a still portrait takes pictures only" in line


def test_a_donor_without_a_face_leaves_nothing(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain.png"
    PillowImage.new("RGB", (80, 80), (90, 90, 90)).save(plain)
    before = sorted(tmp_path.iterdir())
    arguments = given(source, "--light", str(plain), "--no-sign")
    assert main(arguments, load=FakeLoader(FakeReenactor())) == 2
    assert "plain.png shows no face" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_a_model_that_cannot_be_loaded_leaves_nothing(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(settings: object) -> None:
        raise ModelError("cannot load model x on cpu: hash differs")

    before = sorted(source.parent.iterdir())
    assert main(given(source), load=load) == 2  # type: ignore[arg-type]
    assert "hash differs" in capsys.readouterr().err
    assert sorted(source.parent.iterdir()) == before
