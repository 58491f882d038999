"""Tasks done on a Ray cluster, by Ray Data: the same tasks and tools as in local processes.

All machines have to see the folder and the output under the same paths: a shared file system.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from difffae.data.report import Finding
from difffae.data.shards import CannotWriteError
from difffae.data.tasks import Bench, Task, TaskSettings, run_task

_MAX_BLOCKS = 2048  # findings come block by block


class RayWorker:
    """One actor on the cluster: rows that number tasks in, rows of findings out."""

    def __init__(self, tasks: Sequence[Task], settings: TaskSettings) -> None:
        self._tasks = tasks
        self._bench = Bench(settings)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, str]:
        """Do the task of a row; `error` says that its machine's disk is full."""
        try:
            findings = run_task(self._tasks[int(row["task"])], self._bench)
        except CannotWriteError as error:
            return {"findings": "[]", "error": str(error)}
        return {"findings": json.dumps([asdict(finding) for finding in findings]), "error": ""}


def run_on_ray(
    tasks: Sequence[Task], settings: TaskSettings, address: str, num_workers: int
) -> Iterator[list[Finding]]:
    """Do tasks on the cluster at an address; the findings of each as it ends.

    Args:
        tasks: what to do.
        settings: of the run.
        address: as `ray.init` takes it: "auto", "HOST:PORT" or "ray://HOST:PORT".
        num_workers: actors, of one CPU each.

    Raises:
        CannotWriteError: a machine's disk is full, read-only or gone.
        ValueError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray  # type: ignore[import-not-found, unused-ignore]
        import ray.data  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ValueError(
            f'got --ray, but no Ray to import ({error}): pip install "difffae-streamer[scale]"'
        ) from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(f"got no Ray cluster at {address} ({error}): start one first") from error
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    # Blocks made here need no CPU of the cluster: the workers may hold all there are.
    rows = ray.data.from_items(
        [{"task": number} for number in range(len(tasks))],
        override_num_blocks=min(len(tasks), _MAX_BLOCKS),
    )
    pool = ray.data.ActorPoolStrategy(size=num_workers, max_tasks_in_flight_per_actor=1)
    done = rows.map(
        RayWorker, fn_constructor_args=(tuple(tasks), settings), compute=pool, num_cpus=1
    )
    try:
        for row in done.iter_rows():
            if row["error"]:
                raise CannotWriteError(row["error"])
            yield [Finding(**finding) for finding in json.loads(row["findings"])]
    finally:
        ray.shutdown()
