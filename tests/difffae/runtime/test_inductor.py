"""Inductor runtime: same answers where there is a C++ compiler, a plain refusal where not."""

import shutil
import sysconfig
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from difffae.runtime.inductor import compile_inductor
from difffae.runtime.network import RuntimeUnavailableError

HEADER = Path(sysconfig.get_path("include"), "Python.h")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.skipif(
    shutil.which("g++") is None or not HEADER.is_file(), reason="inductor needs g++ and Python.h"
)
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
