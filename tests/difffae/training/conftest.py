"""The toy stage, for tests in this process and for the children that they start."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def toy_script() -> Path:
    """The file of the toy stage, which also runs as a script."""
    return Path(__file__).with_name("toy_stage.py")


@pytest.fixture(scope="session")
def toy(toy_script: Path) -> ModuleType:
    """The module of the toy stage."""
    spec = importlib.util.spec_from_file_location("toy_stage", toy_script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["toy_stage"] = module
    spec.loader.exec_module(module)
    return module
