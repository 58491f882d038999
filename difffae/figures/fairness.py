"""Who is served how well: figures of portraits by skin tone, sex and age.

Three sets, each measured in one way: openpeople's synthetic people (unseen in training, all
labelled) and Faker's synthetic portraits (sex in the file's name) are driven by a stranger; of the
London set each neutral photograph is driven by the same person's smiling one, which then is the
truth. Skin tone is also measured (`skin_tone`), since two of the sets have no label of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from difffae.arrays import ImageU8
from difffae.data.split import read_frames
from difffae.face.tracker import FaceNotFoundError, SeveralFacesError
from difffae.figures.groups import Comparison, Subject, compare
from difffae.figures.media import (
    DriverClip,
    Portrait,
    carphone,
    people,
    read_picture,
    selfie,
    studio_portrait,
)
from difffae.figures.skin_tone import tone_group, typology_angle
from difffae.figures.studio import Sitter, Studio
from difffae.metrics.meter import ClipMeter, Moment, moment
from difffae.metrics.motion import HeadReference
from difffae.metrics.scores import Scores, mean_scores

OPENPEOPLE, FAKER, LONDON = "openpeople", "Faker", "London"
NUM_FRAMES = 10  # of the driver, evenly over it
MEASURED_TONE = "measured skin tone"
FAIR_FITZPATRICK = ("I", "II", "III")
_NEUTRAL, _SMILING = "neutral_front_", "smiling_front_"
# What is measured of each set: field of Scores, by the name that a table gives it.
DRIVEN = {"identity to the portrait": "identity", "motion correlation": "correlation",
          "expression error": "expression_error"}  # fmt: skip
TOWARDS_TRUTH = {"identity to the truth": "identity", "feature distance": "feature_distance",
                 "expression error": "expression_error"}  # fmt: skip

Found = list[Subject]
Advance = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """All comparisons of a run.

    Attributes:
        comparisons: by set and grouping.
        num_subjects: people measured, by set.
        left_out: a sentence for each portrait that could not be.
    """

    comparisons: list[Comparison]
    num_subjects: dict[str, int]
    left_out: list[str]


class Driver:
    """Some frames of a driver, measured once for all portraits."""

    def __init__(self, studio: Studio, clip: DriverClip, num_frames: int = NUM_FRAMES) -> None:
        """Read them.

        Raises:
            FaceNotFoundError: the first frame shows no face.
        """
        frames = list(islice(read_frames(clip.path), 500))
        chosen = np.linspace(1, len(frames) - 1, num_frames).astype(int)
        self.reference = frames[0]
        first = studio.instruments.look(self.reference, with_features=False)
        if first.points is None:
            raise FaceNotFoundError(f"Got no face in the first frame of {clip.path}")
        reference = HeadReference(first.points)
        self.moments: list[Moment] = []
        for index in (int(each) for each in chosen):
            looks = studio.instruments.look(frames[index], with_features=False)
            self.moments.append(moment(index, looks, reference))

    def move(self, studio: Studio, sitter: Sitter) -> Scores:
        """Drive a portrait by all of them."""
        meter = ClipMeter(studio.instruments, sitter.looks, has_truth=False)
        for each in self.moments:
            meter.add(studio.drive(sitter, each.looks.image, self.reference), each)
        return meter.scores()


def measure_fairness(
    studio: Studio, stills: Path, *, num_stills: int, seed: int, advance: Advance
) -> Fairness:
    """Measure all three sets.

    Args:
        studio: the model.
        stills: folder with faker and london.
        num_stills: portraits of each of these.
        seed: of the random divisions that gaps are compared with.
        advance: called after each portrait.

    Raises:
        ValueError: the stills are missing.
    """
    left_out: list[str] = []
    driver = Driver(studio, carphone())
    found = {
        OPENPEOPLE: _openpeople(studio, driver, advance),
        FAKER: _gathered(_faker(studio, driver, stills / "faker", num_stills), left_out, advance),
        LONDON: _gathered(_london(studio, stills / "london", num_stills), left_out, advance),
    }
    return Fairness(
        comparisons=[
            compare(subjects, grouping, seed=seed)
            for subjects in found.values()
            for grouping in subjects[0].labels
        ],
        num_subjects={name: len(subjects) for name, subjects in found.items()},
        left_out=left_out,
    )


def _gathered(
    tries: Iterator[Callable[[], Subject]], left_out: list[str], advance: Advance
) -> Found:
    """Those that can be measured; the others are named."""
    found = []
    for measure in tries:
        try:
            found.append(measure())
        except (FaceNotFoundError, SeveralFacesError) as error:
            left_out.append(str(error))
        advance()
    if not found:
        raise ValueError(f"Got no portrait that could be measured: {'; '.join(left_out[:3])}")
    return found


def _openpeople(studio: Studio, driver: Driver, advance: Advance) -> Found:
    """A person's figures are means over the studio portrait and the selfie."""
    found = []
    for person in people():
        pictures = (studio_portrait(person), selfie(person))
        sitters = [studio.seat(picture) for picture in pictures]
        scores = mean_scores([driver.move(studio, sitter) for sitter in sitters])
        labels = dict(pictures[0].labels)
        labels["skin tone"] = fitzpatrick_group(labels["skin tone"])
        labels[MEASURED_TONE] = _tone(sitters[0])
        found.append(_subject(person, OPENPEOPLE, labels, (scores, DRIVEN)))
        advance()
    return found


