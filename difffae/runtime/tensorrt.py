"""Torch-TensorRT on CUDA: a network of static shapes in half precision, its engine kept on disk.

How many steps a sampler takes is a loop outside of the network, which has the timestep as an
input: one engine of fixed shapes serves any number of steps.

Written to Torch-TensorRT 2.13 with TensorRT 11, which runs what the exported graph says and chooses
no types itself: `enabled_precisions` and `use_explicit_typing` are gone, and would be ignored. Kept
are the raw engine and a few names in JSON. What Torch-TensorRT keeps itself is never read: its own
`save`, `load` and engine cache are pickles, and its timing cache lies in a common folder.
"""

import copy
import importlib
import importlib.util
import io
import json
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

from difffae.runtime.cache import network_key
from difffae.runtime.eager import as_float32, autocast
from difffae.runtime.entries import discard, open_entry
from difffae.runtime.inductor import first_line
from difffae.runtime.machine import device_name, machine_facts
from difffae.runtime.network import (
    Network,
    NeverAvailableError,
    Precision,
    RuntimeUnavailableError,
    check_inputs,
    half_type,
)
from difffae.runtime.probe import MAX_RELATIVE_ERROR, relative_error

_DEVICE = "cuda"
_ENGINE_FILE = "engine.plan"
_FACTS_FILE = "network.json"
_TIMING_FILE = "timing.bin"
_BUILD_SETTINGS = {
    "attn_bias_is_causal": False,  # its default takes any attention mask for a causal one
    "cache_built_engines": False,
    "hardware_compatible": False,
    "immutable_weights": True,
    "reuse_cached_engines": False,
    "truncate_double": True,
}
_BUILD_FAILURES = (
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)  # of torch.export and of converters, which check little before they compute

_logger = logging.getLogger(__name__)


def compile_tensorrt(
    module: nn.Module, example_inputs: tuple[Tensor, ...], *, precision: Precision = "auto"
) -> Network:
    """Make a module run as one TensorRT engine for the shapes of its example inputs.

    The first build takes minutes; it begins and ends with a log line. The engine stays in the cache
    folder (DIFFFAE_CACHE, else ~/.cache/difffae), where the next start finds it.

    Args:
        module: Network to run; left as it is.
        example_inputs: One batch of inputs in the shapes to come, on the GPU to run on.
        precision: Type of convolutions and matrix products; "auto" and "int8" are fp16.

    Raises:
        RuntimeUnavailableError: If this is no GPU, Torch-TensorRT is not installed, cannot build
            or run this network, gets it wrong, or no folder can be written.
    """
    device = example_inputs[0].device
    name = type(module).__name__
    if device.type != _DEVICE:
        raise RuntimeUnavailableError(
            f"TensorRT needs a CUDA device, got {device}; choose another runtime there"
        )
    torch_tensorrt = import_tensorrt()
    half = half_type("fp16" if precision in ("auto", "int8") else precision, torch.device("cuda"))
    settings = (str(half), json.dumps(_BUILD_SETTINGS, sort_keys=True), torch_tensorrt.__version__)
    key = network_key(module, example_inputs, (*settings, *machine_facts(device)))
    fill = partial(_fill_entry, torch_tensorrt, module, example_inputs, half=half)
    try:
        with open_entry("tensorrt", key, fill) as entry:
            return _load(torch_tensorrt, entry, device)
    except OSError as error:
        raise RuntimeUnavailableError(
            f"TensorRT cannot keep {name} in any folder: {error}; free some space, or set "
            "DIFFFAE_CACHE to a folder that can be written"
        ) from error
    except RuntimeError as error:
        raise RuntimeUnavailableError(
            f"TensorRT cannot run {name}: {first_line(error)}; its cache entry was removed"
        ) from error


