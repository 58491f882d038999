"""Portraits that are encoded in one thread while another moves frames."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.engine import Engine, EngineSettings, load_engine
from streamer.live import SessionSettings, TimedFrame
from streamer.live_engine import PipelineEngine
from streamer.portrait import read_portrait

pytestmark = pytest.mark.computes

WAIT_S = 60
Image = NDArray[np.uint8]


class Reenactor:
    """Shows portraits unmoved, and waits where an event is given before it encodes one."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.num_encoded = 0

    def encode_source(self, image: Image, *, face: int | None = None) -> Any:
        self.num_encoded += 1
        if image.max() > 100:
            self.begun.set()
            assert self.go_on.wait(WAIT_S)
        return SimpleNamespace(image=image)

    def open_stream(self, source: Any, controls: Any) -> None:
        return None

    def restart(self, state: None) -> None:
        return None

    def prepare(self, frame: Any, source: Any, state: None, controls: Any) -> tuple[None, None]:
        return None, None

    def paint(self, prepared: None, source: Any, controls: Any, trail: Any = None) -> Any:
        return SimpleNamespace(image=source.image, is_tracked=True, is_in_company=False, trail=None)


def engine_of(frames: Reenactor, encoder: Reenactor) -> PipelineEngine:
    controls: Any = SimpleNamespace(seed=0, warm_start=None)
    reenactor: Any = frames
    return PipelineEngine(
        Engine(reenactor=reenactor, controls=controls, beside=lambda: encoder)  # type: ignore[arg-type, return-value]
    )


def shade(value: int) -> Image:
    return np.full((64, 64, 3), value, np.uint8)


def timed(image: Image, number: int) -> TimedFrame:
    return TimedFrame(image=image, number=number, times_s={})


def test_frames_and_known_portraits_do_not_wait_for_an_encoding_and_two_of_one_are_one() -> None:
    frames, encoder = Reenactor(), Reenactor()
    engine = engine_of(frames, encoder)
    known = engine.add_portrait(shade(7))
    engine.open("one", SessionSettings(portrait=known))
    with ThreadPoolExecutor(2) as beside:
        encodings = [beside.submit(engine.add_portrait, shade(200)) for _ in range(2)]
        assert encoder.begun.wait(WAIT_S)
        for number in range(3):
            shown = engine.process("one", timed(shade(0), number))
            np.testing.assert_array_equal(shown.image, shade(7))
        assert engine.add_portrait(shade(7)) == known
        encoder.go_on.set()
        names = {encoding.result(WAIT_S) for encoding in encodings}
    assert len(names) == 1
    assert (frames.num_encoded, encoder.num_encoded) == (0, 2)
    engine.update("one", SessionSettings(portrait=names.pop()))
    np.testing.assert_array_equal(engine.process("one", timed(shade(0), 9)).image, shade(200))


def test_a_portrait_encoded_beside_frames_is_the_same_and_so_are_the_frames(
    carphone: Path, openpeople: list[Path]
) -> None:
    with av.open(str(carphone)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][:3]
    one, other = [read_portrait(path)[::4, ::4].copy() for path in openpeople[:2]]
    loaded = load_engine(EngineSettings())
    alone, shared = PipelineEngine(loaded), PipelineEngine(loaded)

    def shown(engine: PipelineEngine, session: str, name: str) -> list[Image]:
        engine.open(session, SessionSettings(portrait=name))
        return [engine.process(session, timed(image, n)).image for n, image in enumerate(frames)]

    expected = [shown(alone, "session", alone.add_portrait(image)) for image in (one, other)]
    first = shared.add_portrait(one)
    with ThreadPoolExecutor(1) as beside:
        encoding = beside.submit(shared.add_portrait, other)
        rounds = [shown(shared, "one", first)]
        while not encoding.done():
            rounds.append(shown(shared, "one", first))
        second = shown(shared, "two", encoding.result())
    for moved in rounds:
        np.testing.assert_array_equal(moved, expected[0])
    np.testing.assert_array_equal(second, expected[1])
