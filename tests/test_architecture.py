"""The rules of the house: size of files and functions, imports without effect, no pickles."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_NESTING = 3
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
PACKAGES = ("difffae", "streamer")
PICKLERS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
HEAVY = ("av", "cv2", "jax", "mediapipe", "numba", "openvino", "torch")


def source_files(root: Path) -> list[Path]:
    """All Python files of both packages."""
    return [file for package in PACKAGES for file in sorted((root / package).rglob("*.py"))]


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def long_functions(text: str) -> list[str]:
    """Functions whose lines, from `def` to the last statement, pass the bar."""
    return [
        f"{node.name}: {length} lines"
        for node in functions(ast.parse(text))
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]


def nesting(node: ast.AST, depth: int = 0) -> int:
    """Deepest block inside a statement or function; `elif` is not deeper than its `if`."""
    deepest = depth
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        is_elif = isinstance(node, ast.If) and field == "orelse" and len(children) == 1
        for child in children:
            if not isinstance(child, ast.AST) or isinstance(child, ast.FunctionDef | ast.ClassDef):
                continue
            is_deeper = isinstance(child, BLOCKS) and not (is_elif and isinstance(child, ast.If))
            deepest = max(deepest, nesting(child, depth + is_deeper))
    return deepest


def deep_functions(text: str) -> list[str]:
    """Functions with blocks nested too deep; loops that numba compiles are left to the reader."""
    return [
        f"{node.name}: {depth} deep"
        for node in functions(ast.parse(text))
        if not any("njit" in ast.unparse(decorator) for decorator in node.decorator_list)
        if (depth := nesting(node)) > MAX_NESTING
    ]


def pickle_uses(text: str) -> list[str]:
    """Imports of a pickling module, and calls that unpickle: torch.load, allow_pickle=True."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] in PICKLERS]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module] if node.module.split(".")[0] in PICKLERS else []
        elif isinstance(node, ast.Call):
            found += unpickling_call(node)
    return found


def unpickling_call(call: ast.Call) -> list[str]:
    """Name the call when it is one that reads or writes a pickle."""
    name = ast.unparse(call.func)
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name == "torch.load" and keywords.get("weights_only") == "True":
        return [f"{name}(weights_only=True)"]
    if name in {"torch.load", "torch.save", "torch.jit.load", "torch.hub.load"}:
        return [name]
    return [
        f"{name}(allow_pickle=...)"
        for keyword in call.keywords
        if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"
    ]


def test_every_file_stays_within_400_lines(repository: Path) -> None:
    lengths = {file: len(file.read_text("utf-8").splitlines()) for file in source_files(repository)}
    assert len(lengths) > 10
    assert {str(file): n for file, n in lengths.items() if n > MAX_FILE_LINES} == {}


def test_every_function_stays_within_60_lines(repository: Path) -> None:
    found = {file: long_functions(file.read_text("utf-8")) for file in source_files(repository)}
    assert {str(file): names for file, names in found.items() if names} == {}


def test_a_function_of_61_lines_is_reported() -> None:
    body = "\n".join(["    x = 1"] * 60)
    assert long_functions(f"def f():\n{body}\n") == ["f: 61 lines"]
    assert long_functions(f"def f():\n{body[:-10]}\n") == []


def test_no_function_nests_deeper_than_three_blocks(repository: Path) -> None:
    found = {file: deep_functions(file.read_text("utf-8")) for file in source_files(repository)}
    assert {str(file): names for file, names in found.items() if names} == {}


def test_a_fourth_level_is_reported_and_elif_is_no_level() -> None:
    three = "for a in b:\n  while c:\n   if d: pass\n   elif e: pass\n   elif f: pass"
    assert deep_functions(f"def good():\n {three}") == []
    four = three.replace("elif e: pass", "else:\n    with e:\n     pass\n   if g: pass", 1)
    four = four.replace("\n   elif f: pass", "")
    assert deep_functions(f"def bad():\n {four}") == ["bad: 4 deep"]
    assert deep_functions(f"@numba.njit(cache=True)\ndef bad():\n {four}") == []


def test_only_tensors_of_other_peoples_checkpoints_are_read_from_pickles(repository: Path) -> None:
    found = {file: pickle_uses(file.read_text("utf-8")) for file in source_files(repository)}
    used = {
        file.relative_to(repository).as_posix(): names for file, names in found.items() if names
    }
    assert used == {"difffae/torch_file.py": ["torch.load(weights_only=True)"]}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import pickle", "pickle"),
        ("from joblib import load", "joblib"),
        ("import torch\ntorch.load('weights.pt')", "torch.load"),
        ("torch.load('weights.pt', weights_only=True)", "torch.load(weights_only=True)"),
        ("torch.load('weights.pt', weights_only=False)", "torch.load"),
        ("numpy.load('x.npy', allow_pickle=True)", "numpy.load(allow_pickle=...)"),
    ],
)
def test_each_way_to_unpickle_is_reported(text: str, name: str) -> None:
    assert pickle_uses(text) == [name]


def test_reading_arrays_without_pickles_is_allowed() -> None:
    assert pickle_uses("numpy.load('x.npy', allow_pickle=False)\nload_file('x.safetensors')") == []


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_loads_nothing_heavy(package: str, tmp_path: Path) -> None:
    program = f"import sys; import {package}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        encoding="utf-8",
        check=True,
        cwd=tmp_path,
    )
    assert run.stdout.strip() == ""
    assert run.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_import_rules_between_the_parts_are_kept(repository: Path) -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [lint, "--no-cache"], capture_output=True, encoding="utf-8", check=False, cwd=repository
    )
    assert run.returncode == 0, run.stdout
    assert "0 broken" in run.stdout
