"""Both ways of making frames count the frames asked for, and only those after the warm-up."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streamer.bench.frame_run import (
    DECODE_VIDEO,
    ENCODE_VIDEO,
    LABEL,
    WARM_UPS,
    Media,
    one_after_another,
    overlapped,
)
from streamer.controls import LiveControls
from streamer.engine import Engine, EngineSettings, model_controls
from streamer.errors import UsageError
from streamer_media import FakeReenactor, read_video

pytestmark = pytest.mark.computes

NUM_FRAMES = 20
DRIVER_FRAMES = 130


class Tally:
    """Counts stages instead of timing them."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.calls[name] += 1
        yield

    def forget(self) -> None:
        self.calls.clear()


@pytest.fixture
def media(driver: Path, source: Path, tmp_path: Path) -> Media:
    return Media(driver=driver, portrait=source, folder=tmp_path)


def engine_of(reenactor: Any) -> Engine:
    return Engine(reenactor=reenactor, controls=model_controls(LiveControls(), seed=0))


def test_frames_are_made_one_after_another_and_the_warm_up_is_forgotten(media: Media) -> None:
    model, tally = FakeReenactor(), Tally()
    run = one_after_another(engine_of(model), tally, media, NUM_FRAMES)
    assert model.num_reenacted == WARM_UPS + NUM_FRAMES
    assert tally.calls == {name: NUM_FRAMES for name in (DECODE_VIDEO, ENCODE_VIDEO, LABEL)}
    assert (run.num_frames, len(run.frame_ms)) == (NUM_FRAMES, NUM_FRAMES)
    assert 0 < sum(run.frame_ms) <= 1000 * run.used.wall_s
    assert run.fps == pytest.approx(NUM_FRAMES / run.used.wall_s)
    assert len(read_video(media.folder / "one.nut")[0]) == WARM_UPS + NUM_FRAMES


def test_a_driver_that_ends_early_is_refused(media: Media) -> None:
    with pytest.raises(UsageError, match="has only 130 frames"):
        one_after_another(engine_of(FakeReenactor()), Tally(), media, DRIVER_FRAMES)
    assert list(media.folder.glob("one.nut*")) == []


def test_overlapped_frames_are_those_of_the_offline_command(media: Media, model: Path) -> None:
    reenactor = FakeReenactor()
    settings = EngineSettings(model=str(model))
    run = overlapped(engine_of(reenactor), settings, media, DRIVER_FRAMES - WARM_UPS)
    assert run.num_frames == DRIVER_FRAMES - WARM_UPS
    assert reenactor.num_reenacted == DRIVER_FRAMES
    assert run.frame_ms == ()
    assert run.finish_s > 0
    assert len(read_video(media.folder / "overlapped.mp4")[0]) == DRIVER_FRAMES


def test_an_overlapped_run_of_too_few_frames_is_refused(media: Media, model: Path) -> None:
    settings = EngineSettings(model=str(model))
    with pytest.raises(UsageError, match="fewer than 135 frames"):
        overlapped(engine_of(FakeReenactor()), settings, media, DRIVER_FRAMES)
