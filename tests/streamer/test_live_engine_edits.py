"""The bundled model with edits in live sessions: what is taken back leaves nothing behind."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from difffae.loading import BUNDLED
from streamer import live_engine
from streamer.attributes import PLACES, source_name
from streamer.controls import LiveControls, controls_schema
from streamer.engine import Engine, EngineSettings
from streamer.errors import PortraitError
from streamer.live import SessionSettings, TimedFrame
from streamer.live_engine import MAX_DRESSED, PipelineEngine, load_live_engine
from streamer.portrait import read_portrait

pytestmark = pytest.mark.computes

Image = NDArray[np.uint8]
WAIT_S = 60
EDITS: dict[str, object] = {
    "yaw": 15, "pitch": -10, "roll": 12, "zoom": 1.2, "shift_x": 0.2, "shift_y": -0.1,
    "gaze_x": 20, "gaze_y": -12, "expression_strength": 2, "light_preset": "sunset",
    "light_azimuth": -60, "light_elevation": 40, "light_temperature": 2800, "light_strength": 0.7,
    "light_ambient": 0.1, "background_colour": "#1e7a3c", "background_blur": 12,
}  # fmt: skip
ALONE_WITHOUT_EFFECT = {"shape_strength", "hair_strength", "clothes_strength"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model, said to have slots that are regions if it does not say so by itself."""
    folder = tmp_path_factory.mktemp("model")
    for path in (BUNDLED / "lite-256").iterdir():
        (folder / path.name).symlink_to(path)
    config = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    regions = ["face", "hair", "clothes", "background"]
    config["model"]["region_encoder"].setdefault("regions", regions)
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return folder


@pytest.fixture(scope="module")
def engine(model: Path) -> PipelineEngine:
    return load_live_engine(EngineSettings(model=str(model), runtime="eager"))


@pytest.fixture(scope="module")
def names(engine: PipelineEngine, openpeople: list[Path]) -> list[str]:
    """Two portraits that the engine knows."""
    pictures = [read_portrait(path)[::8, ::8].copy() for path in openpeople[:2]]
    return [engine.add_portrait(picture) for picture in pictures]


