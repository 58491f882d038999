"""Preparation on a Ray cluster of two nodes, both on this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from difffae.data.prepare import Preparation, prepare
from difffae.data.ray_tasks import run_on_ray
from difffae.data.shards import CannotWriteError, ShardReader
from difffae.data.tasks import TaskSettings
from planted_tasks import PlantedTask

pytestmark = pytest.mark.timeout(900)  # a cluster takes its time to start


@pytest.fixture(scope="module")
def cluster(repository: Path) -> Iterator[str]:
    """Address of a cluster of two nodes with one CPU each."""
    pytest.importorskip("ray", reason="Ray is in the extra scale")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{repository}:{repository / 'tests'}")
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        nodes.add_node(num_cpus=1)
        yield nodes.address
        nodes.shutdown()


def test_the_same_command_makes_the_same_samples_on_two_workers(
    prepared_videos: tuple[Path, Path], tmp_path: Path, cluster: str
) -> None:
    videos, alone = prepared_videos
    limits = ["--min-frames", "8", "--min-sharpness", "0.005", "--stride", "3"]
    command = [sys.executable, "-m", "difffae.data.prepare", str(videos), str(tmp_path), *limits]
    done = subprocess.run(
        [*command, "--workers", "2", "--ray", cluster],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "4 written, 0 kept from before, 1 rejected" in done.stderr
    here, there = ShardReader(alone, "frames"), ShardReader(tmp_path, "frames")
    assert here.labels("clip") == there.labels("clip")
    assert here.labels("person") == there.labels("person")
    for index in range(len(here)):
        one, other = here.sample(index), there.sample(index)
        assert one.pictures == other.pictures
        assert all((other.arrays[name] == array).all() for name, array in one.arrays.items())


def test_two_workers_work_at_the_same_time_and_hear_of_a_full_disk(
    tmp_path: Path, cluster: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    settings = TaskSettings(output=tmp_path)
    tasks = [
        PlantedTask(name="a", fault=f"meet reader {tmp_path / 'pipe'}"),
        PlantedTask(name="b", fault=f"meet writer {tmp_path / 'pipe'}"),
        PlantedTask(name="c", fault="bad file"),
    ]
    told = {
        finding.file: finding.reason or finding.result
        for findings in run_on_ray(tasks, settings, cluster, 2)
        for finding in findings[:1]
    }
    assert told == {"a": "written", "b": "written", "c": "a bad file"}
    assert (tmp_path / "a").read_text("utf-8") != (tmp_path / "b").read_text("utf-8")
    full = [PlantedTask(name="d", fault="full disk")]
    with pytest.raises(CannotWriteError, match="No space left on device"):
        list(run_on_ray(full, settings, cluster, 1))


def test_without_ray_the_command_says_what_to_install(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"no Ray to import .*: pip install .*\[scale\]"):
        prepare(Preparation(folder=media, output=tmp_path, ray="auto"))


def test_without_a_cluster_the_command_says_so(media: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is in the extra scale")
    with pytest.raises(ValueError, match="no Ray cluster at nowhere"):
        prepare(Preparation(folder=media, output=tmp_path, ray="nowhere"))
