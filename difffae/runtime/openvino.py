"""OpenVINO on the CPU: static shapes, lowest latency, compiled form kept on disk.

The module is traced and converted with the shapes of its example inputs (a model reshaped after
conversion crashed OpenVINO 2026.4's compiler), and is compiled for the first time in a child
process, which also checks its answers against PyTorch's.
"""

import copy
import gc
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from difffae.runtime.cache import network_key
from difffae.runtime.entries import discard, open_entry
from difffae.runtime.group_norm import take_norms_apart
from difffae.runtime.machine import machine_facts
from difffae.runtime.network import (
    Network,
    NeverAvailableError,
    Precision,
    RuntimeUnavailableError,
    check_inputs,
    half_type,
)
from difffae.runtime.quantization import Calibration, insert_quantizers, name_stably
from difffae.runtime.quantization import example_inputs as drawn_inputs
from difffae.runtime.signal_stack import kept_signal_stack

_PROBE = Path(__file__).with_name("probe.py")
_PROBE_TIMEOUT_S = 300.0
_WRONG_ANSWERS = 3  # the probe's exit status
_FORM = "2"  # counts the ways in which converted networks were rewritten before they were kept


_ONE_BY_ONE = Lock()  # conversions: PyTorch traces for one thread at a time
_IMPORTING = Lock()


@dataclass(frozen=True, kw_only=True)
class OpenVinoConfig:
    """How OpenVINO computes.

    Attributes:
        precision: Type of convolutions and matrix products; for "int8", of those that the
            calibration leaves as they are.
        num_threads: Threads of one inference, at most those of this process.
        calibration: What to compute in 8-bit integers; for precision "int8" only.
    """

    precision: Precision = "auto"
    num_threads: int = 2
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: If there are no threads to compute on, or int8 comes without a calibration
                or a calibration without int8.
        """
        if self.num_threads < 1:
            raise ValueError(f"num_threads is {self.num_threads}; expected 1 or more")
        if (self.precision == "int8") != (self.calibration is not None):
            raise ValueError(
                f"precision is {self.precision!r} with calibration {self.calibration}; expected a "
                "calibration for 'int8' and none for others"
            )


def compile_openvino(
    module: nn.Module,
    example_inputs: tuple[Tensor, ...],
    *,
    config: OpenVinoConfig | None = None,
) -> Network:
    """Compile a module for the CPU and the shapes of its example inputs.

    The converted and the compiled network stay in the cache folder (DIFFFAE_CACHE, else
    ~/.cache/difffae), so that the next start needs neither tracing nor a child process.

    Args:
        module: Network to run; left as it is.
        example_inputs: One batch of inputs in the shapes to come.
        config: Precision and threads.

    Raises:
        RuntimeUnavailableError: If OpenVINO is not installed, cannot convert or compile this
            network, crashes on it, gets it wrong, or the cache folder cannot be written.
    """
    config = config or OpenVinoConfig()
    openvino = import_openvino()
    settings = _device_settings(config)
    facts = [_FORM, openvino.__version__, json.dumps(settings, sort_keys=True), *machine_facts()]
    if config.calibration is not None:
        facts.append(config.calibration.digest)
    name = type(module).__name__
    key = network_key(module, example_inputs, tuple(facts))
    fill = partial(_fill_entry, openvino, module, example_inputs, config=config)
    try:
        with open_entry("openvino", key, fill) as entry:
            return _load(openvino, entry, settings)
    except OSError as error:
        raise RuntimeUnavailableError(
            f"OpenVINO cannot keep {name} in any folder: {error}; free some space, or set "
            "DIFFFAE_CACHE to a folder that can be written"
        ) from error
    except RuntimeError as error:
        raise RuntimeUnavailableError(
            f"OpenVINO cannot run {name}: {_last_line(str(error))}; its cache entry was removed"
        ) from error


def _load(
    openvino: ModuleType, entry: Path, settings: dict[str, str | int | bool]
) -> "OpenVinoNetwork":
    """Read a cache entry; one that OpenVINO refuses is not left for the next start."""
    try:
        return OpenVinoNetwork(openvino, entry, settings)
    except RuntimeError:
        discard(entry)
        raise


class OpenVinoNetwork:
    """A compiled network with one inference request, whose buffers every call uses again."""

    def __init__(
        self, openvino: ModuleType, entry: Path, settings: dict[str, str | int | bool]
    ) -> None:
        facts = json.loads((entry / "network.json").read_text("utf-8"))
        self._shapes = [tuple(shape) for shape in facts["shapes"]]
        self._is_tuple = bool(facts["is_tuple"])
        with kept_signal_stack():
            core = openvino.Core()
            compiled = core.compile_model(
                core.read_model(entry / "network.xml"), "CPU", _cached(settings, entry)
            )
            self._request = compiled.create_infer_request()
        self._tensor = openvino.Tensor
        self._num_outputs = len(compiled.outputs)
        self._dtypes = [port.get_element_type().to_dtype() for port in compiled.inputs]

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the network once; the results are copies that the next call leaves alone."""
        check_inputs(inputs, self._shapes)
        for index, (tensor, dtype) in enumerate(zip(inputs, self._dtypes, strict=True)):
            array = np.require(_as_array(tensor), dtype, ("C", "W"))
            self._request.set_input_tensor(index, self._tensor(array, shared_memory=True))
        self._request.infer(share_outputs=True)
        outputs = tuple(
            torch.from_numpy(self._request.get_output_tensor(index).data.copy())
            for index in range(self._num_outputs)
        )
        return outputs if self._is_tuple else outputs[0]


