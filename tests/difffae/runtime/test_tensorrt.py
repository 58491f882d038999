"""TensorRT's runtime against a stub of Torch-TensorRT: what it is asked, kept, and told."""

import json
import logging
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from difffae.config import read_model_config
from difffae.generator import Generator, Placement
from difffae.networks import build_networks
from difffae.runtime import RuntimeUnavailableError
from difffae.runtime import tensorrt as tensorrt_runtime
from difffae.runtime.network import NeverAvailableError
from difffae.runtime.tensorrt import TensorRtNetwork, compile_tensorrt, is_installed
from random_model import MODEL
from stub_tensorrt import StubTensorRt

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:copyreg")
Inputs = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> StubTensorRt:
    """Torch-TensorRT that takes the CPU for its GPU."""
    stub = StubTensorRt()
    monkeypatch.setitem(sys.modules, "torch_tensorrt", stub.module())
    monkeypatch.setattr(tensorrt_runtime, "_DEVICE", "cpu")
    return stub


def entry_of(cache: Path) -> Path:
    [entry] = cache.joinpath("tensorrt").iterdir()
    return entry


def own_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What our own code told; PyTorch traces to its loggers."""
    return [each.getMessage() for each in caplog.records if each.name.startswith("difffae")]


@pytest.mark.usefixtures("cache")
def test_engine_gives_the_answers_of_the_module_in_its_form(
    two_heads: nn.Module, one_head: nn.Module, inputs: Inputs, image: Tensor, stub: StubTensorRt
) -> None:
    outputs = compile_tensorrt(two_heads, inputs)(*inputs)
    assert isinstance(outputs, tuple)
    for output, wanted in zip(outputs, two_heads(*inputs), strict=True):
        assert output.dtype == torch.float32
        torch.testing.assert_close(output, wanted, rtol=0.01, atol=0.01)
    torch.testing.assert_close(
        compile_tensorrt(one_head, (image,))(image), one_head(image), rtol=0.01, atol=0.01
    )
    assert stub.loaded[-1] == ("OneHead", ["inputs_0"], ["output0"], 0)


@pytest.mark.usefixtures("cache")
def test_every_network_of_a_model_can_be_exported_and_is_right(
    tmp_path: Path, stub: StubTensorRt
) -> None:
    torch.manual_seed(0)
    tmp_path.joinpath("config.yaml").write_text(yaml.safe_dump({"model": MODEL}), "utf-8")
    config = read_model_config(tmp_path / "config.yaml")
    networks = build_networks(config)
    for network in networks.values():
        for tensor in network.parameters():
            if not tensor.any():
                nn.init.normal_(tensor, std=0.1)
    Generator(config, networks, placement=Placement(runtime="tensorrt"))
    names = [name for name, *_ in stub.loaded]
    once = ["Predictor", "PictureEncoder", "PictureDecoder"]
    assert names == [name for name in once for _ in ("tried", "loaded")]


@pytest.mark.usefixtures("cache")
def test_a_tuple_of_one_stays_a_tuple(image: Tensor, stub: StubTensorRt) -> None:
    class Alone(nn.Module):
        def forward(self, image: Tensor) -> tuple[Tensor]:
            return (image * 2,)

    [output] = compile_tensorrt(Alone(), (image,))(image)
    torch.testing.assert_close(output, image * 2)


def test_builder_is_given_the_graph_the_inputs_and_settings_without_foreign_files(
    one_head: nn.Module, image: Tensor, cache: Path, stub: StubTensorRt
) -> None:
    compile_tensorrt(one_head, (image,))
    [given] = stub.settings
    [example] = given.pop("arg_inputs")
    assert (example.shape, example.dtype) == (image.shape, image.dtype)
    assert given.pop("exported_program") is stub.programs[0]
    assert Path(given.pop("timing_cache_path")).is_relative_to(cache)
    assert given == {
        "attn_bias_is_causal": False,
        "cache_built_engines": False,
        "device": torch.device("cpu"),
        "hardware_compatible": False,
        "immutable_weights": True,
        "reuse_cached_engines": False,
        "truncate_double": True,
    }


@pytest.mark.parametrize(
    ("precision", "type_"),
    [("auto", torch.float16), ("bf16", torch.bfloat16), ("fp32", torch.float32)],
)
@pytest.mark.usefixtures("cache")
def test_exported_graph_holds_the_precision_but_for_the_timestep(
    two_heads: nn.Module, inputs: Inputs, stub: StubTensorRt, precision: str, type_: torch.dtype
) -> None:
    compile_tensorrt(two_heads, inputs, precision=precision)  # type: ignore[arg-type]
    nodes = {node.name: node for node in stub.programs[0].run_decompositions().graph.nodes}
    assert nodes["convolution"].meta["val"].dtype == type_
    assert nodes["div"].meta["val"].dtype == torch.float32  # the timestep


@pytest.mark.usefixtures("cache")
def test_one_engine_takes_any_timestep(
    two_heads: nn.Module, inputs: Inputs, stub: StubTensorRt
) -> None:
    image, _, tokens = inputs
    network = compile_tensorrt(two_heads, inputs, precision="fp32")
    for t in (999, 499, 0):
        time = torch.tensor([t])
        torch.testing.assert_close(
            network(image, time, tokens), two_heads(image, time, tokens), rtol=1e-4, atol=1e-4
        )
    assert len(stub.programs) == 1


def test_second_start_loads_the_kept_engine(
    one_head: nn.Module, image: Tensor, cache: Path, stub: StubTensorRt
) -> None:
    first = compile_tensorrt(one_head, (image,))
    stub.build_error = RuntimeError("must not build")
    second = compile_tensorrt(one_head, (image,))
    assert isinstance(second, TensorRtNetwork)
    torch.testing.assert_close(second(image), first(image), rtol=0, atol=0)
    entry = entry_of(cache)
    assert {path.name for path in entry.iterdir()} == {
        "engine.plan",
        "manifest.json",
        "network.json",
    }
    assert json.loads((entry / "network.json").read_text("utf-8")) == {
        "name": "OneHead",
        "shapes": [[1, 3, 16, 16]],
        "types": ["float32"],
        "inputs": ["inputs_0"],
        "outputs": ["output0"],
        "is_tuple": False,
    }


@pytest.mark.parametrize("change", ["weights", "precision", "driver", "version"])
def test_another_network_precision_or_machine_is_built_anew(
    one_head: nn.Module,
    image: Tensor,
    cache: Path,
    stub: StubTensorRt,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    compile_tensorrt(one_head, (image,))
    if change == "weights":
        with torch.no_grad():
            next(one_head.parameters()).add_(1)
    if change == "driver":
        monkeypatch.setattr(tensorrt_runtime, "machine_facts", lambda device: ("driver 999",))
    if change == "version":
        monkeypatch.setattr(sys.modules["torch_tensorrt"], "__version__", "2.13.1")
    compile_tensorrt(one_head, (image,), precision="bf16" if change == "precision" else "auto")
    assert len(list(cache.joinpath("tensorrt").iterdir())) == len(stub.programs) == 2


@pytest.mark.parametrize("kind", ["changed", "foreign", "grown", "writable"])
def test_an_entry_that_is_not_as_written_is_built_anew_and_never_loaded(
    one_head: nn.Module,
    image: Tensor,
    cache: Path,
    stub: StubTensorRt,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    compile_tensorrt(one_head, (image,))
    engine = entry_of(cache) / "engine.plan"
    if kind == "changed":
        engine.write_bytes(engine.read_bytes().replace(b"0", b"7"))
    if kind == "foreign":
        manifest = json.loads((engine.parent / "manifest.json").read_text("utf-8"))
        (engine.parent / "manifest.json").write_text(
            json.dumps({**manifest, "key": "Other-1"}), "utf-8"
        )
    if kind == "grown":
        (engine.parent / "more.pkl").write_bytes(b"")
    if kind == "writable":
        engine.chmod(0o666)
    torch.testing.assert_close(
        compile_tensorrt(one_head, (image,))(image), one_head(image), rtol=0.01, atol=0.01
    )
    assert len(stub.programs) == 2
    assert "it is built anew" in caplog.text
    assert json.loads((entry_of(cache) / "engine.plan").read_bytes()) == {"stub engine": 1}


@pytest.mark.usefixtures("cache", "stub")
def test_a_build_is_told_when_it_begins_and_ends_and_only_then(
    one_head: nn.Module,
    image: Tensor,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tensorrt_runtime, "device_name", lambda device: "NVIDIA L4")
    compile_tensorrt(one_head, (image,))
    begun, done = own_lines(caplog)
    assert begun == (
        "building the TensorRT engine of OneHead for NVIDIA L4: this takes minutes, "
        "the first time only"
    )
    assert done.startswith("built the TensorRT engine of OneHead in ")
    caplog.clear()
    compile_tensorrt(one_head, (image,))
    assert own_lines(caplog) == []


def test_a_cache_that_cannot_be_used_costs_the_time_of_building(
    one_head: nn.Module, image: Tensor, cache: Path, stub: StubTensorRt
) -> None:
    cache.write_text("a file where the folder should be", "utf-8")
    torch.testing.assert_close(
        compile_tensorrt(one_head, (image,))(image), one_head(image), rtol=0.01, atol=0.01
    )
    compile_tensorrt(one_head, (image,))
    assert len(stub.programs) == 2


def test_a_build_that_fails_is_told_in_one_sentence_and_leaves_nothing(
    one_head: nn.Module, image: Tensor, cache: Path, stub: StubTensorRt
) -> None:
    stub.build_error = RuntimeError("no converter for aten.frobnicate\nand a long graph")
    with pytest.raises(
        NeverAvailableError,
        match=r"^TensorRT cannot build OneHead: no converter for aten\.frobnicate$",
    ):
        compile_tensorrt(one_head, (image,))
    assert list(cache.joinpath("tensorrt").iterdir()) == []
    assert logging.getLogger("torch_tensorrt").level == logging.NOTSET


@pytest.mark.usefixtures("cache")
def test_a_build_without_enough_memory_is_tried_again_next_time(
    one_head: nn.Module, image: Tensor, stub: StubTensorRt
) -> None:
    stub.build_error = RuntimeError("While interpreting the module got an error")
    stub.build_error.__cause__ = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeUnavailableError, match="cannot build OneHead") as caught:
        compile_tensorrt(one_head, (image,))
    assert not isinstance(caught.value, NeverAvailableError)


@pytest.mark.parametrize("factor", [1.5, float("nan")])
def test_wrong_answers_are_refused(
    one_head: nn.Module, image: Tensor, cache: Path, stub: StubTensorRt, factor: float
) -> None:
    stub.factor = factor
    with pytest.raises(NeverAvailableError, match="gets OneHead wrong: output 0 has a relative"):
        compile_tensorrt(one_head, (image,))
    assert list(cache.joinpath("tensorrt").iterdir()) == []


def test_a_kept_engine_that_cannot_be_loaded_is_removed(
    one_head: nn.Module, image: Tensor, cache: Path, stub: StubTensorRt
) -> None:
    compile_tensorrt(one_head, (image,))
    stub.load_error = RuntimeError("the engine plan file is not compatible")
    with pytest.raises(RuntimeUnavailableError, match="cannot run OneHead: the engine plan file"):
        compile_tensorrt(one_head, (image,))
    assert list(cache.joinpath("tensorrt").iterdir()) == []


@pytest.mark.usefixtures("cache")
def test_other_shapes_are_refused(one_head: nn.Module, image: Tensor, stub: StubTensorRt) -> None:
    network = compile_tensorrt(one_head, (image,))
    with pytest.raises(ValueError, match="compile the network again"):
        network(image[:, :, :8])


def test_without_torch_tensorrt_one_sentence_says_what_to_install(
    one_head: nn.Module, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_runtime, "_DEVICE", "cpu")
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    assert not is_installed()
    with pytest.raises(RuntimeUnavailableError) as caught:
        compile_tensorrt(one_head, (image,))
    text = str(caught.value)
    assert text.startswith("Torch-TensorRT cannot be imported (")
    assert text.endswith("install it with: pip install 'torch-tensorrt>=2.13,<2.14'")


def test_without_the_libraries_of_tensorrt_one_sentence_says_so(
    one_head: nn.Module,
    image: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "print('set LD_LIBRARY_PATH')\nraise Exception('no libnvinfer.so.11')\n"
    tmp_path.joinpath("torch_tensorrt.py").write_text(text, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch_tensorrt", raising=False)
    monkeypatch.setattr(tensorrt_runtime, "_DEVICE", "cpu")
    assert is_installed()
    with pytest.raises(RuntimeUnavailableError, match=r"imported \(no libnvinfer\.so\.11\)"):
        compile_tensorrt(one_head, (image,))
    assert capsys.readouterr().out == ""


def test_the_cpu_is_refused(one_head: nn.Module, image: Tensor) -> None:
    with pytest.raises(RuntimeUnavailableError, match="needs a CUDA device, got cpu"):
        compile_tensorrt(one_head, (image,))