def fitzpatrick_group(label: str) -> str:
    """Fitzpatrick's types in two groups: ten people are too few for six."""
    is_fair = label.split()[-1] in FAIR_FITZPATRICK
    return "Fitzpatrick I-III" if is_fair else "Fitzpatrick IV-VI"


def _faker(
    studio: Studio, driver: Driver, folder: Path, count: int
) -> Iterator[Callable[[], Subject]]:
    sexes = ("female", "male")
    by_sex = [_spread(_files(folder, f"_{sex}_"), count // len(sexes)) for sex in sexes]
    for sex, paths in zip(sexes, by_sex, strict=True):
        for path in paths:
            yield partial(_faker_subject, studio, driver, path, sex)


def _faker_subject(studio: Studio, driver: Driver, path: Path, sex: str) -> Subject:
    sitter = studio.seat(Portrait(name=path.stem, image=read_picture(path)))
    labels = {"sex": sex, MEASURED_TONE: _tone(sitter)}
    return _subject(path.stem, FAKER, labels, (driver.move(studio, sitter), DRIVEN))


def _london(studio: Studio, folder: Path, count: int) -> Iterator[Callable[[], Subject]]:
    for path in _spread(_files(folder, _NEUTRAL), count):
        number = path.stem.split(_NEUTRAL)[1].split("_")[0]
        smiling = _files(folder, f"{_SMILING}{number}_")
        if smiling:
            yield partial(_london_subject, studio, path, smiling[0])


def _london_subject(studio: Studio, path: Path, smiling: Path) -> Subject:
    """A neutral photograph made to smile, against the photograph of the same person smiling."""
    sitter = studio.seat(Portrait(name=path.stem, image=read_picture(path)))
    truth = read_picture(smiling)
    scores = against_truth(studio, sitter, truth)
    return _subject(path.stem, LONDON, {MEASURED_TONE: _tone(sitter)}, (scores, TOWARDS_TRUTH))


def against_truth(studio: Studio, sitter: Sitter, truth: ImageU8) -> Scores:
    """A portrait moved to the very pose and expression of another picture of the same person.

    Raises:
        FaceNotFoundError: the truth shows no face.
    """
    view = studio.view(sitter.source)
    looks = studio.instruments.look(view.of(truth))
    if looks.points is None:
        raise FaceNotFoundError(f"Got no face in the truth of {sitter.portrait.name}")
    assert sitter.looks.points is not None
    meter = ClipMeter(studio.instruments, sitter.looks, has_truth=True)
    shown = moment(1, looks, HeadReference(sitter.looks.points))
    meter.add(studio.copy(sitter, truth), shown)
    return meter.scores()


def _subject(
    name: str, media: str, labels: dict[str, str], measured: tuple[Scores, dict[str, str]]
) -> Subject:
    scores, fields = measured
    figures = {measure: float(getattr(scores, field)) for measure, field in fields.items()}
    return Subject(name=name, media=media, labels=labels, figures=figures)


def _tone(sitter: Sitter) -> str:
    assert sitter.looks.points is not None
    return tone_group(typology_angle(sitter.looks.image, sitter.looks.points))


def _files(folder: Path, part: str) -> list[Path]:
    """Pictures with this in their names, in order.

    Raises:
        ValueError: no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"Got no stills at {folder}: set DIFFFAE_DATA to the folder of the media")
    return sorted(path for path in folder.iterdir() if part in path.name)


def _spread(paths: Sequence[Path], count: int) -> list[Path]:
    """So many, at even steps."""
    if len(paths) <= count:
        return list(paths)
    return [paths[int(index)] for index in np.linspace(0, len(paths) - 1, count)]
