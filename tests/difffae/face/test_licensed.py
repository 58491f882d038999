"""Licensed files that are missing, truncated, of another version or harmful: one clear error."""

import hashlib
import logging
import pickle
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from difffae.face.flame import load_embedding, load_flame
from difffae.face.licensed import (
    CONFIG_KEY,
    LICENSED,
    LicensedFile,
    LicensedFileError,
    LicensedFiles,
    not_set,
    publication,
)
from difffae.face.licensed_check import NOT_SET, check_file, check_files
from licensed_head import synthetic_flame
from licensed_media import embedding, with_file, write_flame, write_licensed_files
from licensed_pickles import python2_pickle


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> LicensedFiles:
    """All synthetic files."""
    return write_licensed_files(tmp_path_factory.mktemp("licensed"))


def message_of(files: LicensedFiles, key: str) -> str:
    """What the error of a file says."""
    with pytest.raises(LicensedFileError) as error:
        check_file(files, key)
    return str(error.value)


def test_the_table_knows_every_key_and_what_to_do_about_it() -> None:
    assert set(LICENSED) == {field.name for field in fields(LicensedFiles)}
    for row in LICENSED.values():
        assert row.licence
        assert "http" in row.source
        assert row.file
        assert all(len(prefix) >= 8 for prefix in row.sha256)


@pytest.mark.parametrize("key", sorted(LICENSED))
def test_a_file_that_is_not_set_names_file_registration_and_key(key: str) -> None:
    message = message_of(LicensedFiles(), key)
    row = LICENSED[key]
    for part in (f"{CONFIG_KEY}.{key} is not set", row.file, row.licence, row.source):
        assert part in message
    assert f"and set {CONFIG_KEY}.{key} (licence: {row.licence})" in message
    assert "\n" not in message


