"""The checks that run with all tests reject wrong shapes, and only those."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jaxtyping
import numpy as np
import pytest

from shape_checks import checked_modules

SOURCE = """
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8


def half(image: UInt8[np.ndarray, "h w 3"], name: str) -> Float32[np.ndarray, "h w 3"]:
    return (image / 2).astype(np.float32 if name else np.float64)


@dataclass(frozen=True, kw_only=True)
class Points:
    positions: Float32[np.ndarray, "478 3"] | None
"""


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module of two annotated definitions, imported with the checks on."""
    (tmp_path / "annotated_example.py").write_text(SOURCE, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    hook = jaxtyping.install_import_hook(["annotated_example"], "shape_checks.check_arrays")
    with hook:
        yield importlib.import_module("annotated_example")
    del sys.modules["annotated_example"]


def test_a_four_channel_image_is_refused(checked: ModuleType) -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="image"):
        checked.half(np.zeros((2, 2, 4), np.uint8), "x")


def test_a_wrong_element_type_in_the_result_is_refused(checked: ModuleType) -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        checked.half(np.zeros((2, 2, 3), np.uint8), "")


def test_a_wrong_dataclass_field_is_refused(checked: ModuleType) -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        checked.Points(positions=np.zeros((468, 3), np.float32))


def test_right_arrays_and_all_other_types_pass(checked: ModuleType) -> None:
    assert checked.half(np.full((2, 2, 3), 4, np.uint8), 7).max() == 2.0
    assert checked.Points(positions=None).positions is None


def test_modules_with_compiled_kernels_and_package_files_are_left_out(tmp_path: Path) -> None:
    package = tmp_path / "thing"
    (package / "inner").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "plain.py": "import numpy\n",
        "inner/__init__.py": "",
        "inner/fast.py": "from numba import njit\n",
        "inner/slow.py": "# numba would be faster\n",
    }.items():
        (package / name).write_text(text, "utf-8")
    assert checked_modules(package) == ["thing.inner.slow", "thing.plain"]
