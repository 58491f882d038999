"""Attributes from files: pictures hold, videos move beside the driver, bad files are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from streamer.attributes import Place
from streamer.controls import LiveControls
from streamer.engine import EngineSettings
from streamer.errors import DriverError, PortraitError
from streamer.places import Donors, dressed, read_places
from streamer_media import (
    FakeLoader,
    FakeReenactor,
    FakeSource,
    moving_frames,
    write_video,
)


def picture(folder: Path, name: str = "other.png", shade: int = 0) -> Path:
    """A picture with what the stand-in takes for a face, lighter by some levels."""
    path = folder / name
    image = moving_frames(1, height=80, width=90)[0] + np.uint8(shade)
    PillowImage.fromarray(image).save(path)
    return path


def donors(places: dict[Place, Path], model: FakeReenactor | None = None) -> Donors:
    engine = FakeLoader(model or FakeReenactor())(EngineSettings())
    source = FakeSource(image=moving_frames(1)[0])
    return Donors(engine, source, read_places(places))  # type: ignore[arg-type]


def turned(controls: object) -> float:
    """How far the donor of the pose is turned."""
    return float(controls.edit.pose.parameters.rotation[1])  # type: ignore[attr-defined]


def test_a_picture_gives_all_its_attributes_alike_for_every_frame(tmp_path: Path) -> None:
    path = picture(tmp_path)
    with donors({"pose": path, "light": path}) as given:
        first, second = given.next_controls(), given.next_controls()
    assert first.edit.pose is first.edit.light is second.edit.pose
    assert first.edit.expression is None
    assert turned(first) == pytest.approx(moving_frames(1, height=80, width=90)[0].mean(), abs=0.1)


def test_a_video_moves_beside_the_driver_and_is_held_at_its_end(tmp_path: Path) -> None:
    path = write_video(tmp_path / "pose.mp4", moving_frames(3))
    with donors({"pose": path}) as given:
        levels = [turned(given.next_controls()) for _ in range(5)]
    assert len(set(levels[:3])) == 3
    assert levels[2] == levels[3] == levels[4]


def test_a_video_of_two_attributes_is_read_once(tmp_path: Path) -> None:
    path = write_video(tmp_path / "face.mp4", moving_frames(3))
    model = FakeReenactor()
    with donors({"pose": path, "expression": path}, model) as given:
        controls = given.next_controls()
    assert controls.edit.pose is controls.edit.expression is not None
    assert model.num_skipped == 1


def test_without_files_the_controls_are_the_engines_own() -> None:
    with donors({}) as given:
        assert given.next_controls().edit.pose is None


def test_a_donor_without_a_face_or_with_several_is_one_sentence(tmp_path: Path) -> None:
    plain, two = tmp_path / "plain.png", picture(tmp_path, "two.png")
    PillowImage.new("RGB", (80, 80), (90, 90, 90)).save(plain)
    image = PillowImage.open(two)
    image.putpixel((0, 0), (0, 255, 0))
    image.save(two)
    with pytest.raises(PortraitError, match=r"plain\.png shows no face that an attribute"):
        donors({"expression": plain})
    with pytest.raises(PortraitError, match=r"two\.png shows several faces; cut out the one"):
        donors({"expression": two})


def test_a_video_without_a_face_is_one_sentence(tmp_path: Path) -> None:
    empty = [np.full((64, 96, 3), 120, np.uint8)] * 3
    path = write_video(tmp_path / "empty.mp4", empty)
    with pytest.raises(DriverError, match=r"no face found in the first 10 s of .*empty\.mp4; use"):
        donors({"pose": path})


@pytest.mark.parametrize("place", ["light", "shape", "background", "hair", "clothes"])
def test_what_does_not_move_is_from_pictures_only(tmp_path: Path, place: Place) -> None:
    path = write_video(tmp_path / "v.mp4", moving_frames(3))
    with pytest.raises(PortraitError, match="is not a picture that can be read"):
        read_places({place: path})


def test_a_file_that_is_neither_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no picture", "utf-8")
    with pytest.raises(DriverError, match="is neither a picture nor a video that can be read"):
        read_places({"pose": path})
    with pytest.raises(PortraitError, match="there is no picture"):
        read_places({"pose": tmp_path / "none.png"})


class Dressing:
    """What dressers were told; what they give."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[LiveControls, dict[str, Any]]] = []
        self.source, self.model = object(), FakeReenactor()
        monkeypatch.setattr("streamer.places.make_dresser", lambda model: self._dress)

    def put(self, places: dict[Place, Path], controls: LiveControls) -> object:
        return dressed(self.source, read_places(places), controls, self.model)  # type: ignore[arg-type]

    def _dress(self, source: object, controls: LiveControls, given: dict[str, Any]) -> object:
        self.seen.append((controls, given))
        return "dressed"


def test_a_background_is_put_behind_before_anything_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dressing = Dressing(monkeypatch)
    green = LiveControls(background_colour="#102030")
    assert dressing.put({}, LiveControls()) is dressing.source
    assert dressing.put({}, green) == "dressed"
    person, wall = picture(tmp_path), tmp_path / "wall.png"
    PillowImage.new("RGB", (80, 80), (90, 90, 90)).save(wall)
    for path in (person, wall):
        assert dressing.put({"background": path}, LiveControls()) == "dressed"
    assert dressing.seen[0] == (green, {})
    behind = [given["background"] for _, given in dressing.seen[1:]]
    assert isinstance(behind[0], FakeSource)
    np.testing.assert_array_equal(behind[0].image, np.asarray(PillowImage.open(person)))
    np.testing.assert_array_equal(behind[1], np.asarray(PillowImage.open(wall)))


def test_hair_and_clothes_are_put_on_before_anything_moves_and_are_nobodys_motion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dressing = Dressing(monkeypatch)
    hair, clothes = picture(tmp_path, "hair.png"), picture(tmp_path, "clothes.png", shade=9)
    assert dressing.put({"hair": hair, "clothes": clothes}, LiveControls()) == "dressed"
    [(_, given)] = dressing.seen
    assert set(given) == {"hair", "clothes"}
    np.testing.assert_array_equal(given["hair"].image, np.asarray(PillowImage.open(hair)))
    np.testing.assert_array_equal(given["clothes"].image, np.asarray(PillowImage.open(clothes)))
    with donors({"hair": hair, "clothes": clothes}) as moved:
        edit = moved.next_controls().edit
    assert edit.pose is edit.expression is edit.light is None


def test_a_picture_of_several_things_worn_has_a_face_even_if_its_background_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dressing, path = Dressing(monkeypatch), picture(tmp_path)
    dressing.put({"hair": path, "background": path}, LiveControls())
    [(_, given)] = dressing.seen
    assert given["hair"] is given["background"]
    plain = tmp_path / "plain.png"
    PillowImage.new("RGB", (80, 80), (90, 90, 90)).save(plain)
    for places in ({"hair": plain}, {"hair": plain, "background": plain}, {"clothes": plain}):
        with pytest.raises(PortraitError, match=r"plain\.png shows no face that an attribute"):
            dressing.put(places, LiveControls())  # type: ignore[arg-type]
