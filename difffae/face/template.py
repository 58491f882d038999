"""FLAME's texture coordinates out of a Wavefront OBJ file (head_template.obj of DECA).

u runs to the right and v up, both from 0 to 1; row 0 of a texture picture is v = 1.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import Triangles
from difffae.face.licensed import unusable

NUM_VERTICES, NUM_UV, NUM_FACES = 5023, 5118, 9976
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Template:
    """The head's triangles, on the mesh and on the texture.

    Attributes:
        uv: texture coordinates, u to the right, v up.
        uv_faces: three indices into `uv` for each triangle.
        faces: three vertex indices for each triangle, in the same order.
    """

    uv: Float32[NDArray[np.float32], "uv 2"]
    uv_faces: Triangles
    faces: Triangles


def load_template(path: Path) -> Template:
    """Read the texture coordinates and triangles of head_template.obj.

    Raises:
        LicensedFileError: the file is missing, damaged, or the mesh of another head.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
        num_vertices, template = parse_obj(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise unusable("template", path, str(error)) from error
    got = (num_vertices, len(template.uv), len(template.faces))
    if got != (NUM_VERTICES, NUM_UV, NUM_FACES):
        raise unusable(
            "template",
            path,
            f"got {got[0]} vertices, {got[1]} texture coordinates and {got[2]} triangles, expected "
            f"{NUM_VERTICES}, {NUM_UV} and {NUM_FACES}",
        )
    return template


def parse_obj(text: str) -> tuple[int, Template]:
    """Read a textured triangle mesh; groups, materials and normals are passed over.

    Args:
        text: lines `v x y z`, `vt u v`, and `f v/vt v/vt v/vt`, counted from 1 as usual.

    Returns:
        The number of vertices, and the triangles with their texture coordinates.

    Raises:
        ValueError: a line is malformed, a face is no textured triangle, or an index is negative or
            past the end.
    """
    num_vertices, uv, corners = 0, [], []
    for number, line in enumerate(text.splitlines(), 1):
        kind, *words = line.split() or [""]
        try:
            if kind == "v":
                _numbers(words, 3)
                num_vertices += 1
            elif kind == "vt":
                uv.append(_numbers(words, 2))
            elif kind == "f":
                corners.append(_triangle(words))
        except ValueError as error:
            raise ValueError(f"line {number}, {line.strip()[:60]!r}: {error}") from error
    if not uv or not corners:
        raise ValueError("no texture coordinates or no triangles in it")
    faces, uv_faces = np.moveaxis(np.array(corners, np.int64), -1, 0)
    for name, indices, count in (("vertex", faces, num_vertices), ("texture", uv_faces, len(uv))):
        if indices.min() < 1 or indices.max() > count:
            wrong = indices.min() if indices.min() < 1 else indices.max()
            raise ValueError(f"the {name} index {wrong}, expected 1 to {count}")
    coordinates = np.array(uv, np.float32)
    if coordinates.min() < -1e-4 or coordinates.max() > 1 + 1e-4:
        raise ValueError("texture coordinates outside 0 to 1")
    return num_vertices, Template(
        uv=np.clip(coordinates, 0, 1),
        uv_faces=np.ascontiguousarray(uv_faces - 1, np.int32),
        faces=np.ascontiguousarray(faces - 1, np.int32),
    )


def _numbers(words: list[str], count: int) -> list[float]:
    """The first numbers of a line; more may follow (a colour, a third coordinate)."""
    values = [float(word) for word in words[:count]]
    if len(values) < count or not all(map(math.isfinite, values)):
        raise ValueError(f"expected {count} finite numbers")
    return values


def _triangle(words: list[str]) -> list[tuple[int, int]]:
    """Vertex and texture index of three corners."""
    corners = [tuple(int(part) for part in word.split("/")[:2] if part) for word in words]
    if len(corners) != 3 or any(len(corner) != 2 for corner in corners):
        raise ValueError("expected three corners, each a vertex and a texture index")
    return [(vertex, texture) for vertex, texture in corners]
