import json
import sys
from pathlib import Path
from typing import Any

import pytest

from signing_media import signed_video, users_credentials
from streamer.certificate import TEST_SIGNER
from streamer.provenance import (
    ACTIONS,
    LABEL,
    MIME_TYPE,
    SOURCE_TYPE,
    c2pa_library,
    offline_context,
)
from streamer.verify import main, printable, verify
from streamer_media import VideoOptions, moving_frames, write_video

pytestmark = pytest.mark.computes


def boxes(data: bytes) -> dict[str, tuple[int, int]]:
    """Start and end of every box at the top of an MP4."""
    found, at = {}, 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found[data[at + 4 : at + 8].decode("latin-1")] = (at, at + length)
        at += length
    return found


def flipped(path: Path, at: int) -> Path:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x01
    path.with_name("flipped.mp4").write_bytes(data)
    return path.with_name("flipped.mp4")


def signed_by_another_program(
    path: Path, assertions: list[dict[str, Any]], source_type: str = SOURCE_TYPE
) -> Path:
    """A video with a manifest of others: what our reader may meet."""
    library: Any = c2pa_library()
    credentials = users_credentials(path.parent)
    info = library.C2paSignerInfo(
        credentials.algorithm, credentials.chain_pem, credentials.key_pem, None
    )
    plain = write_video(path.with_name("plain.mp4"), moving_frames(3))
    action = {"action": "c2pa.created", "digitalSourceType": source_type}
    actions = {"label": f"{ACTIONS}.v2", "data": {"actions": [action]}}
    definition = {
        "claim_generator_info": [{"name": "another"}],
        "assertions": [actions, *assertions],
    }
    with (
        offline_context(library) as context,
        library.Builder(definition, context) as builder,
        plain.open("rb") as source,
        path.open("w+b") as target,
    ):
        builder.sign(library.Signer.from_info(info), MIME_TYPE, source, target)
    return path


def test_a_signed_file_is_labelled_intact_and_names_model_and_signer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = signed_video(tmp_path / "v.mp4")
    assert main([str(path)]) == 0
    said = capsys.readouterr().out
    assert f"{path} is labelled as modified by AI, and intact." in said
    assert f"model: lite-256 (SHA-256 {'a' * 64})" in said
    assert f"portrait: SHA-256 {'b' * 64}" in said
    assert f"driver: SHA-256 {'c' * 64}" in said
    assert f"signed by: {TEST_SIGNER}, which proves that nothing was changed since, not who" in said


