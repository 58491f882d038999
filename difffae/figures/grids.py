"""The paper's figures of this model: reenactment, light, attributes mixed, regions swapped.

Who and which frames is fixed: people by their number, frames by theirs, donors by being next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from difffae.arrays import ImageU8, SquareU8
from difffae.data.split import first_frame, read_frames
from difffae.face.edit import Donor, Edit
from difffae.face.lamp import Lamp
from difffae.figures.media import (
    DriverClip,
    carphone,
    emotions,
    selfie,
    studio_portrait,
)
from difffae.figures.sheet import Cell, Row, draw_sheet
from difffae.figures.studio import Sitter, Studio
from difffae.scenery import Exchange, Scenery, SceneryEditor

SIDE = 160
REENACTED = ("P001", "P003", "P005", "P007", "P009")
EXPRESSIVE = (("P002", "surprised"), ("P006", "happy"), ("P010", "confused"), ("P008", "scared"))
CARPHONE_FRAMES = (40, 80)
RELIT = ("P002", "P004", "P006", "P008")
NUM_DIRECTIONS, RING_DEG = 8, 65.0
MIXED = ("P001", "P003", "P008", "P010")
SWAPPED = ("P002", "P003", "P005", "P009")
_LAMP = 0.9
_LEAST_CHANGE = 0.5  # grey levels, mean over the picture: a swap below it does nothing


@dataclass(frozen=True, kw_only=True)
class Driving:
    """A frame that moves portraits.

    Attributes:
        frame, reference: of one driver.
        picture: what a figure shows of it.
        name: below the picture.
    """

    frame: ImageU8
    reference: ImageU8
    picture: ImageU8
    name: str


def drivings(studio: Studio, strangers: Sequence[DriverClip]) -> list[Driving]:
    """The drivers of the reenactment grid.

    Args:
        studio: draws the meshes of those whose pictures are not to be shown.
        strangers: whose middle frames are taken.
    """
    clip = carphone()
    frames = list(islice(read_frames(clip.path), max(CARPHONE_FRAMES) + 1))
    found = [
        Driving(frame=frames[index], reference=frames[0], picture=frames[index], name=clip.name)
        for index in CARPHONE_FRAMES
    ]
    for person, expression in EXPRESSIVE:
        faces = emotions(person)
        face = faces[expression]
        found.append(Driving(frame=face, reference=faces["neutral"], picture=face, name=expression))
    return found + [_stranger(studio, clip) for clip in strangers]


def _stranger(studio: Studio, clip: DriverClip) -> Driving:
    frames = list(read_frames(clip.path))
    frame = frames[len(frames) // 2]
    picture = frame if clip.is_shown else drawn(studio, frame)
    return Driving(frame=frame, reference=first_frame(clip.path), picture=picture, name=clip.name)


def drawn(studio: Studio, frame: ImageU8) -> ImageU8:
    """A frame's mesh in place of its picture; a plain ground where it shows no face."""
    points = studio.instruments.look(frame, with_features=False).points
    if points is None:
        return np.full((SIDE, SIDE, 3), 40, np.uint8)
    return studio.draw(points)


def reenactment(studio: Studio, strangers: Sequence[DriverClip]) -> ImageU8:
    """Portraits down, drivers across."""
    given = drivings(studio, strangers)
    rows = [Row(cells=[Cell(), *(Cell(image=each.picture, caption=each.name) for each in given)])]
    for person in REENACTED:
        sitter = studio.seat(studio_portrait(person))
        made = [studio.drive(sitter, each.frame, each.reference) for each in given]
        rows.append(Row(cells=_cells([sitter.looks.image, *made], [person])))
    return draw_sheet(rows, side=SIDE)


def _cells(images: Sequence[ImageU8], captions: Sequence[str] = ()) -> list[Cell]:
    told = [*captions, *[""] * (len(images) - len(captions))]
    return [Cell(image=image, caption=text) for image, text in zip(images, told, strict=True)]


def directions() -> list[Lamp]:
    """Lamps around the face, the first above it, clockwise as seen."""
    angles = np.arange(NUM_DIRECTIONS) * 2 * np.pi / NUM_DIRECTIONS
    return [
        Lamp(
            azimuth_deg=round(RING_DEG * float(np.sin(angle)), 3),
            elevation_deg=round(RING_DEG * float(np.cos(angle)), 3),
            strength=_LAMP,
        )
        for angle in angles
    ]


