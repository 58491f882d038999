"""The bundled model at work for live sessions."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamer import live_engine
from streamer.controls import LiveControls
from streamer.engine import Engine, EngineSettings
from streamer.errors import PortraitError
from streamer.live import SessionSettings, TimedFrame
from streamer.live_engine import MAX_PORTRAITS, PipelineEngine, load_live_engine
from streamer.portrait import read_portrait

pytestmark = pytest.mark.computes

Frames = list[NDArray[np.uint8]]


@pytest.fixture(scope="module")
def engine() -> PipelineEngine:
    return load_live_engine(EngineSettings(runtime="eager"))


@pytest.fixture(scope="module")
def picture(portrait: Path) -> NDArray[np.uint8]:
    return read_portrait(portrait)[::2, ::2].copy()


@pytest.fixture(scope="module")
def frames(carphone: Path) -> Frames:
    with av.open(str(carphone)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return decoded[::4]


@pytest.fixture(scope="module")
def portrait_id(engine: PipelineEngine, picture: NDArray[np.uint8]) -> str:
    return engine.add_portrait(picture)


Opened = Callable[..., str]


@pytest.fixture
def opened(engine: PipelineEngine, portrait_id: str, request: pytest.FixtureRequest) -> Opened:
    """Opens a session of its own, closed after the test."""

    def open_session(name: str = "one", **controls: object) -> str:
        settings = SessionSettings(
            portrait=portrait_id,
            controls=LiveControls(**controls),  # type: ignore[arg-type]
        )
        engine.open(name, settings)
        request.addfinalizer(lambda: engine.close(name))
        return name

    return open_session


def timed(image: NDArray[np.uint8], number: int) -> TimedFrame:
    return TimedFrame(image=image, number=number, times_s={"received": 0.5})


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_the_still_portrait_is_shown_at_a_calls_size(
    engine: PipelineEngine, portrait_id: str
) -> None:
    still = engine.open("still", SessionSettings(portrait=portrait_id))
    engine.close("still")
    assert max(still.shape[:2]) <= EngineSettings().max_side_px


def test_a_portrait_is_known_by_its_content(
    engine: PipelineEngine, picture: NDArray[np.uint8], portrait_id: str
) -> None:
    assert engine.add_portrait(picture.copy()) == portrait_id


def test_the_portrait_moves_with_the_driver_and_times_are_kept(
    engine: PipelineEngine, opened: Opened, frames: Frames
) -> None:
    session = opened()
    results = [engine.process(session, timed(image, n)) for n, image in enumerate(frames[:12])]
    assert [result.number for result in results] == list(range(12))
    assert all(result.face == "tracked" for result in results)
    assert difference(results[0].image, results[-1].image) > 0.5
    times = results[-1].times_s
    assert times["received"] == 0.5
    assert times["model_begun"] < times["model_done"]


def test_without_a_face_the_portrait_is_shown_and_never_the_camera(
    engine: PipelineEngine, opened: Opened
) -> None:
    session = opened()
    camera = np.zeros((240, 320, 3), np.uint8)
    camera[..., 1] = 255
    result = engine.process(session, timed(camera, 0))
    assert result.face == "lost"
    assert difference(result.image, np.full_like(result.image, (0, 255, 0))) > 50


def test_two_sessions_do_not_hear_of_each_other(
    engine: PipelineEngine, opened: Opened, frames: Frames
) -> None:
    alone = opened("alone")
    expected = [engine.process(alone, timed(image, n)).image for n, image in enumerate(frames[:4])]
    first, second = opened("first"), opened("second", strength=0.0)
    for number, image in enumerate(frames[:4]):
        shown = engine.process(first, timed(image, number)).image
        engine.process(second, timed(frames[-1 - number], number))
        np.testing.assert_array_equal(shown, expected[number])


def test_controls_change_between_two_frames(
    engine: PipelineEngine, opened: Opened, frames: Frames, portrait_id: str
) -> None:
    session = opened()
    for number, image in enumerate(frames[:8]):
        moving = engine.process(session, timed(image, number)).image
    still = SessionSettings(portrait=portrait_id, controls=LiveControls(strength=0.0))
    engine.update(session, still)
    held = engine.process(session, timed(frames[8], 8)).image
    rest = engine.process(opened("rest", strength=0.0), timed(frames[0], 0)).image
    assert difference(held, rest) < 0.05 < difference(moving, rest)


def test_a_new_reference_is_where_motion_starts_from(
    engine: PipelineEngine, opened: Opened, frames: Frames
) -> None:
    session, rest = opened(), opened("rest")
    at_rest = engine.process(rest, timed(frames[0], 0)).image
    for number, image in enumerate(frames[:10]):
        before = engine.process(session, timed(image, number)).image
    engine.reference(session, "set")
    for number in range(10, 30):  # smoothing comes to rest
        after = engine.process(session, timed(frames[9], number)).image
    assert difference(after, at_rest) < 0.5 * difference(before, at_rest)
    engine.reference(session, "auto")
    engine.reference(session, "reset")
    again = engine.process(session, timed(frames[3], 30)).image
    assert difference(again, at_rest) < 0.2


def test_an_unknown_portrait_is_refused(engine: PipelineEngine) -> None:
    with pytest.raises(PortraitError, match="choose it again"):
        engine.open("lost", SessionSettings(portrait="0" * 64))


def test_a_picture_without_a_face_is_refused(engine: PipelineEngine) -> None:
    with pytest.raises(PortraitError, match="no face"):
        engine.add_portrait(np.full((300, 300, 3), 120, np.uint8))


class CountingReenactor:
    """Knows portraits by their first pixel and shows them unmoved."""

    def encode_source(self, image: NDArray[np.uint8], *, face: int | None = None) -> Any:
        return SimpleNamespace(image=image)

    def open_stream(self, source: Any, controls: Any) -> None:
        return None

    def prepare(self, frame: Any, source: Any, state: None, controls: Any) -> tuple[None, None]:
        return None, None

    def paint(self, prepared: None, source: Any, controls: Any, trail: Any = None) -> Any:
        return SimpleNamespace(image=source.image, is_tracked=True, is_in_company=False, trail=None)


def test_a_session_hands_each_frames_trail_to_its_own_next_frame() -> None:
    class Leaving(CountingReenactor):
        given: ClassVar[list[Any]] = []

        def paint(self, prepared: None, source: Any, controls: Any, trail: Any = None) -> Any:
            self.given.append(trail)
            return SimpleNamespace(
                image=source.image, is_tracked=True, is_in_company=False, trail=len(self.given)
            )

    controls = SimpleNamespace(seed=0, warm_start=None)
    engine = PipelineEngine(Engine(reenactor=Leaving(), controls=controls))  # type: ignore[arg-type]
    settings = SessionSettings(portrait=engine.add_portrait(np.full((64, 64, 3), 9, np.uint8)))
    num_warm_up = len(Leaving.given)
    for name in ("one", "two"):
        engine.open(name, settings)
    frame = timed(np.zeros((8, 8, 3), np.uint8), 0)
    first, second = engine.prepare("one", frame), engine.prepare("one", frame)
    first(), engine.process("two", frame), second()
    assert Leaving.given[num_warm_up:] == [None, None, num_warm_up + 1]


def test_portraits_that_nobody_shows_are_forgotten_past_the_limit() -> None:
    model = Engine(reenactor=CountingReenactor(), controls=SimpleNamespace(seed=0, warm_start=None))  # type: ignore[arg-type]
    engine = PipelineEngine(model)
    pictures = [np.full((64, 64, 3), shade, np.uint8) for shade in range(MAX_PORTRAITS + 5)]
    first = engine.add_portrait(pictures[0])
    engine.open("one", SessionSettings(portrait=first))
    names = [engine.add_portrait(picture) for picture in pictures[1:]]
    shown = engine.process("one", timed(pictures[3], 0)).image
    np.testing.assert_array_equal(shown, pictures[0])
    with pytest.raises(PortraitError, match="choose it again"):
        engine.open("two", SessionSettings(portrait=names[0]))
    np.testing.assert_array_equal(
        engine.open("two", SessionSettings(portrait=names[-1])), pictures[-1]
    )
    assert engine.add_portrait(pictures[1]) == names[0]
    engine.open("three", SessionSettings(portrait=names[0]))


def test_a_mirrored_camera_is_used_as_its_mirror_image_is(
    engine: PipelineEngine, opened: Opened, frames: Frames
) -> None:
    plain, mirrored = opened("plain"), opened("mirrored", mirror=True)
    for number, image in enumerate(frames[:3]):
        expected = engine.process(plain, timed(image, number)).image
        flipped = np.ascontiguousarray(image[:, ::-1])
        shown = engine.process(mirrored, timed(flipped, number)).image
        np.testing.assert_array_equal(shown, expected)


def test_a_change_of_mirroring_begins_with_a_new_reference(
    engine: PipelineEngine, opened: Opened, frames: Frames, portrait_id: str
) -> None:
    session, fresh = opened(), opened("fresh", mirror=True)
    for number, image in enumerate(frames[:8]):
        moved = engine.process(session, timed(image, number)).image
    mirrored = SessionSettings(portrait=portrait_id, controls=LiveControls(mirror=True))
    engine.update(session, mirrored)
    result = engine.process(session, timed(frames[7], 9))
    begun = engine.process(fresh, timed(frames[7], 0)).image
    assert result.face == "tracked"
    assert difference(result.image, begun) < 0.05 < difference(moved, begun)


def test_several_faces_are_told_while_the_first_one_is_followed(
    engine: PipelineEngine,
    opened: Opened,
    picture: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_engine, "_LOOK_EVERY", 2)
    session = opened(strength=0.0)
    person = cv2.resize(picture, (320, 320))
    alone, both = np.full((320, 640, 3), 128, np.uint8), np.concatenate([person, person], 1)
    alone[:, :320] = person
    told = [engine.process(session, timed(alone, n)).face for n in range(2)]
    told += [engine.process(session, timed(both, n)).face for n in range(2, 5)]
    assert told == ["tracked"] * 4 + ["several"]
    told = [engine.process(session, timed(alone, n)).face for n in range(5, 10)]
    assert told[-1] == "tracked"
