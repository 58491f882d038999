"""Tasks done side by side in processes, each with tools of its own; findings as they come.

A process that dies, of a decoder's crash or for want of memory, costs only its task.
"""

import contextlib
import logging
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from difffae.data.report import Finding
from difffae.data.shards import CannotWriteError
from difffae.data.tasks import Bench, Task, TaskSettings, run_task

_STOP_WAIT_S = 5


@dataclass(kw_only=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: Task | None = None


def run_tasks(
    tasks: Sequence[Task], settings: TaskSettings, num_workers: int
) -> Iterator[list[Finding]]:
    """Do tasks, in this process if there is one worker; the findings of each as it ends.

    Raises:
        CannotWriteError: the disk is full, read-only or gone.
        ValueError: fewer than one worker.
    """
    if num_workers < 1:
        raise ValueError(f"got {num_workers} workers, expected at least 1: give --workers 1")
    if num_workers == 1:
        bench = Bench(settings)
        for task in tasks:
            yield run_task(task, bench)
        return
    waiting, workers = list(reversed(tasks)), list[_Worker]()
    try:
        workers += [_start(settings) for _ in range(min(num_workers, len(tasks)))]
        for worker in workers:
            _give(worker, waiting)
        while busy := [worker for worker in workers if worker.task is not None]:
            ready = wait([worker.pipe for worker in busy])
            for worker in (one for one in busy if one.pipe in ready):
                yield _take(worker, settings)
                _give(worker, waiting)
    finally:
        for worker in workers:
            _stop(worker)


def _start(settings: TaskSettings) -> _Worker:
    context = multiprocessing.get_context("forkserver")  # imports once, and forks before threads
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe()
    level = logging.getLogger().getEffectiveLevel()
    process = context.Process(target=_serve, args=(settings, theirs, level), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process=process, pipe=ours)


def _give(worker: _Worker, waiting: list[Task]) -> None:
    """Send the next task, if there is one."""
    worker.task = waiting.pop() if waiting else None
    if worker.task is not None:
        with contextlib.suppress(OSError):  # of a dead process `_take` will hear
            worker.pipe.send(worker.task)


def _take(worker: _Worker, settings: TaskSettings) -> list[Finding]:
    """What a worker has to say; a dead one is replaced."""
    task = worker.task
    assert task is not None
    try:
        answer = worker.pipe.recv()
    except (EOFError, OSError):
        _stop(worker)
        code = worker.process.exitcode
        fresh = _start(settings)
        worker.process, worker.pipe = fresh.process, fresh.pipe
        reason = f"the process that read it died with exit code {code}"
        return [Finding(file=file, result="rejected", reason=reason) for file in task.stamps]
    if isinstance(answer, str):
        raise CannotWriteError(answer)
    findings: list[Finding] = answer
    return findings


def _stop(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.terminate()
    worker.process.join(_STOP_WAIT_S)


def _serve(settings: TaskSettings, pipe: Connection, level: int) -> None:
    """A worker's life: tasks in, findings out, a text where the disk is full."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to handle
    logging.basicConfig(level=level, format="%(message)s")
    bench = Bench(settings)
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(run_task(task, bench))
        except CannotWriteError as error:
            pipe.send(str(error))