def relight(studio: Studio) -> ImageU8:
    """Portraits down, a lamp's eight directions across."""
    lamps = directions()
    names = [f"{round(lamp.azimuth_deg)}, {round(lamp.elevation_deg)}" for lamp in lamps]
    rows = []
    for person in RELIT:
        sitter = studio.seat(studio_portrait(person))
        lit = [studio.edit(sitter, lamp=lamp) for lamp in lamps]
        rows.append(Row(cells=_cells([sitter.looks.image, *lit])))
    return draw_sheet(rows, side=SIDE, headings=["portrait", *names], captions=False)


def mix(studio: Studio) -> ImageU8:
    """Pose, expression and light, each from another picture: alone and together."""
    pose = emotions("P006")["confused"]
    expression = emotions("P002")["happy"]
    light = selfie("P005").image
    donors = {
        "pose": studio.donor(pose),
        "expression": studio.donor(expression),
        "light": studio.donor(light),
    }
    headings = ["portrait", *donors, "pose + expression", "all three"]
    rows = [Row(cells=_cells([np.full_like(pose, 255), pose, expression, light]))]
    pair = {name: donors[name] for name in ("pose", "expression")}
    for person in MIXED:
        sitter = studio.seat(studio_portrait(person))
        taken = [*({name: donor} for name, donor in donors.items()), pair, donors]
        made = [studio.edit(sitter, _edit(given)) for given in taken]
        rows.append(Row(cells=_cells([sitter.looks.image, *made])))
    return draw_sheet(rows, side=SIDE, headings=headings, captions=False)


def _edit(given: Mapping[str, Donor]) -> Edit:
    get = given.get
    return Edit(pose=get("pose"), expression=get("expression"), light=get("light"))


def swap(studio: Studio) -> tuple[ImageU8, list[str]]:
    """Hair, clothes and background, each the next portrait's, and a note on what did nothing.

    What is expected of a model: `SceneryEditor(pipeline).edit(source, scenery)` gives a source
    that is used as any other, where `Scenery` has `hair`, `clothes` and `background`, each an
    `Exchange` of a donor's. A region whose swap leaves the picture as it was is left empty.
    """
    editor = SceneryEditor(studio.pipeline)
    regions = ("hair", "clothes", "background")
    sitters = [studio.seat(studio_portrait(person)) for person in SWAPPED]
    donors = [studio.seat(selfie(person)) for person in (*SWAPPED[1:], SWAPPED[0])]
    rows, idle = [], dict.fromkeys(regions, 0)
    for sitter, donor in zip(sitters, donors, strict=True):
        cells = _cells([sitter.looks.image, donor.looks.image])
        for name in regions:
            made, own = (
                studio.edit(dressed(editor, sitter, donor, [name], amount)) for amount in (1, 0)
            )
            does_nothing = _difference(made, own) < _LEAST_CHANGE
            idle[name] += does_nothing
            cells.append(Cell(image=None if does_nothing else made))
        cells.append(Cell(image=studio.edit(dressed(editor, sitter, donor, regions))))
        rows.append(Row(cells=cells))
    headings = ["portrait", "donor", *regions, "all three"]
    notes = [
        f"{name}: {count} of {len(rows)} swaps changed nothing"
        for name, count in idle.items()
        if count
    ]
    return draw_sheet(rows, side=SIDE, headings=headings, captions=False), notes


def dressed(
    editor: SceneryEditor,
    sitter: Sitter,
    donor: Sitter,
    regions: Sequence[str],
    amount: float = 1.0,
) -> Sitter:
    """A portrait with some regions of a donor's, by an amount: 0 leaves all its own."""
    given = {name: Exchange(donor=donor.source, amount=amount) for name in regions}
    scenery = Scenery(
        hair=given.get("hair"), clothes=given.get("clothes"), background=given.get("background")
    )
    return replace(sitter, source=editor.edit(sitter.source, scenery))


def _difference(image: SquareU8, other: SquareU8) -> float:
    return float(np.abs(image.astype(np.int16) - other).mean())
