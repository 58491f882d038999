"""A disk that is full, at any moment of a run, is one sentence, and no work is lost."""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from offline_jobs import interrupt_at, job_for, listing
from streamer import segment as segment_module
from streamer.errors import OutputError
from streamer.reenactment import reenact_file
from streamer_media import FakeLoader, FakeReenactor, read_video

pytestmark = pytest.mark.computes


@contextmanager
def file_size_limit(num_bytes: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: what a full disk looks like to a writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("num_bytes", [3000, 60_000])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    driver: Path, source: Path, num_bytes: int
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    PillowImage.fromarray(noise).save(source)
    before = listing(source.parent)
    with file_size_limit(num_bytes), pytest.raises(OutputError, match=r"cannot write .*out\.mp4: "):
        reenact_file(job_for(driver, source), load=FakeLoader(FakeReenactor()))
    assert listing(source.parent) == before


def test_a_disk_full_after_all_frames_fails_in_the_last_step(driver: Path, source: Path) -> None:
    output = source.with_name("out.mp4")
    job = job_for(driver, source, can_resume=True)
    with pytest.raises(KeyboardInterrupt):
        reenact_file(job, load=FakeLoader(interrupt_at(129)))
    largest = max(path.stat().st_size for path in job.partial_folder.iterdir())
    with file_size_limit(largest + 500), pytest.raises(OutputError):
        reenact_file(job, load=FakeLoader(FakeReenactor()))
    assert not output.exists()
    assert job.partial_folder.is_dir()
    assert reenact_file(job, load=FakeLoader(FakeReenactor())).num_resumed >= 100
    assert len(read_video(output)[0]) == 130


def test_no_space_while_flushing_keeps_a_resumed_run(
    driver: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_for(driver, source, can_resume=True)
    with pytest.raises(KeyboardInterrupt):
        reenact_file(job, load=FakeLoader(interrupt_at(60)))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(segment_module.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device; free some space"):
        reenact_file(job, load=FakeLoader(FakeReenactor()))
    monkeypatch.undo()
    assert reenact_file(job, load=FakeLoader(FakeReenactor())).num_resumed == 50
