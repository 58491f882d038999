"""Several sessions on one model that is too slow for all of them: simulated, with its own clock."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from streamer.controls import LiveControls
from streamer.live import SessionSettings
from streamer.load_control import LoadControl, Served
from streamer.load_ladder import is_kept


def asked(steps: int) -> SessionSettings:
    return SessionSettings(portrait="p", controls=LiveControls(steps=steps))


@dataclass
class Camera:
    fps: float
    steps: int
    next_s: float = 0.0
    number: int = 0
    waiting: tuple[int, float] | None = None

    def shoot(self, now_s: float, keep_every: float) -> None:
        """Leave the latest of the frames taken until now that are not left out."""
        while self.next_s <= now_s:
            if is_kept(self.number, keep_every):
                self.waiting = self.number, self.next_s
            self.number += 1
            self.next_s += 1 / self.fps


@dataclass
class Model:
    """One model, served in turn, as the compute process does."""

    cameras: dict[str, Camera]
    step_s: float
    control: LoadControl = field(default_factory=LoadControl)
    now_s: float = 0.0
    served: Counter[str] = field(default_factory=Counter)
    levels: list[int] = field(default_factory=lambda: [0])

    def run(self, until_s: float) -> None:
        for name, camera in self.cameras.items():
            self.control.set(name, asked(camera.steps), asked(camera.steps))
        order = list(self.cameras)
        while self.now_s < until_s:
            for name, camera in self.cameras.items():
                camera.shoot(self.now_s, self.control.keep_every(name))
            ready = [name for name in order if name in self.cameras and self.cameras[name].waiting]
            if not ready:
                self.now_s += 0.001
                continue
            order.remove(ready[0])
            order.append(ready[0])
            self.serve(ready[0])

    def serve(self, name: str) -> None:
        camera = self.cameras[name]
        assert camera.waiting is not None
        (number, received_s), camera.waiting = camera.waiting, None
        model_s = self.step_s * self.control.limited(asked(camera.steps)).controls.steps
        self.now_s += model_s
        self.served[name] += 1
        served = Served(number=number, received_s=received_s, model_s=model_s, now_s=self.now_s)
        self.control.observe(name, served)
        if self.control.level != self.levels[-1]:
            self.levels.append(self.control.level)


def test_two_that_fit_are_left_alone() -> None:
    model = Model({"a": Camera(30, 1), "b": Camera(30, 1)}, step_s=0.014)
    model.run(20)
    assert model.levels == [0]
    assert model.served["a"] == pytest.approx(600, abs=5)


def test_steps_are_given_up_before_frames() -> None:
    model = Model({"a": Camera(30, 4), "b": Camera(30, 1)}, step_s=0.012)
    model.run(20)
    assert model.levels == [0, 1, 2]
    assert model.control.limited(asked(4)).controls.steps == 1
    assert model.control.keep_every("a") == 1


def test_frames_are_left_out_evenly_when_steps_do_not_suffice() -> None:
    model = Model({"a": Camera(30, 4), "b": Camera(30, 1)}, step_s=0.03)
    model.run(10)
    assert model.control.keep_every("a") == model.control.keep_every("b") == 2
    before = model.served.copy()
    model.run(20)
    rates = [(model.served[name] - before[name]) / 10 for name in "ab"]
    assert rates == pytest.approx([15, 15], abs=0.5)


def test_a_slow_camera_gives_nothing_up_before_a_fast_one_has_come_down_to_it() -> None:
    model = Model(
        {"fast": Camera(30, 1), "also": Camera(30, 1), "slow": Camera(10, 1)}, step_s=0.019
    )
    model.run(15)
    assert model.control.keep_every("slow") == 1
    assert model.control.keep_every("fast") > 1
    before = model.served.copy()
    model.run(25)
    rates = {name: (model.served[name] - before[name]) / 10 for name in before}
    assert rates["slow"] == pytest.approx(10, abs=0.5)
    assert rates["fast"] == pytest.approx(rates["also"], abs=0.5)
    assert rates["fast"] == pytest.approx(20, abs=0.5)


def test_who_is_left_alone_gets_all_of_it_back() -> None:
    model = Model({"a": Camera(30, 4), "b": Camera(30, 4)}, step_s=0.03)
    model.run(10)
    assert model.control.level > 2
    del model.cameras["b"]
    model.control.forget("b")
    model.run(60)
    assert (model.control.level, model.control.keep_every("a")) == (0, 1)
    assert model.control.limited(asked(4)) == asked(4)


def test_who_was_always_alone_gives_nothing_up() -> None:
    model = Model({"a": Camera(30, 4)}, step_s=0.05)
    model.run(20)
    assert model.levels == [0]


def test_the_model_is_told_once_of_a_change() -> None:
    control = LoadControl()
    control.set("a", asked(4), asked(4))
    assert control.due("a") is None
    control.set("a", asked(4), asked(2))
    assert control.due("a") == asked(4)
    assert control.wanted("a") == asked(4)
