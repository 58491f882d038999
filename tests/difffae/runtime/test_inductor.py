"""Inductor runtime: same answers where there is a C++ compiler, a plain refusal where not."""

import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from difffae.runtime.inductor import compile_inductor, inductor_options
from difffae.runtime.network import RuntimeUnavailableError

HEADER = Path(sysconfig.get_path("include"), "Python.h")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None or not HEADER.is_file(), reason="inductor needs g++ and Python.h"
)


@needs_compiler
def test_compiled_network_gives_the_answers_of_the_module(
    one_head: nn.Module, image: Tensor
) -> None:
    network = compile_inductor(one_head, (image,), precision="fp32")
    torch.testing.assert_close(network(image), one_head(image), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="compile the network again"):
        network(image[:, :, :8])


def test_missing_compiler_is_named(
    image: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    module = nn.Sequential(nn.Softplus(beta=1.625), nn.Softsign())
    with (
        torch._inductor.config.patch({"cpp.cxx": (str(tmp_path / "no-such-compiler"),)}),
        pytest.raises(RuntimeUnavailableError, match=r"cannot compile Sequential: .*g\+\+"),
    ):
        compile_inductor(module, (image,), precision="fp32")


@needs_compiler
def test_tensors_of_inference_mode_do_not_have_it_compiled_again(
    two_heads: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    network = compile_inductor(two_heads, inputs, precision="fp32")
    num_graphs = counters["stats"]["unique_graphs"]
    with torch.inference_mode():
        network(*(tensor + 0 for tensor in inputs))
    assert counters["stats"]["unique_graphs"] == num_graphs


@pytest.mark.parametrize("type_", [torch.float32, torch.float16, torch.int64])
def test_results_stay_as_they_are_when_the_next_call_writes_its_own(
    one_head: nn.Module, image: Tensor, monkeypatch: pytest.MonkeyPatch, type_: torch.dtype
) -> None:
    memory = torch.zeros(1, dtype=type_)

    def replay(image: Tensor) -> tuple[Tensor, Tensor]:
        memory.add_(1)
        return memory, memory

    monkeypatch.setattr(torch, "compile", lambda network, **given: replay)
    network = compile_inductor(one_head, (image,))
    first, second = network(image), network(image)
    assert [float(each) for each in (*first, *second)] == [2, 2, 3, 3]
    assert first[0].dtype == (torch.int64 if type_ == torch.int64 else torch.float32)


def test_a_gpu_replays_a_graph_that_belongs_to_no_thread() -> None:
    assert inductor_options(torch.device("cpu")) == {"freezing": True}
    assert inductor_options(torch.device("cuda:1")) == {
        "freezing": True,
        "triton.cudagraphs": True,
        "triton.cudagraph_trees": False,
    }


def test_options_reach_the_compiler_and_are_known_to_it(
    one_head: nn.Module, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, object] = {}

    def compile_(network: nn.Module, **kwargs: object) -> Callable[[Tensor], Tensor]:
        given.update(kwargs)
        return network

    monkeypatch.setattr(torch, "compile", compile_)
    compile_inductor(one_head, (image,))
    assert given == {"dynamic": False, "options": {"freezing": True}}
    known = torch._inductor.config.get_config_copy()
    assert inductor_options(torch.device("cuda")).keys() <= known.keys()