@pytest.fixture(scope="module")
def frames(carphone: Path) -> list[Image]:
    with av.open(str(carphone)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return decoded[::8]


def timed(image: Image, number: int) -> TimedFrame:
    return TimedFrame(image=image, number=number, times_s={})


def test_every_edit_shows_at_the_next_frame_and_taken_back_the_frames_are_the_very_same(
    engine: PipelineEngine, names: list[str], frames: list[Image]
) -> None:
    donors = {source_name(place): names[1] for place in PLACES}
    edits = {**EDITS, **donors}
    schema = controls_schema()
    numbers = {name for name, entry in schema.items() if "min" in entry} - {"strength", "smoothing"}
    assert numbers | {"light_preset", "background_colour"} == {*EDITS} | ALONE_WITHOUT_EFFECT
    plain = SessionSettings(portrait=names[0])
    engine.open("never", plain)
    engine.open("edited", plain)
    for number, (name, value) in enumerate(edits.items()):
        image = frames[number % len(frames)]
        expected = engine.process("never", timed(image, number)).image
        before = engine.process("edited", timed(image, number)).image
        np.testing.assert_array_equal(before, expected, err_msg=f"before {name}")
        changed = LiveControls().changed({name: value})
        settings = SessionSettings(portrait=names[0], controls=changed)
        engine.make_ready(settings)
        engine.update("edited", settings)
        following = frames[(number + 1) % len(frames)]
        expected = engine.process("never", timed(following, number)).image
        edited = engine.process("edited", timed(following, number)).image
        assert (edited != expected).any(), name
        reset = changed.changed({name: schema[name]["default"]})
        engine.update("edited", SessionSettings(portrait=names[0], controls=reset))
    engine.close("never")
    engine.close("edited")


def test_an_unknown_portrait_for_an_attribute_changes_nothing(
    engine: PipelineEngine, names: list[str], frames: list[Image]
) -> None:
    plain = SessionSettings(portrait=names[0])
    engine.open("kept", plain)
    engine.open("never", plain)
    wrong = SessionSettings(portrait=names[0], controls=LiveControls(light_from="0" * 64))
    with pytest.raises(PortraitError, match="not known here any more; choose it again"):
        engine.update("kept", wrong)
    unmade = SessionSettings(portrait=names[0], controls=LiveControls(background_blur=77))
    with pytest.raises(
        PortraitError, match="background or swap is not there any more; choose it again"
    ):
        engine.update("kept", unmade)
    shown = [engine.process(name, timed(frames[0], 0)).image for name in ("kept", "never")]
    np.testing.assert_array_equal(*shown)
    engine.close("kept")
    engine.close("never")


class Reenactor:
    """Shows portraits unmoved."""

    def encode_source(self, image: Image, *, face: int | None = None) -> Any:
        return SimpleNamespace(image=image)

    def open_stream(self, source: Any, controls: Any) -> None:
        return None

    def prepare(self, frame: Any, source: Any, state: None, controls: Any) -> tuple[None, None]:
        return None, None

    def paint(self, prepared: None, source: Any, controls: Any, trail: None = None) -> Any:
        return SimpleNamespace(image=source.image, is_tracked=True, is_in_company=False, trail=None)


class Dresser:
    """Adds the blur to all pixels; waits where the blur is 99."""

    def __init__(self, model: Reenactor) -> None:
        self.model = model
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.num_made = 0
        self.given: dict[str, Any] = {}

    def __call__(self, source: Any, controls: LiveControls, given: Any) -> Any:
        self.num_made += 1
        if controls.background_blur == 99:
            self.begun.set()
            assert self.go_on.wait(WAIT_S)
        self.given = given
        return SimpleNamespace(image=source.image + np.uint8(controls.background_blur))


def dressed_engine(monkeypatch: pytest.MonkeyPatch) -> tuple[PipelineEngine, list[Dresser]]:
    made: list[Dresser] = []

    def make(model: Any) -> Dresser:
        made.append(Dresser(model))
        return made[-1]

    monkeypatch.setattr(live_engine, "make_dresser", make)
    frames, encoder, controls = Reenactor(), Reenactor(), SimpleNamespace(seed=0, warm_start=None)
    model: Any = Engine(reenactor=frames, controls=controls, beside=lambda: encoder)  # type: ignore[arg-type, return-value]
    return PipelineEngine(model), made


def shade(value: int) -> Image:
    return np.full((64, 64, 3), value, np.uint8)


def blurred(name: str, blur: float) -> SessionSettings:
    return SessionSettings(portrait=name, controls=LiveControls(background_blur=blur))


def test_frames_go_on_while_a_background_is_made_once_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, made = dressed_engine(monkeypatch)
    name = engine.add_portrait(shade(7))
    engine.open("one", SessionSettings(portrait=name))
    engine.make_ready(SessionSettings(portrait=name))
    assert made == []
    with ThreadPoolExecutor(2) as beside:
        engine.make_ready(blurred(name, 1))
        [dresser] = made
        making = [beside.submit(engine.make_ready, blurred(name, 99)) for _ in range(2)]
        assert dresser.begun.wait(WAIT_S)
        shown = engine.process("one", timed(shade(0), 0)).image
        np.testing.assert_array_equal(shown, shade(7))
        engine.update("one", blurred(name, 1))
        np.testing.assert_array_equal(engine.process("one", timed(shade(0), 1)).image, shade(8))
        dresser.go_on.set()
        for each in making:
            each.result(WAIT_S)
    assert dresser.num_made == 2
    assert dresser.model is not engine._reenactor
    engine.open("two", blurred(name, 99))
    np.testing.assert_array_equal(engine.process("two", timed(shade(0), 0)).image, shade(106))


def test_a_background_that_is_shown_stays_when_others_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, _ = dressed_engine(monkeypatch)
    name = engine.add_portrait(shade(7))
    engine.make_ready(blurred(name, 1))
    engine.open("one", blurred(name, 1))
    for blur in range(2, MAX_DRESSED + 4):
        engine.make_ready(blurred(name, blur))
    with pytest.raises(PortraitError, match="choose it again"):
        engine.open("two", blurred(name, 1))
    engine.update(
        "one", SessionSettings(portrait=name, controls=LiveControls(background_blur=1, yaw=3))
    )
    np.testing.assert_array_equal(engine.process("one", timed(shade(0), 0)).image, shade(8))


def test_who_is_worn_is_told_to_the_dresser_and_another_share_is_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, made = dressed_engine(monkeypatch)
    name, other = (engine.add_portrait(shade(value)) for value in (7, 50))

    def wearing(**controls: Any) -> SessionSettings:
        return SessionSettings(portrait=name, controls=LiveControls(hair_from=other, **controls))

    engine.make_ready(wearing())
    [dresser] = made
    assert list(dresser.given) == ["hair"]
    np.testing.assert_array_equal(dresser.given["hair"].image, shade(50))
    engine.open("one", wearing())
    for changed in ({"hair_strength": 0.5}, {"swap": "tokens"}, {"clothes_from": name}):
        with pytest.raises(PortraitError, match="swap is not there any more"):
            engine.update("one", wearing(**changed))
        engine.make_ready(wearing(**changed))
        engine.update("one", wearing(**changed))
    assert dresser.num_made == 4
    engine.make_ready(wearing(yaw=3))
    assert dresser.num_made == 4
