"""What each network of a model costs: FLOPs by its sizes, times by a stopwatch, share of a peak."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from difffae.benchmark.stopwatch import Spread
from difffae.benchmark.timed import NETWORK_STAGES, compiled_networks
from difffae.describe import describe
from difffae.loading import find_folder
from difffae.pipeline import Pipeline
from difffae.runtime.eager import EagerNetwork
from difffae.runtime.inductor import InductorNetwork
from difffae.runtime.openvino import OpenVinoNetwork

ONCE_A_SOURCE = ("region_encoder", "identity_encoder")
_RUNTIMES = {
    OpenVinoNetwork: "openvino",
    InductorNetwork: "inductor",
    EagerNetwork: "eager",
}
_MULTIPLYING = ("Convolution", "FullyConnected", "MatMul", "Deconvolution")


@dataclass(frozen=True, kw_only=True)
class NetworkCost:
    """One network.

    Attributes:
        name: of its weight file.
        runtime: what it runs in, and in which types its products are computed where that is told.
        flops: of one call at batch 1; a multiply-add is two.
        calls: how often it runs: for a frame, or for a source.
        is_of_source: whether it runs once for a source, not for each frame.
        p50_ms: of one call.
        flops_a_second: at that time.
        shares: of the machine's convolution peaks on all cores, by their type.
    """

    name: str
    runtime: str
    flops: int
    calls: int
    is_of_source: bool
    p50_ms: float
    flops_a_second: float
    shares: dict[str, float]


def network_flops(model: str) -> dict[str, int]:
    """FLOPs of one call of each network of a model, by the name of its weight file.

    Raises:
        ValueError: there is no such model, or its configuration cannot be read.
    """
    sizes = describe(find_folder(model) / "config.yaml").networks
    return {network.name: network.flops for network in sizes}


def network_costs(
    pipeline: Pipeline,
    flops: Mapping[str, int],
    spreads: Mapping[str, Spread],
    *,
    num_steps: int,
    peaks: Mapping[str, float],
) -> tuple[NetworkCost, ...]:
    """Every network that was timed.

    Args:
        pipeline: whose networks were.
        flops: see `network_flops`.
        spreads: of the stages of a `timed_pipeline`.
        num_steps: calls of the denoiser for a frame.
        peaks: FLOPs a second to compare with, by their type.
    """
    costs = []
    for name, network in compiled_networks(pipeline).items():
        stage = NETWORK_STAGES[name]
        if name not in flops or stage not in spreads:
            continue
        rate = flops[name] / (spreads[stage].p50_ms / 1000)
        costs.append(
            NetworkCost(
                name=name,
                runtime=runtime_of(network),
                flops=flops[name],
                calls=num_steps if name == "denoiser" else 1,
                is_of_source=name in ONCE_A_SOURCE,
                p50_ms=spreads[stage].p50_ms,
                flops_a_second=rate,
                shares={kind: rate / peak for kind, peak in peaks.items()},
            )
        )
    return tuple(costs)


def frame_flops(costs: tuple[NetworkCost, ...]) -> int:
    """Of all networks for one frame."""
    return sum(cost.calls * cost.flops for cost in costs if not cost.is_of_source)


def runtime_of(network: Callable[..., Any]) -> str:
    """What a compiled network runs in; for OpenVINO with the types its products are computed in."""
    name = next((name for kind, name in _RUNTIMES.items() if isinstance(network, kind)), "eager")
    if isinstance(network, OpenVinoNetwork):
        types = _openvino_types(network._request.get_compiled_model())
        return f"{name} ({types})" if types else name
    return f"{name} (bf16)" if getattr(network, "_is_bf16", False) else name


def _openvino_types(compiled: Any) -> str:
    """How many convolutions and matrix products run in each type, "12 u8, 3 bf16"."""
    counts: Counter[str] = Counter()
    for operation in compiled.get_runtime_model().get_ops():
        facts = operation.get_rt_info()
        if _text(facts["layerType"]) in _MULTIPLYING:
            counts[_text(facts["runtimePrecision"])] += 1
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())


def _text(value: Any) -> str:
    return str(value.astype(str) if hasattr(value, "astype") else value)