class TensorRtNetwork:
    """A built engine on one GPU; every call's results lie in new memory."""

    def __init__(self, torch_tensorrt: ModuleType, entry: Path, device: torch.device) -> None:
        facts = json.loads((entry / _FACTS_FILE).read_text("utf-8"))
        self._device = device
        self._shapes = [tuple(shape) for shape in facts["shapes"]]
        self._types = [getattr(torch, name) for name in facts["types"]]
        self._is_tuple = bool(facts["is_tuple"])
        # Its own place in the graph of a larger network is what the class is made for; alone it
        # saves writing the hand-over between streams of CUDA anew.
        self._engine = torch_tensorrt.runtime.TorchTensorRTModule(
            (entry / _ENGINE_FILE).read_bytes(),
            input_binding_names=facts["inputs"],
            output_binding_names=facts["outputs"],
            name=facts["name"],
            settings=torch_tensorrt.dynamo.CompilationSettings(
                device=torch_tensorrt.Device(gpu_id=device.index or 0)
            ),
        )

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the network once."""
        check_inputs(inputs, self._shapes)
        with torch.inference_mode():
            given = [
                tensor.to(self._device, dtype).contiguous()
                for tensor, dtype in zip(inputs, self._types, strict=True)
            ]
            outputs = as_float32(self._engine(*given))
        return (outputs,) if self._is_tuple and isinstance(outputs, Tensor) else outputs


class _Half(nn.Module):
    """A network that computes in 16 bits what may be so, and gives float32.

    Autocast is inside: torch.export records nothing of one around it.
    """

    def __init__(self, network: nn.Module, half: torch.dtype | None) -> None:
        super().__init__()
        self._network = network
        self._dtype = half

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        with autocast(inputs[0].device, self._dtype):
            outputs = self._network(*inputs)
        return as_float32(outputs)


def is_installed() -> bool:
    """Whether Torch-TensorRT is there, without the seconds that importing it takes."""
    return importlib.util.find_spec("torch_tensorrt") is not None


def import_tensorrt() -> ModuleType:
    """Import Torch-TensorRT.

    Raises:
        RuntimeUnavailableError: It, or a library that it needs, is not installed.
    """
    try:
        with redirect_stdout(io.StringIO()):
            return importlib.import_module("torch_tensorrt")
    except Exception as error:  # a bare one where TensorRT's own libraries are missing
        raise RuntimeUnavailableError(
            f"Torch-TensorRT cannot be imported ({first_line(error)}); install it with: "
            "pip install 'torch-tensorrt>=2.13,<2.14'"
        ) from error


def _load(torch_tensorrt: ModuleType, entry: Path, device: torch.device) -> TensorRtNetwork:
    """Read a cache entry; one that TensorRT refuses is not left for the next start."""
    try:
        return TensorRtNetwork(torch_tensorrt, entry, device)
    except RuntimeError:
        discard(entry)
        raise


def _fill_entry(
    torch_tensorrt: ModuleType,
    module: nn.Module,
    example_inputs: tuple[Tensor, ...],
    folder: Path,
    *,
    half: torch.dtype | None,
) -> None:
    """Build an engine and try it, telling when it begins and ends: at the level that is shown."""
    name = type(module).__name__
    device = example_inputs[0].device
    _logger.warning(
        "building the TensorRT engine of %s for %s: this takes minutes, the first time only",
        name,
        device_name(device),
    )
    begun = time.perf_counter()
    network = copy.deepcopy(module).to(device).float().eval().requires_grad_(False)
    inputs = _drawn_like(example_inputs)
    try:
        with torch.no_grad(), _quietly():
            answers = network(*(tensor.clone() for tensor in inputs))
            names = _build(torch_tensorrt, _Half(network, half).eval(), inputs, folder)
            _write_facts(folder, name, (inputs, names), answers)
            outputs = TensorRtNetwork(torch_tensorrt, folder, device)(*inputs)
    except _BUILD_FAILURES as error:
        kind = RuntimeUnavailableError if _is_out_of_memory(error) else NeverAvailableError
        raise kind(f"TensorRT cannot build {name}: {first_line(error)}") from error
    _check_answers(name, outputs, answers)
    took_s = time.perf_counter() - begun
    _logger.warning("built the TensorRT engine of %s in %.0f s", name, took_s)


def _build(
    torch_tensorrt: ModuleType, network: nn.Module, inputs: tuple[Tensor, ...], folder: Path
) -> list[str]:
    """Export a network and write its engine; its inputs' names, which the engine has too."""
    exported = torch.export.export(network, inputs)
    engine = torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine(
        exported,
        arg_inputs=list(inputs),
        device=inputs[0].device,
        timing_cache_path=str(folder / _TIMING_FILE),
        **_BUILD_SETTINGS,
    )
    (folder / _TIMING_FILE).unlink(missing_ok=True)
    (folder / _ENGINE_FILE).write_bytes(engine)
    return [str(name) for name in exported.graph_signature.user_inputs]


def _write_facts(
    folder: Path,
    name: str,
    named_inputs: tuple[tuple[Tensor, ...], list[str]],
    answers: Tensor | tuple[Tensor, ...],
) -> None:
    """Write what an engine does not say itself; Torch-TensorRT numbers outputs."""
    inputs, names = named_inputs
    num_outputs = 1 if isinstance(answers, Tensor) else len(answers)
    facts = {
        "name": name,
        "shapes": [list(tensor.shape) for tensor in inputs],
        "types": [str(tensor.dtype).removeprefix("torch.") for tensor in inputs],
        "inputs": names,
        "outputs": [f"output{index}" for index in range(num_outputs)],
        "is_tuple": not isinstance(answers, Tensor),
    }
    (folder / _FACTS_FILE).write_text(json.dumps(facts), "utf-8")


def _drawn_like(examples: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Inputs to compare answers on: noise of unit spread, always the same; integers stay."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(tensor.shape, generator=generator).to(tensor)
        if tensor.is_floating_point()
        else tensor.detach().clone()
        for tensor in examples
    )


def _check_answers(name: str, outputs: Any, answers: Any) -> None:
    """Compare an engine's answers with PyTorch's in float32.

    Raises:
        NeverAvailableError: They differ by more than half precision explains.
    """
    got = (outputs,) if isinstance(outputs, Tensor) else cast(tuple[Tensor, ...], outputs)
    wanted = (answers,) if isinstance(answers, Tensor) else cast(tuple[Tensor, ...], answers)
    for index, (output, answer) in enumerate(zip(got, wanted, strict=True)):
        error = relative_error(output.float().cpu().numpy(), answer.float().cpu().numpy())
        if not error <= MAX_RELATIVE_ERROR:
            raise NeverAvailableError(
                f"TensorRT gets {name} wrong: output {index} has a relative error of {error:.3g}"
            )


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short, which may be otherwise the next time."""
    return any(isinstance(each, torch.OutOfMemoryError) for each in (error, error.__cause__))


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep Torch-TensorRT from printing whole graphs with a failure that is told in one line."""
    logger = logging.getLogger("torch_tensorrt")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
