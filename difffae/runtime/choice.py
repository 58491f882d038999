"""The fastest runtime on this machine: measured once for each network, and remembered on disk."""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from difffae.runtime.cache import cache_root, keep_recent, network_key
from difffae.runtime.entries import UntrustedError, make_private, read_private
from difffae.runtime.machine import machine_facts, threads_fact
from difffae.runtime.network import Network, NeverAvailableError, RuntimeUnavailableError

Compile = Callable[[], Network]
_NUM_WARM_UPS = 3
_NUM_ROUNDS = 8

_logger = logging.getLogger(__name__)


def compile_fastest(
    module: nn.Module,
    example_inputs: tuple[Tensor, ...],
    candidates: Mapping[str, Compile],
    settings: tuple[str, ...],
) -> Network:
    """Compile by the runtime that answered soonest here, measured at the first time only.

    Args:
        module: Network to run.
        example_inputs: One batch of inputs in the shapes to come, on the device to run on.
        candidates: The runtimes to try by name, the last of which works everywhere.
        settings: Whatever else the times depend on, such as precision and threads.

    Raises:
        RuntimeUnavailableError: No candidate can run the network.
    """
    known = compile_known(module, example_inputs, candidates, settings)
    if known is not None:
        return known
    place = _place(module, example_inputs, (*settings, *candidates))
    networks, is_settled = _compiled(type(module).__name__, candidates)
    times_ms = _measure(networks, example_inputs)
    best = min(times_ms, key=lambda name: times_ms[name])
    _logger.info(
        "%s runs by %s (%s)",
        type(module).__name__,
        best,
        ", ".join(f"{name} {time_ms:.1f} ms" for name, time_ms in times_ms.items()),
    )
    if is_settled:
        _remember(place, best, times_ms)
    return networks[best]


def compile_known(
    module: nn.Module,
    example_inputs: tuple[Tensor, ...],
    candidates: Mapping[str, Compile],
    settings: tuple[str, ...],
) -> Network | None:
    """Compile by the runtime that was chosen at an earlier start; see `compile_fastest`.

    Returns:
        The network; None where nothing was chosen yet or the choice works no longer.
    """
    known = _recall(_place(module, example_inputs, (*settings, *candidates)))
    if known is None or known not in candidates:
        return None
    try:
        return candidates[known]()
    except RuntimeUnavailableError as error:
        _logger.warning("%s; %s is measured anew", error, type(module).__name__)
        return None


def _compiled(name: str, candidates: Mapping[str, Compile]) -> tuple[dict[str, Network], bool]:
    """Those candidates that can run the network, and whether that will be so the next time.

    One log line for each that cannot: it may be able to later, unless its answers were wrong.
    """
    is_settled = True
    networks: dict[str, Network] = {}
    last: RuntimeUnavailableError | None = None
    for runtime, compile_ in candidates.items():
        try:
            networks[runtime] = compile_()
        except RuntimeUnavailableError as error:
            last = error
            is_settled = is_settled and isinstance(error, NeverAvailableError)
            _logger.warning("%s; %s runs in another runtime instead", error, name)
    if not networks:
        raise last or RuntimeUnavailableError(f"there is no runtime for {name}")
    return networks, is_settled


def _measure(networks: Mapping[str, Network], inputs: tuple[Tensor, ...]) -> dict[str, float]:
    """Shortest time of each in ms, in turns, so that a busy moment hits all of them."""
    if len(networks) == 1:
        return dict.fromkeys(networks, 0.0)
    times_ms = dict.fromkeys(networks, float("inf"))
    for round_ in range(_NUM_WARM_UPS + _NUM_ROUNDS):
        for name, network in networks.items():
            begun = time.perf_counter()
            network(*inputs)
            _finish(inputs[0].device)
            took_ms = 1000 * (time.perf_counter() - begun)
            if round_ >= _NUM_WARM_UPS:
                times_ms[name] = min(times_ms[name], took_ms)
    return times_ms


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _place(module: nn.Module, inputs: tuple[Tensor, ...], settings: tuple[str, ...]) -> Path:
    facts = (*machine_facts(inputs[0].device), threads_fact(), *settings)
    return cache_root() / "choices" / f"{network_key(module, inputs, facts)}.json"


def _recall(place: Path) -> str | None:
    """The runtime that was chosen; None where nothing is there that we wrote for this network."""
    try:
        told = json.loads(read_private(place))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or told.get("key") != place.stem:
        return None
    name = told.get("runtime")
    return name if isinstance(name, str) else None


def _remember(place: Path, best: str, times_ms: Mapping[str, float]) -> None:
    """Write the choice in one piece; a folder that cannot be written costs time, nothing else."""
    rounded = {name: round(time_ms, 3) for name, time_ms in times_ms.items()}
    told = {"key": place.stem, "runtime": best, "times_ms": rounded}
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        make_private(place.parent)
        partial.write_text(json.dumps(told), "utf-8")
        partial.chmod(0o600)
        partial.replace(place)
        keep_recent(place.parent, place)
    except (OSError, UntrustedError) as error:
        with suppress(OSError):
            partial.unlink()
        _logger.info("the choice of a runtime cannot be kept in %s: %s", place.parent, error)
