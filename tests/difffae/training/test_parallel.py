"""Two processes that train together, against one process with all of their samples."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from difffae.training.errors import TrainingError
from difffae.training.parallel import Processes, laid_out_as, own_part, whole
from difffae.training.run_directory import RunDirectory
from difffae.training.trainer import fit


@pytest.fixture(scope="module")
def runs(toy: ModuleType) -> ModuleType:
    """The module of the runs; the toy stage is importable by then."""
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        import parallel_runs
    finally:
        sys.path.pop(0)
    return parallel_runs


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two gloo processes under torchrun left."""
    folder = tmp_path_factory.mktemp("two")
    script = Path(__file__).with_name("parallel_runs.py")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    root = str(Path(__file__).resolve().parents[3])
    done = subprocess.run(
        [sys.executable, *launch, str(script), str(folder)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "returned a view" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def one(runs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process left that took all samples at once, or one half after the other."""
    folder = tmp_path_factory.mktemp("one")
    fit(runs.DrawnStage(), runs.settings(), folder / "whole")
    fit(runs.DrawnStage(), runs.settings(batch_size=4, accumulation_steps=2), folder / "halves")
    fit(runs.ToyStage(noise=0.0), runs.settings(), folder / "plain")
    fit(runs.DenoiserStage(), runs.settings(), folder / "denoiser")
    return folder


def rows(folder: Path, name: str) -> list[float]:
    (path,) = folder.glob("*/metrics.jsonl")
    return [json.loads(line)[name] for line in path.read_text("utf-8").splitlines()]


def weights(folder: Path) -> dict[str, Tensor]:
    (stage,) = folder.iterdir()
    checkpoint = RunDirectory(folder, stage.name).load_latest()
    assert checkpoint is not None
    assert checkpoint.step == 8
    return checkpoint.tensors


PAIRS = [
    ("two", "whole"),
    ("accumulated", "whole"),
    ("sharded", "whole"),
    ("plain", "plain"),
    ("denoiser", "denoiser"),
    ("denoiser_sharded", "denoiser"),
]


@pytest.mark.parametrize(("shared", "alone"), PAIRS)
def test_two_processes_have_the_losses_of_one_with_all_their_samples(
    two: Path, one: Path, shared: str, alone: str
) -> None:
    for name in ("loss", "grad_norm"):
        got, expected = rows(two / shared, name), rows(one / alone, name)
        assert len(got) == 8
        assert got == pytest.approx(expected, rel=1e-5), name


@pytest.mark.parametrize(("shared", "alone"), PAIRS)
def test_two_processes_learn_the_weights_and_averages_of_one(
    two: Path, one: Path, shared: str, alone: str
) -> None:
    got, expected = weights(two / shared), weights(one / alone)
    assert sorted(got) == sorted(expected)
    num_moved = 0
    for name, tensor in expected.items():
        assert got[name].shape == tensor.shape, name
        kind, _, weight = name.partition(".")
        if kind != "optimizer":  # AdamW makes full steps of rounding errors in gradients of zero
            is_moved = expected[f"optimizer.exp_avg_sq.{weight}"] > 1e-15
            num_moved += int(is_moved.sum())
            got[name], tensor = got[name][is_moved], tensor[is_moved]
        torch.testing.assert_close(got[name], tensor, rtol=1e-3, atol=1e-5, msg=name)
    num_weights = sum(t.numel() for n, t in expected.items() if not n.startswith("optimizer"))
    assert num_moved > 0.75 * num_weights


def test_accumulated_halves_have_the_losses_of_the_whole(one: Path) -> None:
    for name in ("loss", "grad_norm"):
        assert rows(one / "halves", name) == pytest.approx(rows(one / "whole", name), rel=1e-5)


def test_the_noise_matters_to_the_losses(one: Path, runs: ModuleType, tmp_path: Path) -> None:
    fit(runs.DrawnStage(), runs.settings(seed=1, num_steps=1), tmp_path)
    assert rows(tmp_path, "loss")[0] != pytest.approx(rows(one / "whole", "loss")[0], rel=1e-3)


def test_one_process_goes_on_where_two_stopped(two: Path, one: Path, runs: ModuleType) -> None:
    for name in ("then_one", "sharded_then_one"):
        fit(runs.DrawnStage(), runs.settings(), two / name)
        assert rows(two / name, "loss") == pytest.approx(rows(one / "whole", "loss"), rel=1e-5)


def test_sampled_pictures_of_sharded_networks_are_those_of_whole_ones(two: Path, one: Path) -> None:
    name = "denoiser/samples/step-000000000.png"
    first = (one / "denoiser" / name).read_bytes()
    assert (two / "denoiser" / name).read_bytes() == first
    assert (two / "denoiser_sharded" / name).read_bytes() == first


def test_exported_weights_are_whole_and_plain(two: Path, one: Path) -> None:
    from difffae.checkpoint import load_tensors

    got = load_tensors(two / "denoiser_sharded" / "denoiser" / "denoiser.safetensors")
    expected = load_tensors(one / "denoiser" / "denoiser" / "denoiser.safetensors")
    assert {k: t.shape for k, t in got.items()} == {k: t.shape for k, t in expected.items()}


def test_both_processes_stop_at_a_loss_that_is_no_number(two: Path) -> None:
    for rank in (0, 1):
        said = (two / f"nan-{rank}.txt").read_text("utf-8")
        assert said.startswith("NonFiniteLossError: step 3 of toy: got loss nan")
        assert "checkpoint-000000002.safetensors" in said
    kept = RunDirectory(two / "nan", "toy").load_latest()
    assert kept is not None
    assert kept.step == 2
    assert all(tensor.isfinite().all() for tensor in kept.tensors.values())


@pytest.mark.parametrize(
    ("kind", "reason"), [("full", "No space left on device"), ("file", "Not a directory")]
)
def test_both_processes_stop_where_the_main_one_cannot_write(
    two: Path, kind: str, reason: str
) -> None:
    said = (two / f"{kind}-0.txt").read_text("utf-8")
    assert said.startswith("RunDirectoryError: step ")
    assert reason in said
    assert (two / f"{kind}-1.txt").read_text("utf-8").startswith("MainProcessError: stopped")


def test_a_launch_that_shards_by_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate import Accelerator, DistributedType

    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType.FSDP)
    with pytest.raises(TrainingError, match=r"set trainer.sharding to full_shard"):
        Processes()


def test_one_process_is_enough() -> None:
    processes = Processes()
    assert (processes.rank, processes.count, processes.is_main) == (0, 1, True)
    assert processes.agreed(True, False) == [True, False]
    assert processes.mean(torch.tensor([1.5])).tolist() == [1.5]
    acted: list[int] = []
    processes.on_main(lambda: acted.append(1))
    assert acted == [1]
    with pytest.raises(OSError, match="full"):
        processes.on_main(fail)


def fail() -> None:
    raise OSError("full")


def test_tensors_that_are_not_sharded_stay_as_they_are() -> None:
    weight = torch.zeros(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    assert whole(weight) is weight
    assert own_part(weight) is weight
    values = torch.arange(96.0).reshape(2, 3, 4, 4)
    copy = laid_out_as(weight, values)
    assert torch.equal(copy, values)
    assert copy.is_contiguous(memory_format=torch.channels_last)
    assert copy.data_ptr() != values.data_ptr()