def import_openvino() -> ModuleType:
    """Import OpenVINO; see `import_quietly`.

    One thread alone asks for the first NumPy type: OpenVINO 2026.4 makes the table of them then,
    gives the interpreter's lock away meanwhile, and two threads would wait for each other for good.

    Raises:
        RuntimeUnavailableError: It is not installed.
    """
    with _IMPORTING:
        openvino = import_quietly("openvino", called="OpenVINO", requirement="openvino")
        openvino.Type.f32.to_dtype()
        return openvino


def import_quietly(module: str, *, called: str, requirement: str) -> ModuleType:
    """Import one of OpenVINO's packages without telemetry, which would report it to its makers.

    Args:
        module: its name.
        called: what people call it.
        requirement: what pip installs it by.

    Raises:
        RuntimeUnavailableError: It is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"{called} cannot be imported ({error}); install it with: pip install {requirement}"
        ) from error


def _device_settings(config: OpenVinoConfig) -> dict[str, str | int | bool]:
    """Properties of OpenVINO's CPU device: one stream, few threads, pinned to no core."""
    threads = min(config.num_threads, len(os.sched_getaffinity(0)))
    half = half_type(config.precision, torch.device("cpu"))
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32" if half is None else "bf16",
        "ENABLE_CPU_PINNING": False,
    }


def _cached(settings: dict[str, str | int | bool], entry: Path) -> dict[str, str | int | bool]:
    """Add the folder of compiled forms to the device's properties."""
    return {**settings, "CACHE_DIR": str(entry / "compiled")}


def _fill_entry(
    openvino: ModuleType,
    module: nn.Module,
    example_inputs: tuple[Tensor, ...],
    folder: Path,
    *,
    config: OpenVinoConfig,
) -> None:
    """Convert a module and try it in a child process, which leaves its compiled form behind."""
    if config.calibration is not None:
        example_inputs = drawn_inputs(config.calibration, example_inputs)
    with _ONE_BY_ONE:
        _convert(openvino, module, example_inputs, folder, config.calibration)
    gc.collect()
    _probe(type(module).__name__, folder, _cached(_device_settings(config), folder))
    (folder / "example.npz").unlink()


