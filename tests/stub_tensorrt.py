"""Torch-TensorRT without a GPU: the entry points that we use, as 2.13 declares them, on the CPU.

An engine is a number, under which this module keeps the exported program. Keyword arguments are
spelled out where the real ones swallow any, so that one which is gone there is refused here.
"""

import json
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram


@dataclass(kw_only=True)
class StubTensorRt:
    """What was asked of the stub, and how it is to fail.

    Attributes:
        settings: keyword arguments of each build.
        programs: what was built, by number.
        loaded: name, inputs' and outputs' names, and GPU of each engine that was loaded.
        build_error, load_error: raised instead of building or loading.
        factor: what answers are multiplied by.
    """

    settings: list[dict[str, Any]] = field(default_factory=list)
    programs: list[ExportedProgram] = field(default_factory=list)
    loaded: list[tuple[str, list[str], list[str], int]] = field(default_factory=list)
    build_error: Exception | None = None
    load_error: Exception | None = None
    factor: float = 1.0

    def module(self) -> ModuleType:
        """The stub as a module to put into sys.modules."""
        package = ModuleType("torch_tensorrt")
        package.__spec__ = ModuleSpec("torch_tensorrt", None)
        package.__version__ = "2.13.0"  # type: ignore[attr-defined]
        package.Device = _Device  # type: ignore[attr-defined]
        package.dynamo = SimpleNamespace(  # type: ignore[attr-defined]
            CompilationSettings=_Settings,
            convert_exported_program_to_serialized_trt_engine=self._convert,
        )
        package.runtime = SimpleNamespace(TorchTensorRTModule=self._open)  # type: ignore[attr-defined]
        return package

    def _convert(
        self,
        exported_program: ExportedProgram,
        *,
        arg_inputs: list[Tensor],
        device: torch.device,
        truncate_double: bool,
        hardware_compatible: bool,
        timing_cache_path: str,
        cache_built_engines: bool,
        reuse_cached_engines: bool,
        immutable_weights: bool,
        attn_bias_is_causal: bool,
    ) -> bytes:
        self.settings.append({name: each for name, each in locals().items() if name != "self"})
        if self.build_error is not None:
            raise self.build_error
        Path(timing_cache_path).write_bytes(b"how long kernels took")
        self.programs.append(exported_program)
        return json.dumps({"stub engine": len(self.programs) - 1}).encode()

    def _open(
        self,
        serialized_engine: bytes,
        input_binding_names: list[str],
        output_binding_names: list[str],
        *,
        name: str,
        settings: "_Settings",
    ) -> "_Engine":
        if self.load_error is not None:
            raise self.load_error
        program = self.programs[json.loads(serialized_engine)["stub engine"]]
        assert tuple(input_binding_names) == program.graph_signature.user_inputs
        gpu = settings.device.gpu_id
        self.loaded.append((name, input_binding_names, output_binding_names, gpu))
        return _Engine(self, program)


@dataclass(kw_only=True)
class _Device:
    gpu_id: int


@dataclass(kw_only=True)
class _Settings:
    device: _Device


class _Engine:
    """Gives one tensor or a tuple, as the real one does."""

    def __init__(self, stub: StubTensorRt, program: ExportedProgram) -> None:
        self._stub = stub
        self._run = program.module()

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        assert all(tensor.is_contiguous() for tensor in inputs)
        outputs = self._run(*inputs)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        scaled = tuple(output * self._stub.factor for output in outputs)
        return scaled[0] if len(scaled) == 1 else scaled
