"""Choice of a runtime: each by its name, the best by "auto", and one line for a fallback."""

import json
import logging
import shutil
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from difffae.runtime import (
    Request,
    RuntimeName,
    RuntimeUnavailableError,
    compile_network,
    compile_together,
)
from difffae.runtime import choice as choice_module
from difffae.runtime import compile as compile_module
from difffae.runtime import openvino as openvino_runtime
from difffae.runtime import tensorrt as tensorrt_runtime
from difffae.runtime.compile import automatic_runtimes
from difffae.runtime.eager import EagerNetwork
from difffae.runtime.network import half_type
from difffae.runtime.openvino import OpenVinoNetwork
from difffae.runtime.tensorrt import TensorRtNetwork
from stub_tensorrt import StubTensorRt

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO")


@needs_openvino
@pytest.mark.usefixtures("warm_cache")
def test_auto_answers_as_the_module_does_and_remembers_what_it_chose(
    one_head: nn.Module, image: Tensor, warm_cache: Path
) -> None:
    network = compile_network(one_head, (image,), precision="fp32")
    torch.testing.assert_close(network(image), one_head(image), rtol=1e-4, atol=1e-4)
    [kept] = warm_cache.glob("choices/OneHead-*.json")
    chosen = json.loads(kept.read_text("utf-8"))["runtime"]
    kinds = {"openvino": OpenVinoNetwork, "eager": EagerNetwork}
    assert isinstance(compile_network(one_head, (image,), precision="fp32"), kinds[chosen])


@needs_openvino
@pytest.mark.usefixtures("cache")
def test_auto_falls_back_to_eager_with_one_line_after_a_crash(
    one_head: nn.Module,
    image: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    script = tmp_path / "crash.py"
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "utf-8")
    monkeypatch.setattr(openvino_runtime, "_PROBE", script)
    with caplog.at_level(logging.INFO, logger="difffae"):
        network = compile_network(one_head, (image,), precision="fp32")
    assert isinstance(network, EagerNetwork)
    torch.testing.assert_close(network(image), one_head(image), rtol=1e-4, atol=1e-4)
    assert [record.getMessage() for record in caplog.records] == [
        "OpenVINO crashed on OneHead with SIGSEGV; OneHead runs in another runtime instead",
        "OneHead runs by eager (eager 0.0 ms)",
    ]


@needs_openvino
@pytest.mark.usefixtures("cache")
def test_runtime_asked_for_by_name_does_not_fall_back(
    one_head: nn.Module, image: Tensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "fail.py"
    script.write_text("raise SystemExit('no')\n", "utf-8")
    monkeypatch.setattr(openvino_runtime, "_PROBE", script)
    with pytest.raises(RuntimeUnavailableError, match="OpenVINO failed on OneHead: no"):
        compile_network(one_head, (image,), runtime="openvino")


def test_eager_is_chosen_by_name(one_head: nn.Module, image: Tensor) -> None:
    network = compile_network(one_head, (image,), runtime="eager")
    assert isinstance(network, EagerNetwork)


def test_unknown_runtime_is_refused(one_head: nn.Module, image: Tensor) -> None:
    with pytest.raises(ValueError, match=r"runtime is 'onnx'; expected one of \('auto', .*rt'\)"):
        compile_network(one_head, (image,), runtime="onnx")  # type: ignore[arg-type]


def test_network_without_inputs_is_refused(one_head: nn.Module) -> None:
    with pytest.raises(ValueError, match="got no example inputs"):
        compile_network(one_head, ())


@pytest.mark.parametrize(
    ("machine", "is_supported", "expected"),
    [("x86_64", True, True), ("x86_64", False, False), ("aarch64", True, False)],
)
def test_precision_follows_the_instructions_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch, machine: str, is_supported: bool, expected: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: is_supported)
    cpu = torch.device("cpu")
    assert half_type("auto", cpu) is (torch.bfloat16 if expected else None)
    assert half_type("int8", cpu) is (torch.bfloat16 if expected else None)
    assert half_type("bf16", cpu) is torch.bfloat16
    assert half_type("fp32", cpu) is None


@pytest.mark.parametrize(
    ("is_supported", "capability", "expected"),
    [(True, (8, 9), torch.bfloat16), (False, (7, 5), torch.float16), (False, (6, 1), None)],
)
def test_precision_follows_the_tensor_cores_of_the_gpu(
    monkeypatch: pytest.MonkeyPatch,
    is_supported: bool,
    capability: tuple[int, int],
    expected: torch.dtype | None,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **given: is_supported)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    gpu = torch.device("cuda")
    assert half_type("auto", gpu) is expected
    assert half_type("fp16", gpu) is torch.float16
    assert half_type("fp32", gpu) is None


@pytest.mark.parametrize("runtime", ["auto", "eager", "inductor", "openvino"])
@pytest.mark.usefixtures("cache")
def test_half_precision_of_a_cpu_is_refused(
    one_head: nn.Module, image: Tensor, runtime: RuntimeName
) -> None:
    if runtime in ("auto", "openvino") and find_spec("openvino") is None:
        pytest.skip("needs OpenVINO")
    with pytest.raises(ValueError, match="precision is 'fp16' on cpu; expected 'auto'"):
        compile_network(one_head, (image,), runtime=runtime, precision="fp16")