def _convert(
    openvino: ModuleType,
    module: nn.Module,
    example_inputs: tuple[Tensor, ...],
    folder: Path,
    calibration: Calibration | None = None,
) -> None:
    """Write the network, its facts, and an example with PyTorch's answers to a folder."""
    network = copy.deepcopy(module).cpu().float().eval().requires_grad_(False)
    examples = tuple(tensor.detach().cpu().clone() for tensor in example_inputs)
    with torch.no_grad():
        answers = network(*(example.clone() for example in examples))
    converted = convert_module(openvino, network, examples)
    is_tuple = not isinstance(answers, Tensor)
    outputs = tuple(answers) if is_tuple else (answers,)
    if len(converted.inputs) != len(examples) or len(converted.outputs) != len(outputs):
        raise RuntimeUnavailableError(
            f"OpenVINO cannot keep the form of {type(module).__name__}: got "
            f"{len(converted.inputs)} inputs and {len(converted.outputs)} outputs, expected "
            f"{len(examples)} and {len(outputs)}; let the module give one tensor or a flat tuple"
        )
    if calibration is not None:
        insert_quantizers(openvino, converted, calibration)
    take_norms_apart(openvino, converted)
    openvino.save_model(converted, folder / "network.xml", compress_to_fp16=False)
    facts = {"shapes": [list(tensor.shape) for tensor in examples], "is_tuple": is_tuple}
    (folder / "network.json").write_text(json.dumps(facts), "utf-8")
    arrays = {f"input_{index}": _as_array(tensor) for index, tensor in enumerate(examples)}
    arrays |= {f"output_{index}": _as_array(tensor) for index, tensor in enumerate(outputs)}
    with (folder / "example.npz").open("wb") as stream:
        np.savez(stream, **arrays)


def convert_module(openvino: ModuleType, network: nn.Module, examples: tuple[Tensor, ...]) -> Any:
    """Trace a network and convert it with static shapes.

    Raises:
        RuntimeUnavailableError: It cannot be traced or converted.
    """
    failures = openvino.frontend
    shapes = [tuple(tensor.shape) for tensor in examples]
    try:
        with torch.no_grad(), _kept_root_logger(), warnings.catch_warnings():
            warnings.simplefilter("ignore", TracerWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            # Not traced by OpenVINO 2026.4: while it traces, it replaces the built-in divmod of the
            # whole process, and Numba, loading in another thread, then takes the wrong one for it.
            traced = torch.jit.trace(  # type: ignore[no-untyped-call]
                network, examples, strict=False
            )
            model = openvino.convert_model(traced, example_input=examples, input=shapes)
    except (
        RuntimeError,
        TypeError,
        failures.GeneralFailure,
        failures.NotImplementedFailure,
        failures.OpConversionFailure,
        failures.OpValidationFailure,
    ) as error:
        raise RuntimeUnavailableError(
            f"OpenVINO cannot convert {type(network).__name__}: {_last_line(str(error))}"
        ) from error
    name_stably(model)
    return model


@contextmanager
def _kept_root_logger() -> Iterator[None]:
    """Leave the root logger as it was: a conversion that fails leaves it at ERROR, filtered."""
    root = logging.getLogger()
    level, filters, handlers = root.level, root.filters.copy(), root.handlers.copy()
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters[:] = filters
        root.handlers[:] = handlers


def _probe(name: str, folder: Path, settings: dict[str, str | int | bool]) -> None:
    """Compile and run a converted network in a child process; refuse it if that fails."""
    command = [sys.executable, "-P", str(_PROBE), str(folder), json.dumps(settings)]
    try:
        child = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=_PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeUnavailableError(
            f"OpenVINO did not compile {name} within {_PROBE_TIMEOUT_S:.0f} s"
        ) from error
    if child.returncode < 0:
        raise RuntimeUnavailableError(
            f"OpenVINO crashed on {name} with {signal.Signals(-child.returncode).name}"
        )
    if child.returncode == _WRONG_ANSWERS:
        raise NeverAvailableError(f"OpenVINO gets {name} wrong: {_last_line(child.stderr)}")
    if child.returncode > 0:
        raise RuntimeUnavailableError(f"OpenVINO failed on {name}: {_last_line(child.stderr)}")


def _as_array(tensor: Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    """View a tensor as a NumPy array, bfloat16 widened to float32."""
    plain = tensor.detach().cpu()
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()


def _last_line(text: str) -> str:
    """Last line of an error's text that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
