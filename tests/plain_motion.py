"""A driver and a portrait whose rig reads plain numbers: for tests of motion."""

from dataclasses import replace

import numpy as np

from difffae.arrays import Lighting, MaskF32, Points3
from difffae.face.morphable import EyeOpenings
from difffae.face.motion import MotionControls, MotionState, Stage, follow
from difffae.face.parameters import FaceParameters, Vector
from difffae.face.regions import Regions
from difffae.face.renderer import Condition
from difffae.face.rig import Sighting
from difffae.face.smoothing import SmoothingConfig
from difffae.face.source_face import SourceFace

FRAME = np.zeros((200, 200, 3), np.uint8)
UNFILTERED = SmoothingConfig(min_cutoff_hz=1e6, beta=0.0)


def face(x: float = 100, y: float = 100, scale: float = 40, smile: float = 0) -> FaceParameters:
    return FaceParameters(
        shape=np.array([0.5], np.float32),
        expression=np.array([smile, 0.25], np.float32),
        gaze=np.zeros(4, np.float32),
        rotation=np.array([0.1, 0, 0], np.float32),
        scale=scale,
        translation=np.array([x, y], np.float32),
    )


def points_of(parameters: FaceParameters) -> Points3:
    """Points that `PlainRig` reads the parameters back from."""
    rows = [
        (*parameters.translation, parameters.scale),
        tuple(parameters.rotation),
        (*parameters.expression, parameters.shape[0]),
        (*parameters.gaze[:2], 0),
        (*parameters.gaze[2:], 0),
    ]
    return np.array(rows, np.float32)


def seen(parameters: FaceParameters) -> Sighting:
    return Sighting(image=FRAME, points=points_of(parameters))


class PlainRig:
    """A rig whose points are its parameters; its second expression opens both eyes."""

    @property
    def expression_spread(self) -> Vector:
        return np.ones(2, np.float32)

    def read(self, sighting: Sighting, person: FaceParameters | None = None) -> FaceParameters:
        points = sighting.points
        parameters = FaceParameters(
            shape=points[2, 2:],
            expression=points[2, :2],
            gaze=points[3:, :2].ravel(),
            rotation=points[1],
            scale=float(points[0, 2]),
            translation=points[0, :2],
        )
        return parameters if person is None else replace(parameters, shape=person.shape)

    def lighting(self, sighting: Sighting) -> Lighting:
        raise NotImplementedError

    def take_apart(self, sighting: Sighting, person_mask: MaskF32) -> SourceFace:
        raise NotImplementedError

    def condition(self, source: SourceFace, shown: FaceParameters, lighting: Lighting) -> Condition:
        raise NotImplementedError

    def without_networks(self) -> "PlainRig":
        return self

    def eye_openings(self, parameters: FaceParameters) -> EyeOpenings:
        return parameters.expression[[1, 1]]

    def open_eyes(self, parameters: FaceParameters, change: EyeOpenings) -> FaceParameters:
        opened = parameters.expression + np.array([0, change.mean()], np.float32)
        return replace(parameters, expression=opened)

    def mouth_opening(self, parameters: FaceParameters) -> float:
        return 0.0

    def open_mouth(self, parameters: FaceParameters, change: float) -> FaceParameters:
        assert change == 0
        return parameters

    def keep_regions(
        self, moved: FaceParameters, still: FaceParameters, regions: Regions
    ) -> FaceParameters:
        kept = np.where([regions.mouth, regions.eyes], moved.expression, still.expression)
        return replace(moved, expression=kept)


def controls(**changes: object) -> MotionControls:
    given = {"motion": "relative", "strength": 1.0, "smoothing": UNFILTERED} | changes
    return MotionControls(**given)  # type: ignore[arg-type]


def shown_after(
    drivers: list[FaceParameters], stage: Stage, wanted: MotionControls | None = None
) -> MotionState:
    state = MotionState()
    for driver in drivers:
        wanted = controls() if wanted is None else wanted
        state = follow(seen(driver), state, stage, PlainRig(), wanted)
    return state


def assert_alike(shown: FaceParameters | None, expected: FaceParameters) -> None:
    assert shown is not None
    np.testing.assert_allclose(shown.motion_vector(), expected.motion_vector(), atol=1e-3)
