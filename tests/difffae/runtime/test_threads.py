"""Stages of a stream share the cores: no library takes more threads than it is given."""

import subprocess
import sys

import pytest

from difffae.runtime.threads import num_stage_threads

_REPORT = """
import cv2, numpy, threadpoolctl, torch
from difffae.runtime.threads import limit_threads

limit_threads(1)
numpy.ones((8, 8)) @ numpy.ones((8, 8))
blas = [one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]
print(torch.get_num_threads(), cv2.getNumThreads(), max(blas))
"""


def test_every_library_keeps_to_the_limit() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _REPORT], capture_output=True, encoding="utf-8", check=True
    )
    assert told.stdout.split() == ["1", "1", "1"]


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (4, 1), (6, 2), (16, 5)])
def test_stages_share_the_cores(cores: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert num_stage_threads() == threads
