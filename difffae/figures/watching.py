"""A driver watched once: what its face does in each frame, and where it does something most."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from difffae.arrays import ImageU8, Points3
from difffae.data.split import read_frames
from difffae.face.motion import distance
from difffae.face.parameters import FaceParameters
from difffae.face.tracker import FaceNotFoundError
from difffae.figures.media import DriverClip
from difffae.figures.signals import TOPICS, Signs, extreme, read_signs
from difffae.metrics.motion import HeadReference
from difffae.pipeline import Pipeline, Source, StreamState

MAX_FRAMES = 200
STRIDE = 2  # a blink lasts four frames or more


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One frame of a driver.

    Attributes:
        image: the frame.
        points: mesh points in it.
        face: what the model's rig reads from it.
        signs: what the face does.
    """

    image: ImageU8
    points: Points3
    face: FaceParameters
    signs: Signs


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A driver's frames that show a face.

    Attributes:
        clip: the driver.
        frames: in order.
    """

    clip: DriverClip
    frames: list[Seen]

    def reference_for(self, source: Source) -> Seen:
        """The frame most like a portrait, as commands choose it by themselves."""
        own = source.face.fitted.parameters
        return min(self.frames, key=lambda frame: distance(frame.face, own))

    def moments(self, reference: Seen) -> Iterator[tuple[str, Seen]]:
        """For each topic the frame where the face does it most, where it does it at all."""
        signs = [frame.signs for frame in self.frames]
        for name, topic in TOPICS.items():
            index = extreme(topic, signs, reference.signs)
            if index is not None:
                yield name, self.frames[index]


def watch(clip: DriverClip, pipeline: Pipeline) -> Watched:
    """Read every second frame of a driver's beginning.

    Raises:
        FaceNotFoundError: no frame shows a face.
        ValueError: the video cannot be read.
    """
    frames: list[Seen] = []
    first: HeadReference | None = None
    for image in islice(read_frames(clip.path), 0, MAX_FRAMES, STRIDE):
        sighting = pipeline.sight(image, StreamState())
        if sighting is None:
            continue
        first = HeadReference(sighting.points) if first is None else first
        frames.append(
            Seen(
                image=image,
                points=sighting.points,
                face=pipeline.rig.read(sighting),
                signs=read_signs(sighting.points, first),
            )
        )
    if not frames:
        raise FaceNotFoundError(f"Got no face in {clip.path}: give a driver that shows one")
    return Watched(clip=clip, frames=frames)
