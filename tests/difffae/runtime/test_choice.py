"""The measured choice: the fastest wins, is remembered, and is never trusted when it fails."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from difffae.runtime import Network, RuntimeUnavailableError
from difffae.runtime.choice import Compile, compile_fastest
from difffae.runtime.network import RuntimeName

SETTINGS = ("fp32",)


class Clock:
    """Time that passes only in networks."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def taking(self, seconds: float) -> Network:
        """A network that takes so long, and answers with it."""

        def run(*inputs: Tensor) -> Tensor:
            self.now_s += seconds
            return torch.full((1,), seconds)

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now_s)
    return clock


class Candidates:
    """Runtimes of given speeds, and how often each was compiled."""

    def __init__(self, clock: Clock, **seconds: float | None) -> None:
        self.num_compiled = dict.fromkeys(seconds, 0)
        self.named: dict[RuntimeName, Compile] = {
            name: self._compile(clock, name, each)  # type: ignore[misc]
            for name, each in seconds.items()
        }

    def _compile(self, clock: Clock, name: str, seconds: float | None) -> Callable[[], Network]:
        def compile_() -> Network:
            self.num_compiled[name] += 1
            if seconds is None:
                raise RuntimeUnavailableError(f"{name} is not here")
            return clock.taking(seconds)

        return compile_


def seconds_of(module: nn.Module, image: Tensor, candidates: Candidates) -> float:
    return float(compile_fastest(module, (image,), candidates.named, SETTINGS)(image))  # type: ignore[arg-type]


def test_the_fastest_runtime_is_chosen(
    one_head: nn.Module, image: Tensor, cache: Path, clock: Clock
) -> None:
    assert seconds_of(one_head, image, Candidates(clock, openvino=3.0, eager=2.0)) == 2.0
    cache.joinpath("choices").rename(cache / "old")
    assert seconds_of(one_head, image, Candidates(clock, openvino=1.0, eager=2.0)) == 1.0


@pytest.mark.usefixtures("cache")
def test_the_second_start_compiles_the_chosen_runtime_alone(
    one_head: nn.Module, image: Tensor, clock: Clock
) -> None:
    seconds_of(one_head, image, Candidates(clock, openvino=1.0, eager=2.0))
    again = Candidates(clock, openvino=9.0, eager=2.0)
    assert seconds_of(one_head, image, again) == 9.0
    assert again.num_compiled == {"openvino": 1, "eager": 0}


@pytest.mark.usefixtures("cache")
def test_other_weights_are_measured_anew(one_head: nn.Module, image: Tensor, clock: Clock) -> None:
    seconds_of(one_head, image, Candidates(clock, openvino=1.0, eager=2.0))
    with torch.no_grad():
        next(one_head.parameters()).add_(1)
    assert seconds_of(one_head, image, Candidates(clock, openvino=9.0, eager=2.0)) == 2.0


@pytest.mark.usefixtures("cache")
def test_a_chosen_runtime_that_fails_later_is_replaced(
    one_head: nn.Module, image: Tensor, clock: Clock
) -> None:
    seconds_of(one_head, image, Candidates(clock, openvino=1.0, eager=2.0))
    assert seconds_of(one_head, image, Candidates(clock, openvino=None, eager=2.0)) == 2.0


def test_a_choice_made_where_one_runtime_was_missing_is_not_kept(
    one_head: nn.Module, image: Tensor, cache: Path, clock: Clock
) -> None:
    assert seconds_of(one_head, image, Candidates(clock, openvino=None, eager=2.0)) == 2.0
    assert not cache.joinpath("choices").exists()
    assert seconds_of(one_head, image, Candidates(clock, openvino=1.0, eager=2.0)) == 1.0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"runtime": 3}', '{"runtime": "onnx"}'])
def test_a_damaged_or_foreign_choice_is_measured_anew(
    one_head: nn.Module, image: Tensor, cache: Path, clock: Clock, text: str
) -> None:
    seconds_of(one_head, image, Candidates(clock, openvino=1.0, eager=2.0))
    [kept] = cache.joinpath("choices").iterdir()
    kept.write_text(text, "utf-8")
    assert seconds_of(one_head, image, Candidates(clock, openvino=9.0, eager=2.0)) == 2.0
    assert json.loads(kept.read_text("utf-8"))["runtime"] == "eager"


def test_a_cache_that_cannot_be_written_only_costs_the_memory(
    one_head: nn.Module, image: Tensor, cache: Path, clock: Clock
) -> None:
    cache.write_text("a file where the folder should be", "utf-8")
    assert seconds_of(one_head, image, Candidates(clock, openvino=3.0, eager=2.0)) == 2.0


@pytest.mark.usefixtures("cache")
def test_without_any_runtime_the_last_reason_is_told(
    one_head: nn.Module, image: Tensor, clock: Clock
) -> None:
    with pytest.raises(RuntimeUnavailableError, match="eager is not here"):
        seconds_of(one_head, image, Candidates(clock, openvino=None, eager=None))
