"""README and docs tell the truth: commands parse; links, options and targets exist."""

import ast
import inspect
import io
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import pytest

import difffae

MAX_LINES = 160


@pytest.fixture(scope="session")
def readme(repository: Path) -> str:
    """Text of README.md."""
    return (repository / "README.md").read_text("utf-8")


@pytest.fixture(scope="session")
def documents(repository: Path) -> dict[Path, str]:
    """Text of README.md, first, and of everything in docs."""
    paths = [repository / "README.md", *sorted((repository / "docs").glob("*.md"))]
    return {path: path.read_text("utf-8") for path in paths}


@pytest.fixture(scope="session")
def commands(documents: dict[Path, str]) -> list[list[str]]:
    """Words of each command line in the documents' shell blocks, continuations joined."""
    blocks = re.findall(r"```sh\n(.*?)```", "".join(documents.values()), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def modules(commands: list[list[str]]) -> set[str]:
    """What the commands run with `python -m`."""
    return {words[2] for words in commands if words[:2] == ["python", "-m"]}


def test_the_two_commands_come_first(commands: list[list[str]]) -> None:
    assert commands[:2] == [["make", "demo"], ["make", "test"]]


def test_every_make_target_exists(commands: list[list[str]], repository: Path) -> None:
    targets = {words[1] for words in commands if words[0] == "make"}
    for target in targets:
        run = subprocess.run(["make", "-n", target], cwd=repository, capture_output=True)
        assert run.returncode == 0, target


def test_every_module_command_exists(commands: list[list[str]]) -> None:
    assert {"streamer.offline", "difffae.train", "difffae.evaluate"} <= modules(commands)
    assert [name for name in modules(commands) if find_spec(name) is None] == []


def test_every_training_stage_named_exists(readme: str, repository: Path) -> None:
    from difffae.training.stages import stage_recipes

    script = (repository / "scripts" / "train").read_text("utf-8")
    assert "--stage all" in script
    section = readme[readme.index("## Train it") : readme.index("## Figures")]
    assert [stage for stage in stage_recipes() if stage not in section] == []


def test_every_config_file_named_exists(commands: list[list[str]], repository: Path) -> None:
    named = {word for words in commands for word in words if word.startswith("configs/")}
    assert named
    assert [name for name in named if not (repository / name).is_file()] == []


def test_every_link_and_path_leads_to_a_file(documents: dict[Path, str]) -> None:
    links = [
        path.parent / link
        for path, text in documents.items()
        for link in re.findall(r"\]\(([^)#:]+)\)", text)
    ]
    assert links
    assert [link for link in links if not link.exists()] == []


def test_every_file_of_the_papers_map_exists(documents: dict[Path, str], repository: Path) -> None:
    """The table of docs/paper.md: modules under difffae, tests under tests/difffae."""
    text = documents[repository / "docs" / "paper.md"]
    table = text[: text.index("## Train it")]
    named = set(re.findall(r"`([a-z_]+/[a-z_*]+\.py|test_[a-z_*]+\.py)`", table))
    assert len(named) > 15
    roots = (repository / "difffae", repository / "tests" / "difffae")
    assert [name for name in named if not any(list(root.glob(name)) for root in roots)] == []


def test_every_ablation_is_an_override_that_the_papers_model_takes(
    documents: dict[Path, str], repository: Path, tmp_path: Path
) -> None:
    from difffae.training.config import Config, read_config
    from difffae.training.request import Catalog, read_request
    from difffae.training.stages import stage_recipes

    path = repository / "configs" / "paper-256.yaml"
    catalog = Catalog(schema=Config, recipes=stage_recipes())
    text = documents[repository / "docs" / "paper.md"]
    section = text[text.index("| ablation |") : text.index("## ", text.index("| ablation |"))]
    overrides = [shlex.split(words) for words in re.findall(r"\| `(--[^`]+)` \|", section)]
    assert len(overrides) >= 5
    for words in overrides:
        given = [str(tmp_path) if word == "FOLDER" else word for word in words]
        request = read_request(["--config", str(path), "--stage", "joint", *given], catalog)
        assert request.config != read_config(path)


def options(module: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Options that `python -m module --help` lists, read without starting a process."""
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    printed = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(printed), redirect_stderr(printed):
        warnings.simplefilter("ignore", RuntimeWarning)  # other tests imported the module before
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(module, run_name="__main__")
    assert ended.value.code in (0, None), printed.getvalue()
    return set(re.findall(r"--[a-z](?:[a-z_.-]*[a-z])?", printed.getvalue()))


def test_every_option_named_is_an_option_of_its_command(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in modules(commands):
        own = [words for words in commands if words[:3] == ["python", "-m", name]]
        used = {word for words in own for word in words[3:] if word.startswith("--")}
        assert used <= options(name, monkeypatch), name


def test_every_option_in_the_table_is_one_of_the_offline_command(
    readme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = readme[readme.index("| option |") : readme.index("## Live")]
    named = set(re.findall(r"--[a-z][a-z-]*", table))
    assert {"--output", "--motion", "--reference", "--steps", "--seed", "--resume"} <= named
    assert named <= options("streamer.offline", monkeypatch)


def test_the_offline_command_is_shown_as_the_issue_gives_it(commands: list[list[str]]) -> None:
    assert ["python", "-m", "streamer.offline", "video.mp4", "source.jpg"] in commands


def test_the_python_example_calls_what_exists(readme: str) -> None:
    from difffae import Pipeline

    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    tree = ast.parse(example)
    imported = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "difffae"
        for alias in node.names
    }
    assert imported
    assert imported <= set(difffae.__all__)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    methods = {call.func.attr: call for call in calls if isinstance(call.func, ast.Attribute)}
    assert set(methods) == {"encode_source", "open_stream", "reenact"}
    for name, call in methods.items():
        inspect.signature(getattr(Pipeline, name)).bind(None, *call.args)


def test_the_readme_stays_short(readme: str) -> None:
    assert len(readme.splitlines()) <= MAX_LINES
