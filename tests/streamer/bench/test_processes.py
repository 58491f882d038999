"""Processor time and children are those that /proc tells."""

import os
import subprocess
import sys

from streamer.bench.processes import cpu_model, cpu_seconds, descendants


def test_work_shows_as_processor_time() -> None:
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) < before + 0.03:
        sum(range(100_000))
    assert cpu_seconds(os.getpid()) >= before + 0.03


def test_a_process_that_is_gone_costs_nothing_and_has_no_children() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert cpu_seconds(process.pid) == 0
    assert descendants(process.pid) == []


def test_children_of_children_are_found() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", f"print(1); {code}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while len(descendants(process.pid)) < 1:
            pass
        assert process.pid in descendants(os.getpid())
        assert set(descendants(process.pid)) < set(descendants(os.getpid()))
        process.communicate(b"\n")


def test_the_machine_is_named() -> None:
    assert cpu_model().startswith(f"{len(os.sched_getaffinity(0))} × ")
