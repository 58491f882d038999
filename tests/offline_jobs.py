"""Jobs of the offline command for tests, and models that interrupt them."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

from streamer.engine import EngineSettings
from streamer.reenactment import Job
from streamer.segment import View
from streamer_media import FakeReenactor


def job_for(driver: Path, source: Path, **changes: Any) -> Job:
    job = Job(
        driver=driver,
        source=source,
        outputs={View.RESULT: driver.with_name("out.mp4")},
        engine=EngineSettings(model=str(driver.with_name("model"))),
    )
    return replace(job, **changes)


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def interrupt_at(frame: int, number: signal.Signals = signal.SIGINT) -> FakeReenactor:
    def before_frame(count: int) -> None:
        if count == frame:
            signal.raise_signal(number)

    return FakeReenactor(before_frame=before_frame)
