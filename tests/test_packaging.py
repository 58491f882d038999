"""What a built wheel holds, what it asks for, and that install and CI scripts agree."""

import os
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from importlib.metadata import distributions
from pathlib import Path

import pytest

MAX_WEIGHTS_BYTES = 60_000_000


@pytest.fixture(scope="session")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Build the wheel with the installed hatchling: no network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run(
        [*build, "--directory", str(folder)], check=True, cwd=repository, capture_output=True
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="session")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """The wheel's METADATA."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return HeaderParser().parsestr(wheel.read(name).decode())


def tracked(repository: Path, *patterns: str) -> list[str]:
    """Files of the checkout that git tracks."""
    listing = subprocess.run(
        ["git", "ls-files", *patterns],
        cwd=repository,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return listing.stdout.splitlines()


def test_the_wheel_holds_every_tracked_file_of_both_packages(
    wheel: zipfile.ZipFile, repository: Path
) -> None:
    missing = set(tracked(repository, "difffae", "streamer")) - set(wheel.namelist())
    assert missing == set()


def test_the_wheel_holds_the_configs_beside_the_model(
    wheel: zipfile.ZipFile, repository: Path
) -> None:
    wanted = {f"difffae/configs/{file.name}" for file in (repository / "configs").glob("*.yaml")}
    assert wanted
    assert wanted <= set(wheel.namelist())


def test_the_wheel_holds_only_the_two_packages_and_its_own_metadata(
    wheel: zipfile.ZipFile,
) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"difffae", "streamer"}


def test_every_bundled_weight_file_is_safetensors_and_in_the_ledger(
    wheel: zipfile.ZipFile,
) -> None:
    names = [name for name in wheel.namelist() if name.startswith("difffae/weights/")]
    tensors = [name for name in names if name.endswith(".safetensors")]
    assert tensors
    assert {Path(name).suffix for name in names} <= {".safetensors", ".yaml", ".md", ".py"}
    assert sum(wheel.getinfo(name).file_size for name in tensors) <= MAX_WEIGHTS_BYTES
    ledger = wheel.read("difffae/weights/LEDGER.md").decode()
    files = [name.removeprefix("difffae/weights/") for name in tensors]
    assert [file for file in files if file not in ledger] == []


def test_requirements_keep_cuda_and_a_second_opencv_out(metadata: Message) -> None:
    core = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert "mediapipe==0.10.21" in core
    assert "torch<2.14,>=2.13" in core
    assert "numpy<2,>=1.26" in core
    assert [line for line in core if line.startswith(("torchvision", "nvidia", "pytorch3d"))] == []
    assert [line.split("<")[0] for line in core if "opencv" in line] == ["opencv-contrib-python"]


def test_the_extras_are_the_documented_ones(metadata: Message) -> None:
    assert metadata.get_all("Provides-Extra") == [
        "demo",
        "dev",
        "gpu",
        "licensed",
        "scale",
        "server",
        "train",
    ]


def test_python_3_11_and_3_12_are_accepted(metadata: Message) -> None:
    assert metadata["Requires-Python"] == "<3.13,>=3.11"


def test_the_installed_torch_brought_no_cuda_packages() -> None:
    torch = next(found for found in distributions() if found.name == "torch")
    if "+cpu" not in torch.version:
        pytest.skip("this is not the CPU build of torch")
    assert [found.name for found in distributions() if found.name.startswith("nvidia-")] == []


def test_ci_runs_the_test_command(repository: Path) -> None:
    script = (repository / ".ci" / "run").read_text("utf-8")
    commands = [line for line in script.splitlines() if line and not line.startswith("#")]
    assert commands[-1] == "make test </dev/null"


def test_what_the_first_test_run_leaves_out_is_what_the_second_runs(repository: Path) -> None:
    script = (repository / "scripts" / "test").read_text("utf-8").replace("\\\n", " ")
    runs = [line for line in script.splitlines() if line.endswith("|| status=$?")]
    first, second = (line.removesuffix("|| status=$?").split() for line in runs)
    assert second[:3] == first[:3] == [".venv/bin/python", "-m", "pytest"]
    assert shlex.split(" ".join(first))[-2:] == ["-m", "not alone"]
    assert second[3:5] == ["-m", "alone"]
    assert second[5:] == ["tests/streamer", "tests/webclient"]


@pytest.mark.parametrize("name", ["install", "test", "check", "train", "bench", "figures", "demo"])
def test_scripts_are_executable_and_parse(repository: Path, name: str) -> None:
    script = repository / "scripts" / name
    assert os.access(script, os.X_OK)
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0


def test_install_does_nothing_when_the_stamp_matches(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".venv").mkdir()
    for name in ("pyproject.toml", "scripts/install"):
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    (tmp_path / ".venv" / "installed-demo").write_bytes(
        (repository / "pyproject.toml").read_bytes()
    )
    run = subprocess.run(
        ["sh", "scripts/install", "demo"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize("has_uv", [True, False])
def test_install_is_by_uv_where_there_is_one_and_by_pip_else(
    repository: Path, tmp_path: Path, has_uv: bool
) -> None:
    for folder in ("scripts", "bin", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("pyproject.toml", "scripts/install"):
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    for tool in ("dirname", "cmp", "cp"):
        (tmp_path / "bin" / tool).symlink_to(f"/usr/bin/{tool}")
    stand_ins = [".venv/bin/python", *(["bin/uv"] if has_uv else [])]
    for name in stand_ins:
        stand_in = tmp_path / name
        stand_in.write_text(f'#!/bin/sh\necho "{name} $*" >> calls\n', encoding="utf-8")
        stand_in.chmod(0o755)
    subprocess.run(
        ["/bin/sh", "scripts/install", "demo,dev"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        check=True,
    )
    *_, call = (tmp_path / "calls").read_text("utf-8").splitlines()
    assert call.startswith("bin/uv pip install" if has_uv else ".venv/bin/python -m pip install")
    assert call.endswith("--editable .[demo,dev]")
    assert (tmp_path / ".venv" / "installed-demo,dev").is_file()


def test_install_says_what_to_do_without_a_fitting_python(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    for name in ("pyproject.toml", "scripts/install"):
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("dirname", "cmp"):
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    run = subprocess.run(
        ["/bin/sh", "scripts/install"],
        cwd=tmp_path,
        env={"PATH": str(tools)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr.startswith("Python 3.11 or 3.12 with venv is needed")
    assert not (tmp_path / ".venv").exists()


def test_the_version_is_in_the_changelog(repository: Path) -> None:
    version = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"][
        "version"
    ]
    assert f"## [{version}]" in (repository / "CHANGELOG.md").read_text("utf-8")