def test_json_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = signed_video(tmp_path / ("a long name " * 15 + ".mp4"))
    assert main([str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["file"] == str(path)
    assert said["statement"]["model"] == "lite-256"
    assert said["signer"] == TEST_SIGNER
    assert said["problems"] == []
    flags = {name: value for name, value in said.items() if name.startswith("is_")}
    assert flags == {
        "is_signed": True,
        "is_labelled": True,
        "is_intact": True,
        "is_trusted": False,
        "is_test_certificate": True,
        "is_good": True,
    }


def test_a_flipped_bit_of_the_pictures_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = signed_video(tmp_path / "v.mp4")
    start, end = boxes(path.read_bytes())["mdat"]
    altered = flipped(path, (start + end) // 2)
    assert main([str(altered)]) == 1
    said = capsys.readouterr().out
    assert "carries our label, but was altered" in said
    assert "the picture, the sound or their index is not what was signed" in said
    assert "as the file says, which does not hold" in said


def test_a_flipped_bit_anywhere_but_in_the_type_box_and_free_space_is_found(tmp_path: Path) -> None:
    path = signed_video(tmp_path / "v.mp4", audio_codec="aac")
    data = path.read_bytes()
    outside = [boxes(data)[name] for name in ("ftyp", "free") if name in boxes(data)]
    places = [
        at
        for at in range(0, len(data), len(data) // 150)
        if not any(start <= at < end for start, end in outside)
    ]
    padding = [at for at in places if not any(data[max(0, at - 8) : at + 9])]
    missed = [at for at in places if verify(flipped(path, at)).is_good]
    assert len(places) > 100
    assert set(missed) <= set(padding)


def test_a_frame_put_behind_the_end_and_a_cut_are_found(tmp_path: Path) -> None:
    path = signed_video(tmp_path / "v.mp4")
    data = path.read_bytes()
    path.write_bytes(data + b"\x00\x00\x00\x10mdat12345678")
    assert not verify(path).is_intact
    path.write_bytes(data[:-200])
    assert not verify(path).is_good


def test_a_label_moved_to_another_video_does_not_hold(tmp_path: Path) -> None:
    data = signed_video(tmp_path / "v.mp4").read_bytes()
    other = signed_video(tmp_path / "other.mp4", rate=30)
    start, end = boxes(data)["uuid"]
    target = other.read_bytes()
    other_start, other_end = boxes(target)["uuid"]
    assert end - start == other_end - other_start
    other.write_bytes(target[:other_start] + data[start:end] + target[other_end:])
    verdict = verify(other)
    assert (verdict.is_labelled, verdict.is_intact) == (True, False)


def test_a_stripped_label_is_said_to_be_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = signed_video(tmp_path / "v.mp4")
    data = path.read_bytes()
    start, end = boxes(data)["uuid"]
    path.write_bytes(data[:start] + data[end:])
    assert main([str(path)]) == 1
    said = capsys.readouterr().out
    assert "does not carry our label" in said
    assert "it holds no C2PA manifest" in said


def test_a_video_that_was_never_signed_and_what_is_no_video_are_not_labelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = write_video(tmp_path / "plain.mp4", moving_frames(3), VideoOptions())
    (tmp_path / "text.mp4").write_text("hello, no video at all", "utf-8")
    (tmp_path / "empty.mp4").touch()
    for path in (plain, tmp_path / "text.mp4", tmp_path / "empty.mp4"):
        assert main([str(path)]) == 1
        captured = capsys.readouterr()
        assert "does not carry our label" in captured.out
        assert captured.err == ""


@pytest.mark.parametrize(
    "assertions",
    [[], [{"label": "org.difffae.reenactment", "data": ["no", "object"]}]],
    ids=["without ours", "ours of another shape"],
)
def test_another_programs_label_is_not_taken_for_ours(
    tmp_path: Path, assertions: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = signed_by_another_program(tmp_path / "v.mp4", assertions)
    assert main([str(path)]) == 1
    assert "its manifest was written by another program" in capsys.readouterr().out
    assert verify(path).is_intact


def test_our_assertion_alone_is_no_label_where_the_video_is_said_to_come_from_a_camera(
    tmp_path: Path,
) -> None:
    own = {"label": LABEL, "data": {"model": "lite-256"}}
    camera = SOURCE_TYPE.replace("compositeWithTrainedAlgorithmicMedia", "digitalCapture")
    assert not verify(signed_by_another_program(tmp_path / "a.mp4", [own], camera)).is_labelled
    assert verify(signed_by_another_program(tmp_path / "b.mp4", [own])).is_labelled


def test_a_signer_is_trusted_by_the_roots_that_are_given_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = signed_video(tmp_path / "v.mp4", users_credentials(tmp_path))
    assert main([str(path)]) == 0
    assert "Jane Doe, a name that no root given with --trust vouches for" in capsys.readouterr().out
    assert main([str(path), "--trust", str(tmp_path / "authority.pem")]) == 0
    assert "Jane Doe, whom the given roots vouch for" in capsys.readouterr().out
    (tmp_path / "other").mkdir()
    users_credentials(tmp_path / "other")
    assert not verify(path, anchors=tmp_path / "other" / "authority.pem").is_trusted


def test_a_strangers_name_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    credentials = users_credentials(tmp_path, name="\x1b[2J[red]Eve\x07\n")
    assert main([str(signed_video(tmp_path / "v.mp4", credentials))]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "[red]Eve" in said
    assert printable("a\tb\x9bc é") == "a�b�c é"


def test_what_is_asked_wrongly_is_one_line_and_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = signed_video(tmp_path / "v.mp4")
    (tmp_path / "junk.pem").write_bytes(b"\xff")
    (tmp_path / "text.pem").write_text("no certificate", "utf-8")
    cases = [
        ([], "required: file"),
        ([str(tmp_path / "none.mp4")], "cannot read"),
        ([str(tmp_path)], "cannot read"),
        ([str(path), "--colour"], "unrecognized"),
        ([str(path), "--trust", str(tmp_path / "none.pem")], "cannot read the roots"),
        ([str(path), "--trust", str(tmp_path / "junk.pem")], "cannot read the roots"),
        ([str(path), "--trust", str(tmp_path / "text.pem")], "holds no certificate"),
    ]
    for arguments, sentence in cases:
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert sentence in captured.err
        assert captured.err.count("\n") == 1


def test_without_the_package_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert main([str(tmp_path / "v.mp4")]) == 2
    assert "run pip install" in capsys.readouterr().err
