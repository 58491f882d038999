"""A mouth that follows the driver's: it opens as far, and lips do not pass through one another."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.face.motion import MotionControls, MotionState, Stage, follow
from difffae.face.parameters import FaceParameters
from plain_motion import PlainRig, controls, face, seen


class SpeakingRig(PlainRig):
    """A rig whose mouth is open as far as its first expression and its shape open it."""

    def mouth_opening(self, parameters: FaceParameters) -> float:
        return float(parameters.expression[0] + parameters.shape[0])

    def open_mouth(self, parameters: FaceParameters, change: float) -> FaceParameters:
        expression = parameters.expression + np.array([change, 0], np.float32)
        return replace(parameters, expression=expression)


def openings(
    own: float, drivers: list[float], stage: Stage, wanted: MotionControls | None = None
) -> list[float]:
    """How far the portrait's mouth is open, frame by frame, its own and the driver's given."""
    rig, state, shown = SpeakingRig(), MotionState(), []
    stage = replace(stage, face=face(90, 110, 50, smile=own - 0.5))
    for opening in drivers:
        driver = seen(face(smile=opening - 0.5))
        state = follow(driver, state, stage, rig, controls() if wanted is None else wanted)
        assert state.shown is not None
        shown.append(rig.mouth_opening(state.shown))
    return shown


@pytest.mark.parametrize(
    ("own", "drivers", "wanted"),
    [
        pytest.param(0.2, [0.0, 0.3, 0.0], [0.2, 0.5, 0.2], id="a smile opens further"),
        pytest.param(0.0, [0.3, 0.1, 0.0], [0.3, 0.1, 0.0], id="lips never cross"),
        pytest.param(
            0.4, [0.2, 0.1, 0.0, 0.3], [0.4, 0.2, 0.0, 0.5], id="lips meet as the driver's"
        ),
        pytest.param(0.3, [0.05, 0.0], [0.3, 0.175], id="but follow no tracker's noise"),
    ],
)
def test_a_mouth_opens_with_the_drivers(
    own: float, drivers: list[float], wanted: list[float], stage: Stage
) -> None:
    np.testing.assert_allclose(openings(own, drivers, stage), wanted, atol=1e-3)


def test_absolute_motion_opens_mouths_of_any_shape_alike(stage: Stage) -> None:
    stage = replace(stage, face=replace(stage.face, shape=np.array([0.9], np.float32)))
    rig, wanted = SpeakingRig(), controls(motion="absolute")
    state = follow(seen(face(smile=-0.2)), MotionState(), stage, rig, wanted)
    assert state.shown is not None
    assert rig.mouth_opening(state.shown) == pytest.approx(0.3, abs=1e-3)


def test_half_the_strength_opens_half_as_far(stage: Stage) -> None:
    half = controls(strength=0.5)
    np.testing.assert_allclose(openings(0.0, [0.3, 0.1], stage, half), [0.15, 0.05], atol=1e-3)
