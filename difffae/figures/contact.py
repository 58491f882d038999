"""The contact sheet: what people look at in a moving portrait, good and bad cases alike.

Which moments are shown is found by what the driver's face does (`signals`), which cases are named
worst by what is measured in the output: nobody chose a picture for its looks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from difffae.arrays import ImageU8
from difffae.face.edit import Edit
from difffae.face.tracker import FaceNotFoundError
from difffae.figures.derived import WAYS, derive
from difffae.figures.media import (
    DriverClip,
    Portrait,
    astronaut,
    emotions,
    people,
    selfie,
    studio_portrait,
)
from difffae.figures.signals import TOPICS, Signs, followed, looked, turned
from difffae.figures.studio import Shot, Sitter, Studio
from difffae.figures.watching import Seen, Watched, watch
from difffae.metrics.scores import NAN
from difffae.pipeline import StreamState

YAW_DEG, GAZE_DEG = 25.0, 25.0
ACTOR = "P002"  # whose expressions portraits are shown with
ACTED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"opens": ("shocked", "mouth opens"), "teeth": ("happy", "smiles"),
     "tongue": ("playful", "mouth opens"), "closes": ("exhausted", "eyes close")}
)  # fmt: skip
SELFIES = ("P004", "P007", "P010")
DERIVED: Mapping[str, str] = MappingProxyType(
    {"painting": "P003", "black and white": "P006", "glasses": "P007", "earrings": "P010",
     "fringe": "P002", "headscarf": "P009"}
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Case:
    """One output of the sheet, measured.

    Attributes:
        portrait, driver, topic: who, by whom or what, doing what.
        shown: what a figure shows of the driver; None where nobody drives.
        own: the portrait, as the output shows it.
        shot: the output.
        followed: share of what was asked for that it does; NaN where that has no measure.
    """

    portrait: str
    driver: str
    topic: str
    shown: ImageU8 | None
    own: ImageU8
    shot: Shot
    followed: float

    @property
    def name(self) -> str:
        """What a list calls it."""
        return f"{self.portrait}, {self.driver}: {self.topic}"


def driven(studio: Studio, drivers: Sequence[DriverClip]) -> Iterator[list[Case]]:
    """Each driver's moments on a portrait of its own: the next one's for the next driver."""
    names = people()
    for number, clip in enumerate(drivers):
        sitter = studio.seat(studio_portrait(names[number % len(names)]))
        yield _moments(studio, watch(clip, studio.pipeline), sitter)


def _moments(studio: Studio, watched: Watched, sitter: Sitter) -> list[Case]:
    reference = watched.reference_for(sitter.source)
    cases = []
    for topic, frame in watched.moments(reference):
        image = studio.drive(sitter, frame.image, reference.image)
        shot = studio.judge(sitter, image)
        signs = (reference.signs, frame.signs)
        cases.append(
            Case(
                portrait=sitter.portrait.name,
                driver=watched.clip.name,
                topic=topic,
                shown=_picture(studio, watched.clip, frame),
                own=sitter.looks.image,
                shot=shot,
                followed=_followed(topic, sitter, shot, signs),
            )
        )
    return cases


def _picture(studio: Studio, clip: DriverClip, frame: Seen) -> ImageU8:
    return frame.image if clip.is_shown else studio.draw(frame.points)


def _followed(topic: str, sitter: Sitter, shot: Shot, driver: tuple[Signs, Signs]) -> float:
    """An output without a face follows nothing."""
    if shot.signs is None:
        return 0.0
    return followed(TOPICS[topic], (sitter.signs, shot.signs), driver)


def portraits(studio: Studio) -> list[Portrait]:
    """Everybody in the studio, some elsewhere, those made from others, and a real photograph."""
    found = [studio_portrait(person) for person in people()]
    found += [selfie(person) for person in SELFIES]
    for way, person in DERIVED.items():
        plain = studio_portrait(person)
        sighting = studio.pipeline.sight(plain.image, StreamState())
        if sighting is None:
            raise FaceNotFoundError(f"Got no face in {plain.name}: give a portrait of one")
        person_mask = studio.pipeline.segment(plain.image)
        found.append(derive(plain, way, sighting.points, person_mask))
    assert set(DERIVED) == set(WAYS)
    return [*found, astronaut()]


def posed(studio: Studio, portrait: Portrait) -> list[Case]:
    """A portrait with another's expressions, then its eyes and head turned by number."""
    sitter = studio.seat(portrait)
    return [*_acted(studio, sitter), *_turned(studio, sitter)]


def acting(studio: Studio) -> dict[str, ImageU8]:
    """What the expressions look like on who shows them, by column."""
    del studio
    faces = emotions(ACTOR)
    return {name: faces[emotion] for name, (emotion, _) in ACTED.items()}


def _acted(studio: Studio, sitter: Sitter) -> Iterator[Case]:
    faces = emotions(ACTOR)
    neutral = studio.signs_of(faces["neutral"], faces["neutral"])
    for name, (emotion, topic) in ACTED.items():
        shot = studio.judge(sitter, studio.drive(sitter, faces[emotion], faces["neutral"]))
        driver = (neutral, studio.signs_of(faces[emotion], faces["neutral"]))
        share = _followed(topic, sitter, shot, driver)
        yield _case(sitter, f"{ACTOR} {emotion}", name, shot, share, shown=faces[emotion])


def _turned(studio: Studio, sitter: Sitter) -> Iterator[Case]:
    assert sitter.looks.points is not None
    for sign, side in ((-1, "left"), (1, "right")):
        shot = studio.judge(sitter, studio.edit(sitter, Edit(gaze_x=sign * GAZE_DEG)))
        share = (
            NAN
            if shot.signs is None
            else looked((sitter.signs, shot.signs), sitter.looks.points, sign * GAZE_DEG)
        )
        yield _case(sitter, "by number", f"gaze {side}", shot, share)
    for sign, side in ((-1, "left"), (1, "right")):
        shot = studio.judge(sitter, studio.edit(sitter, Edit(yaw=sign * YAW_DEG)))
        share = NAN if shot.signs is None else turned((sitter.signs, shot.signs), sign * YAW_DEG)
        yield _case(sitter, "by number", f"yaw {side}", shot, share)


def _case(
    sitter: Sitter,
    driver: str,
    topic: str,
    shot: Shot,
    share: float,
    *,
    shown: ImageU8 | None = None,
) -> Case:
    return Case(
        portrait=sitter.portrait.name,
        driver=driver,
        topic=topic,
        shown=shown,
        own=sitter.looks.image,
        shot=shot,
        followed=share,
    )