def test_auto_measures_tensorrt_on_a_gpu_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    assert automatic_runtimes(gpu) == ("inductor", "eager")
    monkeypatch.setitem(sys.modules, "torch_tensorrt", StubTensorRt().module())
    assert automatic_runtimes(gpu) == ("tensorrt", "inductor", "eager")
    assert automatic_runtimes(torch.device("cpu")) == ("openvino", "eager")


@pytest.mark.filterwarnings("ignore::FutureWarning:copyreg")
@pytest.mark.usefixtures("cache")
def test_tensorrt_is_chosen_by_name(
    one_head: nn.Module, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch_tensorrt", StubTensorRt().module())
    monkeypatch.setattr(tensorrt_runtime, "_DEVICE", "cpu")
    network = compile_network(one_head, (image,), runtime="tensorrt", precision="fp32")
    assert isinstance(network, TensorRtNetwork)
    torch.testing.assert_close(network(image), one_head(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [
        (RuntimeError("no converter"), True),
        (torch.OutOfMemoryError("CUDA out of memory"), False),
    ],
)
def test_auto_runs_by_another_runtime_with_one_line_where_no_engine_can_be_built(
    one_head: nn.Module,
    image: Tensor,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: RuntimeError,
    is_kept: bool,
) -> None:
    monkeypatch.setitem(sys.modules, "torch_tensorrt", StubTensorRt(build_error=error).module())
    monkeypatch.setattr(tensorrt_runtime, "_DEVICE", "cpu")
    monkeypatch.setattr(compile_module, "automatic_runtimes", lambda device: ("tensorrt", "eager"))
    with caplog.at_level(logging.WARNING, logger="difffae"):  # which a command may have raised
        network = compile_network(one_head, (image,), precision="fp32")
    assert isinstance(network, EagerNetwork)
    lines = [each.getMessage() for each in caplog.records if each.name.startswith("difffae")]
    assert lines[1:] == [
        f"TensorRT cannot build OneHead: {error}; OneHead runs in another runtime instead"
    ]
    assert cache.joinpath("choices").exists() is is_kept


def requests(
    one_head: nn.Module, two_heads: nn.Module, image: Tensor, inputs: tuple[Tensor, ...]
) -> dict[str, Request]:
    return {
        "one": Request(module=one_head, example_inputs=(image,), precision="fp32"),
        "two": Request(module=two_heads, example_inputs=inputs, precision="fp32"),
    }


@needs_openvino
@pytest.mark.usefixtures("warm_cache")
def test_networks_made_ready_together_answer_as_their_modules_do(
    one_head: nn.Module, two_heads: nn.Module, image: Tensor, inputs: tuple[Tensor, ...]
) -> None:
    networks = compile_together(requests(one_head, two_heads, image, inputs))
    assert list(networks) == ["one", "two"]
    torch.testing.assert_close(networks["one"](image), one_head(image), rtol=1e-4, atol=1e-4)
    for got, wanted in zip(networks["two"](*inputs), two_heads(*inputs), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@needs_openvino
@pytest.mark.usefixtures("warm_cache")
def test_only_networks_whose_runtime_is_known_are_made_ready_beside_others(
    one_head: nn.Module,
    two_heads: nn.Module,
    image: Tensor,
    inputs: tuple[Tensor, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = requests(one_head, two_heads, image, inputs)
    compile_together({"one": asked["one"]})
    torch.nn.init.normal_(two_heads.first.weight)  # type: ignore[union-attr,arg-type]
    measured: list[tuple[str, bool]] = []
    measure = choice_module._measure

    def noted(networks: Any, given: tuple[Tensor, ...]) -> dict[str, float]:
        is_alone = threading.current_thread() is threading.main_thread()
        measured.append((str(len(given)), is_alone and threading.active_count() == before))
        return measure(networks, given)

    monkeypatch.setattr(choice_module, "_measure", noted)
    before = threading.active_count()
    assert set(compile_together(asked)) == {"one", "two"}
    assert measured == [(str(len(inputs)), True)]


@needs_openvino
def test_known_networks_whose_entries_are_gone_are_converted_one_by_one(
    one_head: nn.Module,
    two_heads: nn.Module,
    image: Tensor,
    inputs: tuple[Tensor, ...],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = requests(one_head, two_heads, image, inputs)
    for request in asked.values():
        compile_network(request.module, request.example_inputs, precision="fp32", runtime="auto")
        [kept] = cache.glob(f"choices/{type(request.module).__name__}-*.json")
        told = json.loads(kept.read_text("utf-8"))
        kept.write_text(json.dumps({**told, "runtime": "openvino"}), "utf-8")
        kept.chmod(0o600)
    shutil.rmtree(cache / "openvino")
    is_running = threading.Lock()
    convert = openvino_runtime.convert_module

    def alone(*given: Any) -> Any:
        assert is_running.acquire(blocking=False), "two conversions at once"
        try:
            return convert(*given)
        finally:
            is_running.release()

    monkeypatch.setattr(openvino_runtime, "convert_module", alone)
    networks = compile_together(asked)
    assert {type(network) for network in networks.values()} == {OpenVinoNetwork}
