"""A network's FLOPs are those of its sizes, its share is of the peak, its runtime is what it is."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from difffae.benchmark import networks, timed
from difffae.benchmark.networks import frame_flops, network_costs, network_flops, runtime_of
from difffae.benchmark.stopwatch import spread
from difffae.describe import describe
from difffae.loading import BUNDLED
from difffae.pipeline import Pipeline

SECOND = spread([1000.0])
PEAKS = {"fp32": 1e9, "bf16": 4e9}


def test_flops_are_what_the_configuration_is_described_with() -> None:
    described = describe(BUNDLED / "lite-256" / "config.yaml").networks
    assert network_flops("lite-256") == {one.name: one.flops for one in described}


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no model"):
        network_flops(str(tmp_path / "none"))


def test_a_cost_is_flops_by_time_by_peak_and_a_frame_counts_every_step(pipeline: Pipeline) -> None:
    flops = {name: 10**8 for name in timed.NETWORK_STAGES}
    spreads = dict.fromkeys(timed.NETWORK_STAGES.values(), SECOND)
    costs = network_costs(pipeline, flops, spreads, num_steps=4, peaks=PEAKS)
    assert {one.name for one in costs} == set(timed.NETWORK_STAGES)
    assert all(one.flops_a_second == pytest.approx(1e8) for one in costs)
    assert costs[0].shares == pytest.approx({"fp32": 0.1, "bf16": 0.025})
    assert {one.name for one in costs if one.is_of_source} == {"region_encoder", "identity_encoder"}
    assert frame_flops(costs) == (1 + 4 + 1) * 10**8


def test_networks_that_were_not_timed_are_left_out(pipeline: Pipeline) -> None:
    flops = {name: 10**8 for name in timed.NETWORK_STAGES}
    spreads = {timed.ENCODE: SECOND}
    (cost,) = network_costs(pipeline, flops, spreads, num_steps=1, peaks=PEAKS)
    assert cost.name == "encoder"


def test_a_pytorch_network_is_eager(pipeline: Pipeline) -> None:
    kinds = {runtime_of(one) for one in timed.compiled_networks(pipeline).values()}
    assert kinds <= {"eager", "eager (bf16)"}


def test_openvino_tells_the_types_of_its_products() -> None:
    def operation(kind: str, precision: str) -> SimpleNamespace:
        return SimpleNamespace(
            get_rt_info=lambda: {"layerType": kind, "runtimePrecision": precision}
        )

    operations = [
        operation("Convolution", "u8"),
        operation("Reshape", "f32"),
        operation("FullyConnected", "bf16"),
        operation("Convolution", "u8"),
    ]
    model = SimpleNamespace(get_ops=lambda: operations)
    compiled = SimpleNamespace(get_runtime_model=lambda: model)
    assert networks._openvino_types(compiled) == "2 u8, 1 bf16"
