import hashlib
import resource
import signal
import sys
from pathlib import Path

import pytest

from signing_media import STATEMENT, signed_video, users_credentials
from streamer.certificate import SigningSettings, load_credentials
from streamer.errors import OutputError, UsageError
from streamer.provenance import SOURCE_TYPE, can_sign, check_can_sign, manifest, sign_file
from streamer.verify import verify
from streamer_media import moving_frames, read_video, write_video


def test_signing_changes_no_picture_and_no_sound(tmp_path: Path) -> None:
    plain = write_video(tmp_path / "plain.mp4", moving_frames(10))
    signed = signed_video(tmp_path / "signed.mp4")
    images, times = read_video(signed)
    expected_images, expected_times = read_video(plain)
    assert times == expected_times
    assert [image.tobytes() for image in images] == [image.tobytes() for image in expected_images]
    assert signed.stat().st_size > plain.stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain.mp4", "signed.mp4"]


def test_the_manifest_says_what_was_done_and_names_no_file() -> None:
    said = manifest(STATEMENT)
    actions, own = said["assertions"]
    assert [one["action"] for one in actions["data"]["actions"]] == ["c2pa.created", "c2pa.edited"]
    assert {one["digitalSourceType"] for one in actions["data"]["actions"]} == {SOURCE_TYPE}
    assert SOURCE_TYPE.endswith("/compositeWithTrainedAlgorithmicMedia")
    assert own["data"] == {
        "model": "lite-256",
        "model_sha256": "a" * 64,
        "portrait_sha256": "b" * 64,
        "driver_sha256": "c" * 64,
    }
    assert "ingredients" not in said


def test_every_kind_of_user_certificate_passes_the_check_and_signs(tmp_path: Path) -> None:
    credentials = users_credentials(tmp_path)
    check_can_sign(credentials)
    verdict = verify(signed_video(tmp_path / "v.mp4", credentials))
    assert verdict.is_good
    assert verdict.signer == "Jane Doe"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_self_signed": True}, "self-signed"),
        ({"days": (-30, -10)}, "not valid at time of signing"),
    ],
)
def test_a_certificate_that_cannot_sign_is_refused_before_and_at_signing(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    credentials = users_credentials(tmp_path, **changes)
    with pytest.raises(UsageError, match=f"the certificate cannot sign: .*{reason}"):
        check_can_sign(credentials)
    path = write_video(tmp_path / "v.mp4", moving_frames(3))
    before = path.read_bytes()
    with pytest.raises(UsageError, match="the certificate cannot sign"):
        sign_file(path, STATEMENT, credentials)
    assert path.read_bytes() == before
    assert not (tmp_path / ".v.mp4.signing").exists()


def test_what_is_no_mp4_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("hello, this is text and no video", "utf-8")
    with pytest.raises(OutputError, match=r"cannot sign .*text\.mp4"):
        sign_file(path, STATEMENT, load_credentials(SigningSettings()))
    assert path.read_text("utf-8") == "hello, this is text and no video"
    assert [found.name for found in tmp_path.iterdir()] == ["text.mp4"]


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        sign_file(tmp_path / "none.mp4", STATEMENT, load_credentials(SigningSettings()))


def test_a_full_disk_leaves_the_unsigned_file_whole(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", moving_frames(30))
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    credentials = load_credentials(SigningSettings())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size - 100, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot sign .* free some space"):
            sign_file(path, STATEMENT, credentials)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [found.name for found in tmp_path.iterdir()] == ["v.mp4"]


def test_without_the_package_signing_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = load_credentials(SigningSettings())
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(UsageError, match=r"c2pa-python.* is missing; run pip install"):
        sign_file(tmp_path / "v.mp4", STATEMENT, credentials)


def test_both_packages_are_here() -> None:
    assert can_sign()
