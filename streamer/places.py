"""Files that attributes are taken from: checked before the model is loaded, donors after it.

A picture gives the same for every frame. A video moves the portrait as a driver does, frame by
frame beside the driver, and only its own attributes are taken over; one that ends before the driver
is held at its last frame.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from streamer.attributes import MOVING, WORN, Place
from streamer.controls import LiveControls
from streamer.engine import (
    Engine,
    Reenactor,
    backdrop_of,
    donor_errors,
    driver_errors,
    following,
    make_dresser,
    with_donors,
)
from streamer.errors import DriverError
from streamer.portrait import is_picture, read_portrait
from streamer.video_file import (
    AUTO_REFERENCE_S,
    DriverFrame,
    VideoReader,
    check_driver,
    first_images,
)

if TYPE_CHECKING:
    from streamer.engine import Controls, Donor, Source

_VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".mpeg", ".flv", ".wmv"}
)


@dataclass(frozen=True, kw_only=True)
class GivenFile:
    """A file that attributes are taken from.

    Attributes:
        places: the attributes.
        picture: (H, W, 3) RGB; None where it is a video.
    """

    path: Path
    places: tuple[Place, ...]
    picture: NDArray[np.uint8] | None


def read_places(places: Mapping[Place, Path]) -> tuple[GivenFile, ...]:
    """Read the pictures and look into the videos, each file once.

    Raises:
        PortraitError: a picture cannot be read.
        DriverError: a video cannot be.
    """
    by_file: dict[Path, list[Place]] = {}
    for place, path in places.items():
        by_file.setdefault(path, []).append(place)
    return tuple(_read(path, tuple(names)) for path, names in by_file.items())


def _read(path: Path, places: tuple[Place, ...]) -> GivenFile:
    can_be_video = set(places) <= set(MOVING)
    if not can_be_video or not path.is_file() or is_picture(path):
        return GivenFile(path=path, places=places, picture=read_portrait(path))
    try:
        check_driver(path)
    except DriverError as error:
        if path.suffix.lower() in _VIDEO_SUFFIXES:
            raise
        raise DriverError(
            f"{path} is neither a picture nor a video that can be read; save it as JPEG or MP4"
        ) from error
    return GivenFile(path=path, places=places, picture=None)


def dressed(
    source: "Source", given: Sequence[GivenFile], controls: LiveControls, model: Reenactor
) -> "Source":
    """The portrait in what is asked for, before what is; itself where nothing is.

    Of a background that is a picture of one person only what is behind them is taken.

    Raises:
        PortraitError: a picture whose hair or clothes are wanted shows no face, or several.
        ControlError: the model cannot swap them.
    """
    worn: dict[Place, NDArray[np.uint8] | Source] = {}
    for one in given:
        places = [place for place in one.places if place in WORN]
        if one.picture is None or not places:
            continue
        if places == ["background"]:
            worn["background"] = backdrop_of(one.picture, model)
            continue
        with donor_errors(one.path):
            worn.update(dict.fromkeys(places, model.encode_source(one.picture)))
    if not (worn or controls.is_dressed):
        return source
    return make_dresser(model)(source, controls, worn)


class Donors:
    """The controls of each frame, with attributes taken from files; to be left as a context.

    Args:
        engine: the model, and the controls that no file changes.
        source: the portrait.
        given: the files.

    Raises:
        PortraitError: a picture shows no face, or several.
        DriverError: a video shows no face at its beginning.
    """

    def __init__(self, engine: Engine, source: "Source", given: Sequence[GivenFile]) -> None:
        self._controls = engine.controls
        self._fixed: dict[str, Donor] = {}
        self._moving: list[_MovingDonor] = []
        self._open = ExitStack()
        for one in given:
            names = [place for place in one.places if place not in WORN]
            if one.picture is None:
                self._moving.append(_MovingDonor(engine, source, one))
            elif names:
                with donor_errors(one.path):
                    theirs = engine.reenactor.encode_source(one.picture)
                self._fixed.update(dict.fromkeys(names, engine.reenactor.donor(theirs)))

    def __enter__(self) -> Self:
        for one in self._moving:
            self._open.enter_context(one)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def next_controls(self) -> "Controls":
        """Those of the frame after the last one asked for."""
        if not (self._fixed or self._moving):
            return self._controls
        donors = dict(self._fixed)
        for one in self._moving:
            donors.update(dict.fromkeys(one.places, one.next_donor()))
        return with_donors(self._controls, donors)


class _MovingDonor:
    """A second driver of the portrait, of which only some attributes are taken."""

    def __init__(self, engine: Engine, source: "Source", given: GivenFile) -> None:
        self.places = given.places
        self._model = engine.reenactor
        self._source = source
        self._controls = following(engine.controls)
        self._path = given.path
        with driver_errors(f"the first {AUTO_REFERENCE_S} s of {given.path}", "use another video"):
            images = first_images(given.path)
            reference = self._model.choose_reference(images, source, self._controls)
            state = self._model.open_stream(source, self._controls)
            self._state = self._model.set_reference(reference, source, state)

    def __enter__(self) -> Self:
        self._reader = VideoReader(self._path)
        self._frames: Iterator[DriverFrame] = self._reader.frames()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._reader.__exit__(kind, error, traceback)

    def next_donor(self) -> "Donor":
        """The face that the next frame moves the portrait to; past the end, that of the last."""
        frame = next(self._frames, None)
        if frame is not None:
            self._state = self._model.skip(frame.image, self._source, self._state, self._controls)
        return self._model.donor(self._source, self._state)
