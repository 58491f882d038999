"""head_template.obj: texture coordinates and triangles, and files that are not it."""

from pathlib import Path

import numpy as np
import pytest

from difffae.face.licensed import LicensedFileError
from difffae.face.template import load_template, parse_obj
from licensed_head import synthetic_flame
from licensed_media import write_template

SMALL = """# a square
mtllib x.mtl
v 0 0 0
v 1 0 0 0.5 0.5 0.5
v 1 1 0
v 0 1 0

vt 0 0
vt 1 0 0
vt 1 1
vt 0 1
vt 0.5 0.5
vn 0 0 1
s off
f 1/1 2/2 3/3
f 1/5/1 3/3/1 4/4/1
"""


def test_the_template_reads_as_it_was_written(tmp_path: Path) -> None:
    template = load_template(write_template(tmp_path / "head_template.obj"))
    flame = synthetic_flame()
    np.testing.assert_allclose(template.uv, flame.uv, atol=1e-7)
    np.testing.assert_array_equal(template.faces, flame.f)
    np.testing.assert_array_equal(template.uv_faces, flame.uv_faces)


def test_a_small_mesh_reads_with_all_that_may_stand_beside_it() -> None:
    num_vertices, template = parse_obj(SMALL)
    assert num_vertices == 4
    np.testing.assert_array_equal(template.uv, [[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5]])
    np.testing.assert_array_equal(template.faces, [[0, 1, 2], [0, 2, 3]])
    np.testing.assert_array_equal(template.uv_faces, [[0, 1, 2], [4, 2, 3]])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("f 1/1 2/2 3/3", "f -1/1 2/2 3/3", "the vertex index -1, expected 1 to 4"),
        ("f 1/1 2/2 3/3", "f 1/-4 2/2 3/3", "the texture index -4, expected 1 to 5"),
        ("f 1/1 2/2 3/3", "f 0/1 2/2 3/3", "the vertex index 0"),
        ("f 1/1 2/2 3/3", "f 1/1 2/2 5/3", "the vertex index 5, expected 1 to 4"),
        ("f 1/1 2/2 3/3", "f 1/1 2/2 3/6", "the texture index 6, expected 1 to 5"),
        ("f 1/1 2/2 3/3", "f 1 2 3", "line 15, 'f 1 2 3': expected three corners"),
        ("f 1/1 2/2 3/3", "f 1//1 2//1 3//1", "line 15"),
        ("f 1/1 2/2 3/3", "f 1/1 2/2 3/3 4/4", "expected three corners"),
        ("f 1/1 2/2 3/3", "f 1/a 2/2 3/3", "line 15"),
        ("f 1/1 2/2 3/3", "f", "line 15"),
        ("vt 1 1", "vt 1", "line 10, 'vt 1': expected 2 finite numbers"),
        ("vt 1 1", "vt 1 nan", "line 10"),
        ("vt 1 1", "vt 1 1.5", "outside 0 to 1"),
        ("v 1 1 0", "v 1 one 0", "line 5"),
        ("v 1 1 0", "v 1 1", "line 5, 'v 1 1': expected 3 finite numbers"),
    ],
)
def test_a_malformed_line_is_named(old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises(ValueError, match=message):
        parse_obj(SMALL.replace(old, new, 1))


def test_other_meshes_are_refused_with_where_to_get_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "head_template.obj"
    path.write_text(SMALL, "utf-8")
    with pytest.raises(LicensedFileError) as error:
        load_template(path)
    assert "got 4 vertices, 5 texture coordinates and 2 triangles" in str(error.value)
    assert "expected 5023, 5118 and 9976" in str(error.value)
    assert "https://github.com/yfeng95/DECA" in str(error.value)
    assert "model.face.licensed.template" in str(error.value)


def test_missing_empty_truncated_and_binary_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "head_template.obj"
    with pytest.raises(LicensedFileError, match="No such file"):
        load_template(path)
    path.write_bytes(b"")
    with pytest.raises(LicensedFileError, match="no texture coordinates or no triangles"):
        load_template(path)
    text = write_template(path).read_text("utf-8")
    path.write_text(text[: len(text) // 2], "utf-8")
    with pytest.raises(LicensedFileError):
        load_template(path)
    path.write_text(text[:-5000], "utf-8")
    with pytest.raises(LicensedFileError):
        load_template(path)
    path.write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(LicensedFileError):
        load_template(path)
