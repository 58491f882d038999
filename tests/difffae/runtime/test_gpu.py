"""The runtimes on a real GPU: right answers in every precision, and results of the caller's own."""

import threading
from importlib.util import find_spec
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from difffae.runtime import Network, Precision, RuntimeName, compile_network

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.usefixtures("warm_cache"),
]
needs_tensorrt = pytest.mark.skipif(
    find_spec("torch_tensorrt") is None, reason="needs Torch-TensorRT"
)
RUNTIMES = ["eager", "inductor", pytest.param("tensorrt", marks=needs_tensorrt)]
Inputs = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def uploaded(inputs: Inputs) -> Inputs:
    first, second, third = (tensor.cuda() for tensor in inputs)
    return first, second, third


@pytest.mark.parametrize("precision", [p for p in get_args(Precision) if p != "int8"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_answers_are_those_of_the_module(
    two_heads: nn.Module,
    inputs: Inputs,
    uploaded: Inputs,
    runtime: RuntimeName,
    precision: Precision,
) -> None:
    network = compile_network(two_heads, uploaded, runtime=runtime, precision=precision)
    for output, wanted in zip(network(*uploaded), two_heads(*inputs), strict=True):
        assert (output.dtype, output.device.type) == (torch.float32, "cuda")
        torch.testing.assert_close(output.cpu(), wanted, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_results_outlive_the_next_call_and_another_thread_may_make_it(
    two_heads: nn.Module, uploaded: Inputs, runtime: RuntimeName
) -> None:
    network = compile_network(two_heads, uploaded, runtime=runtime)
    first = network(*uploaded)
    kept = [tensor.clone() for tensor in first]
    others = _called_in_a_thread(network, (uploaded[0] + 1, *uploaded[1:]))
    for tensor, before, other in zip(first, kept, others, strict=True):
        torch.testing.assert_close(tensor, before, rtol=0, atol=0)
        assert not torch.equal(tensor, other)


def _called_in_a_thread(network: Network, inputs: Inputs) -> list[Tensor]:
    """What a network answers in another thread, in inference mode as a generator is."""
    answers: list[Tensor] = []

    def call() -> None:
        with torch.inference_mode():
            answers.extend(network(*inputs))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return answers
