import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from difffae.face.mediapipe import MediaPipeTracker
from difffae.face.tracker import FaceNotFoundError, SeveralFacesError, pick_face
from difffae.runtime import RuntimeName
from difffae.scenery import Blur, SwapError
from streamer.controls import LiveControls
from streamer.engine import (
    EngineSettings,
    Runtime,
    driver_errors,
    find_model,
    load_engine,
    make_dresser,
    portrait_errors,
)
from streamer.errors import ControlError, DriverError, ModelError, PortraitError
from streamer.portrait import read_portrait

pytestmark = pytest.mark.computes


@pytest.fixture(scope="module")
def tracker() -> MediaPipeTracker:
    return MediaPipeTracker()


def refused_portrait(path: Path, tracker: MediaPipeTracker, face: int | None = None) -> str:
    image = read_portrait(path)
    with pytest.raises(PortraitError) as caught, portrait_errors(path):
        pick_face(tracker.find_faces(image), face)
    return str(caught.value)


def test_a_real_portrait_passes(portrait: Path, tracker: MediaPipeTracker) -> None:
    image = read_portrait(portrait)
    with portrait_errors(portrait):
        points = pick_face(tracker.find_faces(image), None)
    assert points.shape == (478, 3)


def test_a_real_picture_without_a_face_is_named(tmp_path: Path, tracker: MediaPipeTracker) -> None:
    y, x = np.mgrid[0:480, 0:640]
    hills = np.where(y > 300 + 60 * np.sin(x / 80), 90, 200).astype(np.uint8)
    Image.fromarray(np.stack([hills, 255 - hills // 2, hills], axis=2)).save(tmp_path / "hills.png")
    assert "hills.png: no face found" in refused_portrait(tmp_path / "hills.png", tracker)


def test_several_real_faces_are_counted_and_can_be_picked(
    tmp_path: Path, openpeople: list[Path], tracker: MediaPipeTracker
) -> None:
    people = [np.asarray(Image.open(path).resize((512, 512))) for path in openpeople[:2]]
    Image.fromarray(np.concatenate(people, axis=1)).save(tmp_path / "two.png")
    sentence = refused_portrait(tmp_path / "two.png", tracker)
    assert "two.png: 2 faces found" in sentence
    assert "--face N, 1 being the leftmost" in sentence
    assert "only 2 found" in refused_portrait(tmp_path / "two.png", tracker, face=3)
    right = pick_face(tracker.find_faces(read_portrait(tmp_path / "two.png")), 2)
    assert right[:, 0].min() > 500


def test_a_driver_without_a_face_says_where() -> None:
    with (
        pytest.raises(DriverError, match=r"no face found in frame 3 of v\.mp4"),
        driver_errors("frame 3 of v.mp4"),
    ):
        raise FaceNotFoundError("none")


@pytest.mark.parametrize("guard", [portrait_errors(Path("p")), driver_errors("v")])
def test_other_errors_are_not_taken_for_the_users(guard: Any) -> None:
    with pytest.raises(ValueError, match="shapes differ"), guard:
        raise ValueError("shapes differ")


def test_several_faces_in_a_portrait_keep_the_models_advice() -> None:
    with pytest.raises(PortraitError, match="1 to 3"), portrait_errors(Path("p.jpg")):
        raise SeveralFacesError("3 faces found: pick one by its number, 1 to 3")


def test_pickles_are_refused_by_name(tmp_path: Path) -> None:
    for name in ("model.pt", "model.pth", "model.ckpt", "model.pkl", "model.bin"):
        (tmp_path / name).write_bytes(pickle.dumps({"weight": 1}))
        with pytest.raises(ModelError, match=f"{name} is a pickle, which can run any code"):
            find_model(str(tmp_path / name))
    with pytest.raises(ModelError, match=r"model\.bin is a pickle"):
        find_model(str(tmp_path))


def test_an_unknown_model_is_refused_and_a_folder_found(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model lite-999; name a bundled one"):
        find_model("lite-999")
    assert find_model(str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    "error",
    [
        AssertionError("Torch not compiled with CUDA enabled"),
        RuntimeError("No CUDA GPUs are available"),
        ValueError("sha256 differs"),
    ],
)
def test_what_stops_loading_is_told_in_one_line(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("difffae.load_pipeline", fail)
    with pytest.raises(ModelError, match=f"cannot load model .* on cuda: {error}"):
        load_engine(EngineSettings(model=str(tmp_path), device="cuda"))


def test_wrong_weights_are_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(ModelError, match=r"cannot load model .*mine on cpu: "):
        load_engine(EngineSettings(model=str(folder)))
    (folder / "config.yaml").write_text("model: [", "utf-8")
    with pytest.raises(ModelError, match=r"cannot load model .*mine on cpu: "):
        load_engine(EngineSettings(model=str(folder)))


def test_the_runtimes_offered_are_those_of_the_model() -> None:
    assert get_args(Runtime) == get_args(RuntimeName)


class Told:
    """Stands in for the editor of scenery: keeps what it is told, or refuses it."""

    def __init__(self, refusal: str = "") -> None:
        self.refusal = refusal
        self.seen: list[Any] = []

    def __call__(self, pipeline: object) -> "Told":
        return self

    def edit(self, source: object, scenery: object) -> object:
        if self.refusal:
            raise SwapError(self.refusal)
        self.seen.append(scenery)
        return source


def test_what_is_worn_reaches_the_model_with_its_shares_and_its_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Told()
    monkeypatch.setattr("difffae.scenery.SceneryEditor", told)
    monkeypatch.setattr("difffae.scenery.Exchange", SimpleNamespace)
    monkeypatch.setattr("difffae.scenery.Scenery", SimpleNamespace)
    hair, clothes, behind = object(), object(), object()
    controls = LiveControls(hair_strength=0.25, clothes_strength=0.5, swap="tokens")
    given: Any = {"hair": hair, "clothes": clothes, "background": behind}
    model: Any = object()
    make_dresser(model)(model, controls, given)
    make_dresser(model)(model, LiveControls(background_blur=3), {})
    first, second = told.seen
    assert first.hair == SimpleNamespace(donor=hair, amount=0.25)
    assert first.clothes == SimpleNamespace(donor=clothes, amount=0.5)
    assert first.background == SimpleNamespace(donor=behind)
    assert first.way == "tokens"
    assert second.hair is second.clothes is None
    assert second.background == Blur(radius=3)


def test_a_swap_that_the_model_cannot_make_is_a_control_that_it_cannot_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("difffae.scenery.SceneryEditor", Told("the hair cannot be swapped: why"))
    model: Any = object()
    with pytest.raises(ControlError, match="the hair cannot be swapped: why"):
        make_dresser(model)(model, LiveControls(background_blur=3), {})