@pytest.mark.parametrize("key", sorted(set(LICENSED) - {"arcface"}))
def test_a_path_without_a_file_is_named(key: str, tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    message = message_of(with_file(LicensedFiles(), **{key: path}), key)
    assert f"{CONFIG_KEY}.{key} is {path}, where there is no file" in message
    assert LICENSED[key].source in message


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.pkl").write_bytes(b"")
    assert LicensedFiles(flame=Path("~/x.pkl")).require("flame") == tmp_path / "x.pkl"


def test_the_walk_through_shows_what_is_really_said(repository: Path, tmp_path: Path) -> None:
    text = (repository / "docs" / "licensed-files.md").read_text("utf-8")
    assert str(not_set("flame")) in text
    for row in LICENSED.values():
        assert f"`{row.key}`" in text
        assert all(digest in text for digest in row.sha256)
    path = tmp_path / "half.obj"
    path.write_bytes(b"")
    said = message_of(LicensedFiles(template=path), "template").replace(str(path), "half.obj")
    assert said in text


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "there is no file" in message_of(LicensedFiles(flame=tmp_path), "flame")


def test_whole_files_pass(files: LicensedFiles) -> None:
    for key in ("flame", "albedo", "template", "landmarks", "uv_mask", "displacement"):
        assert check_file(files, key) is None  # whole, of no known publication
    states = {state.file.key: state for state in check_files(files)}
    assert list(states) == list(LICENSED)
    for key, state in states.items():
        is_given = key not in ("deca", "arcface")
        assert state.is_usable == is_given
        assert state.state == ("holds what is expected" if is_given else NOT_SET)


def test_the_state_of_a_bad_file_is_its_error(files: LicensedFiles, tmp_path: Path) -> None:
    for key in ("deca", "arcface", "uv_mask"):
        path = tmp_path / "file.onnx"
        path.write_bytes(b"nothing of the sort")
        given = with_file(files, **{key: str(path) if key == "arcface" else path})
        (state,) = (state for state in check_files(given) if state.file.key == key)
        assert not state.is_usable
        assert state.path == str(path)
        assert state.state.startswith(f"cannot use {path} ({CONFIG_KEY}.{key}): ")


@pytest.mark.parametrize("key", ["flame", "albedo", "template", "landmarks", "displacement"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_damaged(
    key: str, share: float, files: LicensedFiles, tmp_path: Path
) -> None:
    whole = files.require(key)
    data = whole.read_bytes()
    cut = tmp_path / whole.name
    cut.write_bytes(data[: int(share * len(data))])
    message = message_of(with_file(files, **{key: cut}), key)
    assert message.startswith(f"cannot use {cut} ({CONFIG_KEY}.{key}): ")
    assert LICENSED[key].source in message


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        # SMPL: 6890 vertices, 24 joints
        ({"v_template": np.zeros((6890, 3)), "f": np.zeros((13776, 3), int)}, r"its f is of shape"),
        (
            {"v_template": np.zeros((6890, 3))},
            r"v_template is of shape \(6890, 3\), expected \(5023",
        ),
        (
            {"shapedirs": np.zeros((5023, 3, 150))},
            r"shapedirs is of shape \(5023, 3, 150\), expected",
        ),
        (
            {"weights": np.zeros((5023, 24))},
            r"weights is of shape \(5023, 24\), expected \(5023, 5",
        ),
        ({"posedirs": None}, r"entries .*, expected posedirs \(5023, 3, 36\)"),
        ({"J_regressor": "text"}, r"expected J_regressor \(5, 5023\)"),
        (
            {"v_template": np.full((5023, 3), np.nan)},
            "v_template holds numbers that are not finite",
        ),
        ({"f": np.full((9976, 3), 5023)}, "triangles name vertices that it does not have"),
        ({"kintree_table": np.array([[0, 4, 1, 1, 1], range(5)])}, r"the parents \[4, 1, 1, 1\]"),
    ],
)
def test_a_head_model_of_another_version_is_refused(
    changed: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = write_flame(tmp_path / "generic_model.pkl", **changed)
    with pytest.raises(LicensedFileError, match=message) as error:
        load_flame(path)
    assert "flame.is.tue.mpg.de" in str(error.value)


def test_other_pickles_are_told_from_a_head_model(tmp_path: Path) -> None:
    path = tmp_path / "generic_model.pkl"
    for value, message in (
        ({"nose": np.arange(3), "lips": np.arange(4)}, "got 2 entries (lips, nose), expected f"),
        ([1, 2], "it holds a list"),
        (np.zeros(3), "got 1 entries (array), expected f"),
    ):
        path.write_bytes(python2_pickle(value))
        assert message in message_of(LicensedFiles(flame=path), "flame")
    path.write_bytes(b"<html>Sign in to download</html>")
    assert "damaged or no file of this kind" in message_of(LicensedFiles(flame=path), "flame")


class Harmful:
    """Prints when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return print, ("ran",)


def test_a_harmful_file_is_refused_and_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickle.dumps({"v_template": Harmful()}, 2))
    message = message_of(LicensedFiles(flame=path), "flame")
    assert "asks for __builtin__.print" in message
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"static_lmk_faces_idx": np.zeros(68, int)}, r"of shape \(68,\), expected \(51,\)"),
        ({"dynamic_lmk_faces_idx": np.full((79, 17), 9976)}, "dynamic triangles are not those"),
        ({"static_lmk_bary_coords": np.ones((51, 3))}, "static weights do not sum to 1"),
    ],
)
def test_landmarks_of_another_mesh_are_refused(
    changed: dict[str, object], message: str, tmp_path: Path
) -> None:
    flame = synthetic_flame()
    path = tmp_path / "landmarks.npy"
    np.save(path, np.array({**embedding(flame), **changed}, object), allow_pickle=True)
    with pytest.raises(LicensedFileError, match=message):
        load_embedding(path, {"f": flame.f, "v_template": flame.v_template})


def test_an_unknown_hash_is_a_warning_and_a_known_one_names_the_publication(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    with caplog.at_level(logging.WARNING):
        assert publication("flame", path) is None
    assert digest in caplog.text
    assert "efcd14cc… (2020)" in caplog.text
    row = LICENSED["flame"]
    known = LicensedFile(
        key="flame", file=row.file, purpose="", licence="", source="", sha256={digest[:8]: "2020"}
    )
    monkeypatch.setattr("difffae.face.licensed.LICENSED", {"flame": known})
    caplog.clear()
    assert publication("flame", path) == "2020"
    assert caplog.text == ""
