import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from signing_media import users_credentials
from streamer import offline
from streamer.controls import LiveControls
from streamer.engine import EngineSettings
from streamer.errors import ModelError
from streamer.offline import default_output, describe, main
from streamer.partial import file_hash
from streamer.reenactment import Job, Summary
from streamer.verify import verify
from streamer_media import (
    FakeLoader,
    FakeReenactor,
    moving_frames,
    never_load,
    read_video,
    write_video,
)

pytestmark = pytest.mark.computes

PROBE = """
import sys
from streamer.offline import main
code = main(sys.argv[1:])
heavy = {"torch", "mediapipe", "cv2"} & set(sys.modules)
sys.exit(99 if heavy else code)
"""


def given(driver: Path, source: Path, *options: str) -> list[str]:
    """A command line that names the model beside the source."""
    return [str(driver), str(source), "--model", str(source.with_name("model")), *options]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The single line that was printed, all of it on stderr."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    return captured.err


def test_the_output_is_named_after_both_and_lies_beside_the_source(
    driver: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(given(driver, source), load=FakeLoader(FakeReenactor())) == 0
    assert default_output(driver, source) == source.with_name("person_clip.mp4")
    assert len(read_video(source.with_name("person_clip.mp4"))[0]) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "wrote " in captured.err
    assert "130 frames, 5.20 s at 101x121" in captured.err
    assert "motion held: 0" in captured.err


def test_quiet_prints_nothing(
    driver: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(given(driver, source, "--quiet"), load=FakeLoader(FakeReenactor())) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_every_option_reaches_the_model(driver: Path, source: Path) -> None:
    loader = FakeLoader(FakeReenactor())
    motion = ["--motion", "absolute", "--strength", "0.7", "--reference", "auto", "--face", "1"]
    model = ["--steps", "4", "--seed", "9", "--device", "cuda:1", "--runtime", "eager", "--quiet"]
    face = ["--pose", "false", "--expression", "true", "--eyes", "false", "--mouth", "false"]
    light = ["--light", "driver", "--light-direction", "-30,45", "--light-strength", "0.3"]
    options = [*motion, *model, *face, *light, "--smoothing", "0.1", "--warm-start"]
    assert main(given(driver, source, *options), load=loader) == 0
    assert loader.settings == EngineSettings(
        model=str(source.with_name("model")),
        device="cuda:1",
        runtime="eager",
        controls=LiveControls(
            motion="absolute",
            strength=0.7,
            pose=False,
            eyes=False,
            mouth=False,
            smoothing=0.1,
            light="driver",
            light_azimuth=-30.0,
            light_elevation=45.0,
            light_strength=0.3,
            steps=4,
        ),
        seed=9,
        warm_start=True,
    )
    assert len(loader.reenactor.auto_frames) == 44  # of 130, eight a second


def test_a_portrait_is_left_in_the_cache_unless_it_is_to_be_forgotten(
    driver: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []
    monkeypatch.setattr(offline, "run_with_progress", lambda job, *_, **__: jobs.append(job))
    for options in ([], ["--forget-source"]):
        assert main(given(driver, source, *options)) == 0
    assert [job.keeps_source for job in jobs] == [True, False]


def test_side_by_side_and_mask_are_written(driver: Path, source: Path) -> None:
    mask = source.with_name("mask.mp4")
    arguments = given(driver, source, "--side-by-side", "--mask-out", str(mask), "--quiet")
    assert main(arguments, load=FakeLoader(FakeReenactor())) == 0
    both = read_video(source.with_name("person_clip.mp4"))[0]
    assert both[0].shape == (122, 182 + 102, 3)
    assert len(read_video(mask)[0]) == 130


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "required: video, source"),
        (["--strength", "3"], "expected 0 to 2, got 3"),
        (["--strength", "nan"], "expected 0 to 2, got nan"),
        (["--strength", "much"], "expected 0 to 2, got much"),
        (["--yaw", "-50"], "expected -40 to 40 degrees, got -50"),
        (["--yaw", "5", "--yaw", "6"], "two sources for the yaw"),
        (["--expression", "a.jpg", "--expression", "b.jpg"], "two sources for the expression"),
        (["--light", "driver", "--light", "studio"], "two sources for the light"),
        (["--light", "disco"], "expected source, driver, a picture or one of none, studio"),
        (["--light-direction", "30"], "expected two numbers such as 30,45, got 30"),
        (["--light-direction", "-200,3"], "expected -180 to 180 degrees, got -200"),
        (["--light-direction", "3,4", "--light-azimuth", "5"], "two sources for the light azimuth"),
        (["--background", "#12"], "expected a colour such as #1e90ff, got #12"),
        (["--background", "blur:101"], "expected 0 to 100 pixels, got 101"),
        (["--background", "#123456", "--background", "blur:3"], "sources for the background"),
        (["--shoes", "a.jpg"], "unrecognized arguments"),
        (["--pose", "perhaps"], "expected true, false, a picture or a video, got perhaps"),
        (["--light-strength", "2"], "expected 0 to 1, got 2"),
        (["--eyes", "closed"], "expected true or false, got closed"),
        (["--steps", "0"], "expected a whole number from 1, got 0"),
        (["--reference", "first"], "expected a whole number from 0, got first"),
        (["--device", "gpu"], "expected cpu, cuda or cuda:N, got gpu"),
        (["--runtime", "magic"], "invalid choice"),
        (["--face", "0"], "expected a whole number from 1, got 0"),
        (["--motion", "sideways"], "invalid choice"),
        (["--colour", "red"], "unrecognized arguments"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["v.mp4", "p.jpg"] if arguments else []
    assert main([*files, *arguments], load=never_load) == 2
    line = one_line(capsys)
    assert sentence in line
    assert line.startswith("error: ")


def test_bad_inputs_are_one_line_and_leave_nothing(
    driver: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = source.parent
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("hello", "utf-8")
    (folder / "cut.mp4").write_bytes(driver.read_bytes()[:3000])
    (folder / "old.mp4").write_text("old", "utf-8")
    PillowImage.new("RGB", (10, 10)).save(folder / "tiny.png")
    before = sorted(folder.iterdir())
    cases = [
        ("missing.mp4", source.name, "there is no video"),
        ("empty.mp4", source.name, "is empty"),
        ("text.mp4", source.name, "is not a video"),
        ("cut.mp4", source.name, "is cut off"),
        (source.name, driver.name, "is not a picture"),
        (driver.name, "tiny.png", "is 10x10"),
        (driver.name, "missing.png", "there is no picture"),
    ]
    for video, picture, sentence in cases:
        assert main([str(folder / video), str(folder / picture)], load=never_load) == 2
        assert sentence in one_line(capsys)
    arguments = given(driver, source, "--output", str(folder / "old.mp4"))
    assert main(arguments, load=never_load) == 2
    assert "exists; add --overwrite" in one_line(capsys)
    assert sorted(folder.iterdir()) == before


def test_a_strange_file_name_still_gives_one_line(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["a\nb [red]c[/red].mp4", str(source)], load=never_load) == 2
    assert "a b [red]c[/red].mp4" in one_line(capsys)


def test_a_model_that_cannot_be_loaded_is_one_line_and_leaves_nothing(
    driver: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(settings: EngineSettings) -> None:
        raise ModelError("cannot load model x on cpu: hash differs")

    before = sorted(source.parent.iterdir())
    assert main(given(driver, source), load=load) == 2  # type: ignore[arg-type]
    assert "hash differs" in one_line(capsys)
    assert sorted(source.parent.iterdir()) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_run_that_can_be_resumed(
    driver: Path, source: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    def before_frame(count: int) -> None:
        if count == 70:
            signal.raise_signal(number)

    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    arguments = given(driver, source, "--no-sign")
    assert main(arguments, load=FakeLoader(FakeReenactor(before_frame=before_frame))) == 130
    assert "--resume" in capsys.readouterr().err
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert source.with_name("person_clip.mp4.partial").is_dir()
    assert not source.with_name("person_clip.mp4").exists()
    resumed = FakeReenactor()
    assert main([*arguments, "--resume"], load=FakeLoader(resumed)) == 0
    assert (resumed.num_skipped, resumed.num_reenacted) == (50, 80)
    interrupted = source.with_name("person_clip.mp4").read_bytes()
    assert main([*arguments, "--overwrite"], load=FakeLoader(FakeReenactor())) == 0
    assert source.with_name("person_clip.mp4").read_bytes() == interrupted


def test_every_output_is_labelled_and_signed(
    driver: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = source.with_name("mask.mp4")
    arguments = given(driver, source, "--mask-out", str(mask))
    assert main(arguments, load=FakeLoader(FakeReenactor())) == 0
    assert "modified by AI, signed with a test certificate" in capsys.readouterr().err
    verdict = verify(source.with_name("person_clip.mp4"))
    assert verdict.is_good
    assert verdict.statement == {
        "model": "model",
        "model_sha256": file_hash(source.with_name("model")),
        "portrait_sha256": file_hash(source),
        "driver_sha256": file_hash(driver),
    }
    assert verify(mask).is_good


def test_a_label_can_be_left_out(driver: Path, source: Path) -> None:
    arguments = given(driver, source, "--no-sign", "--quiet")
    assert main(arguments, load=FakeLoader(FakeReenactor())) == 0
    assert not verify(source.with_name("person_clip.mp4")).is_signed


def test_the_users_certificate_signs(driver: Path, source: Path, tmp_path: Path) -> None:
    users_credentials(tmp_path)
    named = ["--certificate", str(tmp_path / "chain.pem"), "--key", str(tmp_path / "key.pem")]
    assert main(given(driver, source, *named), load=FakeLoader(FakeReenactor())) == 0
    verdict = verify(source.with_name("person_clip.mp4"), anchors=tmp_path / "authority.pem")
    assert (verdict.is_good, verdict.is_trusted, verdict.signer) == (True, True, "Jane Doe")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--certificate", "none.pem"], "go together"),
        (["--certificate", "none.pem", "--key", "none.pem"], "cannot read the certificate"),
        (["--certificate", "none.pem", "--key", "none.pem", "--no-sign"], "exclude one another"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_known_before_the_model_is_loaded(
    driver: Path,
    source: Path,
    options: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(source.parent.iterdir())
    assert main(given(driver, source, *options), load=never_load) == 2
    assert sentence in one_line(capsys)
    assert sorted(source.parent.iterdir()) == before


def test_without_the_package_the_video_is_made_and_said_to_be_unsigned(
    driver: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("streamer.offline.can_sign", lambda: False)
    assert main(given(driver, source), load=FakeLoader(FakeReenactor())) == 0
    assert "will not be signed: run pip install" in capsys.readouterr().err
    assert not verify(source.with_name("person_clip.mp4")).is_signed


def test_a_user_error_in_a_process_of_its_own_comes_before_torch(
    source: Path, repository: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(source.with_name("no.mp4")), str(source)],
        capture_output=True,
        encoding="utf-8",
        cwd=repository,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr == f"error: there is no video {source.with_name('no.mp4')}; check the path\n"


def test_native_libraries_cannot_write_between_our_lines(
    tmp_path: Path, source: Path, repository: Path
) -> None:
    write_video(tmp_path / "v.mp4", moving_frames(3))
    noisy = (
        "import os, sys, warnings\n"
        "from streamer.errors import ModelError\n"
        "from streamer.offline import main\n"
        "def load(settings):\n"
        "    os.write(2, b'INFO: a delegate\\n')\n"
        "    warnings.warn('old')\n"
        "    raise ModelError('no such model')\n"
        "sys.exit(main(sys.argv[1:], load=load))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", noisy, *given(tmp_path / "v.mp4", source)],
        capture_output=True,
        encoding="utf-8",
        cwd=repository,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "error: no such model\n")


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for option in ("output", "motion", "reference", "strength", "steps", "seed", "device"):
        assert f"--{option}" in text
    for option in ("side-by-side", "mask-out", "overwrite", "resume", "face", "quiet"):
        assert f"--{option}" in text


def test_the_summary_tells_speed_held_and_damage() -> None:
    summary = Summary(
        outputs=(Path("o.mp4"),),
        num_frames=120,
        num_held=3,
        num_resumed=20,
        num_damaged=1,
        duration_s=4.004,
        size=(512, 640),
    )
    assert describe(summary, 10.0).splitlines() == [
        "wrote o.mp4",
        "120 frames, 4.00 s at 512x640; made 100 in 10.0 s, 10.0 frames/s with loading",
        "frames without a face, motion held: 3",
        "damaged pieces of the driver left out: 1",
    ]
