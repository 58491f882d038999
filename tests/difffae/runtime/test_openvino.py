"""OpenVINO runtime: same answers, warm starts, and every way it can fail without an exit."""

import builtins
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from difffae.runtime import entries
from difffae.runtime import openvino as runtime
from difffae.runtime.network import RuntimeUnavailableError
from difffae.runtime.openvino import OpenVinoConfig, compile_openvino

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO")

Inputs = tuple[Tensor, Tensor, Tensor]
EXACT = OpenVinoConfig(precision="fp32")


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def _replace_probe(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    script = folder / "probe.py"
    script.write_text(code, "utf-8")
    monkeypatch.setattr(runtime, "_PROBE", script)


@pytest.mark.usefixtures("warm_cache")
def test_full_precision_gives_the_answers_of_the_module(
    two_heads: nn.Module, inputs: Inputs
) -> None:
    outputs = compile_openvino(two_heads, inputs, config=EXACT)(*inputs)
    assert isinstance(outputs, tuple)
    for got, expected in zip(outputs, two_heads(*inputs), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("warm_cache")
def test_bfloat16_gives_close_answers_in_float32(two_heads: nn.Module, inputs: Inputs) -> None:
    outputs = compile_openvino(two_heads, inputs, config=OpenVinoConfig(precision="bf16"))(*inputs)
    for got, expected in zip(outputs, two_heads(*inputs), strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, expected, rtol=0.05, atol=0.05)


@pytest.mark.usefixtures("warm_cache")
def test_other_inputs_give_other_answers_and_results_outlive_the_next_call(
    one_head: nn.Module, image: Tensor
) -> None:
    network = compile_openvino(one_head, (image,), config=EXACT)
    first = network(image)
    second = network(-image)
    assert isinstance(first, Tensor)
    torch.testing.assert_close(first, one_head(image), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(second, one_head(-image), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("warm_cache")
def test_inputs_of_any_layout_and_float_type_are_read_rightly(
    one_head: nn.Module, image: Tensor
) -> None:
    network = compile_openvino(one_head, (image,), config=EXACT)
    expected = one_head(image)
    for same in (image.to(memory_format=torch.channels_last), image.double()):
        torch.testing.assert_close(network(same), expected, rtol=1e-4, atol=1e-4)
    half = image.bfloat16()
    torch.testing.assert_close(network(half), one_head(half.float()), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("warm_cache")
def test_it_works_within_inference_mode(one_head: nn.Module, image: Tensor) -> None:
    with torch.inference_mode():
        output = compile_openvino(one_head, (image.clone(),), config=EXACT)(image)
        torch.testing.assert_close(output, one_head(image), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("warm_cache")
def test_other_shapes_are_refused(one_head: nn.Module, image: Tensor) -> None:
    network = compile_openvino(one_head, (image,), config=EXACT)
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 16\).*expected \[\(1, 3, 16, 16\)\]"):
        network(image[:, :, :8])


def test_second_start_reads_the_cache_without_a_child_process(
    one_head: nn.Module, image: Tensor, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = compile_openvino(one_head, (image,), config=EXACT)(image)
    entries = _names(cache / "openvino")

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a warm start needs no child process")

    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(runtime, "_convert", refuse)
    assert torch.equal(compile_openvino(one_head, (image,), config=EXACT)(image), expected)
    assert _names(cache / "openvino") == entries
    assert len(entries) == 1
    assert len(_names(cache / "openvino" / entries[0] / "compiled")) == 1


def test_changed_weights_are_compiled_anew(one_head: nn.Module, image: Tensor, cache: Path) -> None:
    compile_openvino(one_head, (image,), config=EXACT)
    with torch.no_grad():
        one_head.conv.bias += 1.0
    output = compile_openvino(one_head, (image,), config=EXACT)(image)
    torch.testing.assert_close(output, one_head(image), rtol=1e-4, atol=1e-4)
    assert len(_names(cache / "openvino")) == 2


def test_crash_of_the_compiler_is_an_error_that_leaves_nothing_behind(
    one_head: nn.Module, image: Tensor, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    crash = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    _replace_probe(monkeypatch, tmp_path, crash)
    with pytest.raises(RuntimeUnavailableError, match="crashed on OneHead with SIGSEGV"):
        compile_openvino(one_head, (image,), config=EXACT)
    assert _names(cache / "openvino") == []


def test_wrong_answers_of_the_compiler_are_an_error(
    one_head: nn.Module, image: Tensor, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _replace_probe(monkeypatch, tmp_path, "import sys\nsys.exit('output 0 is wrong')\n")
    with pytest.raises(RuntimeUnavailableError, match="failed on OneHead: output 0 is wrong"):
        compile_openvino(one_head, (image,), config=EXACT)
    assert _names(cache / "openvino") == []


@pytest.mark.usefixtures("cache")
def test_compiler_that_hangs_is_an_error(
    one_head: nn.Module, image: Tensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _replace_probe(monkeypatch, tmp_path, "import threading\nthreading.Event().wait()\n")
    monkeypatch.setattr(runtime, "_PROBE_TIMEOUT_S", 0.2)
    with pytest.raises(RuntimeUnavailableError, match="did not compile OneHead within"):
        compile_openvino(one_head, (image,), config=EXACT)


def test_missing_openvino_is_an_error_that_says_what_to_install(
    one_head: nn.Module, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(RuntimeUnavailableError, match="pip install openvino"):
        compile_openvino(one_head, (image,), config=EXACT)


def test_cache_that_cannot_be_written_costs_the_next_start_and_says_so(
    one_head: nn.Module,
    image: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="difffae")
    (tmp_path / "file").write_text("not a folder", "utf-8")
    monkeypatch.setenv("DIFFFAE_CACHE", str(tmp_path / "file"))
    output = compile_openvino(one_head, (image,), config=EXACT)(image)
    torch.testing.assert_close(output, one_head(image), rtol=1e-4, atol=1e-4)
    assert "is not kept, and is built again next time" in caplog.text


def test_no_folder_to_build_in_is_an_error_that_says_what_to_do(
    one_head: nn.Module, image: Tensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder", "utf-8")
    monkeypatch.setenv("DIFFFAE_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(RuntimeUnavailableError, match=r"cannot keep OneHead.*DIFFFAE_CACHE"):
        compile_openvino(one_head, (image,), config=EXACT)


@pytest.mark.parametrize("name", ["network.xml", "network.bin", "network.json", "compiled/*"])
def test_damaged_cache_entry_is_built_anew_at_once(
    one_head: nn.Module, image: Tensor, cache: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.WARNING, logger="difffae")
    compile_openvino(one_head, (image,), config=EXACT)
    entry = next((cache / "openvino").iterdir())
    [damaged] = entry.glob(name)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    output = compile_openvino(one_head, (image,), config=EXACT)(image)
    torch.testing.assert_close(output, one_head(image), rtol=1e-4, atol=1e-4)
    assert f"has a damaged file: {damaged.relative_to(entry)}; it is built anew" in caplog.text
    assert len(_names(cache / "openvino")) == 1


def test_entry_that_openvino_itself_refuses_is_not_left_for_the_next_start(
    one_head: nn.Module, image: Tensor, cache: Path
) -> None:
    compile_openvino(one_head, (image,), config=EXACT)
    entry = next((cache / "openvino").iterdir())
    (entry / "network.xml").write_text("<net", "utf-8")
    entries.seal(entry, entry.name)
    with pytest.raises(RuntimeUnavailableError, match="its cache entry was removed"):
        compile_openvino(one_head, (image,), config=EXACT)
    assert _names(cache / "openvino") == []


class _Selective(nn.Module):
    """Uses only the first of its inputs."""

    def forward(self, used: Tensor, unused: Tensor) -> Tensor:
        return used * 2


class _Nested(nn.Module):
    """Gives a tuple within a tuple."""

    def forward(self, image: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        return (image + 1, image + 2), image + 3


class _Foreign(nn.Module):
    """Computes something OpenVINO has no operation for."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.linalg.eigvals(image).real


@pytest.mark.usefixtures("warm_cache")
def test_unused_input_is_carried(image: Tensor) -> None:
    network = compile_openvino(_Selective(), (image, image), config=EXACT)
    assert torch.equal(network(image, image * 0), image * 2)


def test_nested_results_are_refused(image: Tensor, cache: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"got 1 inputs and 3 outputs.*flat tuple"):
        compile_openvino(_Nested(), (image,), config=EXACT)
    assert _names(cache / "openvino") == []


def test_network_that_cannot_be_converted_is_an_error(image: Tensor, cache: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match="OpenVINO cannot convert _Foreign"):
        compile_openvino(_Foreign(), (image,), config=EXACT)
    assert _names(cache / "openvino") == []


@pytest.mark.usefixtures("warm_cache")
def test_telemetry_of_openvino_is_not_loaded(one_head: nn.Module, image: Tensor) -> None:
    compile_openvino(one_head, (image,), config=EXACT)
    assert sys.modules.get("openvino_telemetry") is None


_TYPES_AT_ONCE = """
import os, sys, threading
from difffae.runtime.openvino import import_openvino

sys.setswitchinterval(1e-6)
together = threading.Barrier(8)

def ask() -> None:
    openvino = import_openvino()
    together.wait()
    openvino.Type.f32.to_dtype()

asking = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
for thread in asking:
    thread.start()
for thread in asking:
    thread.join()
"""


def test_networks_that_are_loaded_side_by_side_do_not_wait_for_each_other() -> None:
    """Threads that ask OpenVINO for the first NumPy type at once hang."""
    subprocess.run([sys.executable, "-c", _TYPES_AT_ONCE], check=True, timeout=60)


@pytest.mark.usefixtures("cache")
def test_other_threads_keep_their_builtins_while_a_network_is_converted(image: Tensor) -> None:
    own = divmod
    seen = []

    class Watching(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            seen.append(builtins.divmod)
            return 2 * image

    compile_openvino(Watching(), (image,), config=EXACT)

    assert len(seen) > 1
    assert set(seen) == {own}


@pytest.mark.usefixtures("cache")
def test_a_conversion_that_fails_leaves_the_log_as_it_was(image: Tensor) -> None:
    root = logging.getLogger()
    earlier = root.level, root.filters.copy(), root.handlers.copy()
    with pytest.raises(RuntimeUnavailableError, match="OpenVINO cannot convert _Foreign"):
        compile_openvino(_Foreign(), (image,), config=EXACT)
    assert (root.level, root.filters, root.handlers) == earlier


def test_threads_are_limited_to_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2})
    for asked, given in ((1, 1), (3, 3), (8, 3)):
        settings = runtime._device_settings(OpenVinoConfig(num_threads=asked))
        assert settings["INFERENCE_NUM_THREADS"] == given
    with pytest.raises(ValueError, match="num_threads is 0"):
        OpenVinoConfig(num_threads=0)


@pytest.mark.usefixtures("warm_cache")
def test_pictures_go_in_and_come_out_as_integers() -> None:
    class Brighter(nn.Module):
        def forward(self, picture: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
            brighter = (picture.float() + by).clamp(0, 255).round()
            return brighter.to(torch.uint8), brighter.mean((1, 2))

    picture = torch.randint(0, 256, (1, 6, 5, 3), dtype=torch.uint8)
    by = torch.tensor([40.4])
    network = compile_openvino(Brighter(), (picture, by), config=EXACT)
    brighter, mean = network(picture, by)
    wanted, wanted_mean = Brighter()(picture, by)
    assert torch.equal(brighter, wanted)
    torch.testing.assert_close(mean, wanted_mean)


@pytest.mark.usefixtures("warm_cache")
def test_inputs_that_cannot_be_written_are_read(one_head: nn.Module, image: Tensor) -> None:
    network = compile_openvino(one_head, (image,), config=EXACT)
    kept = image.numpy().copy()
    kept.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch's, that they must not be written
        given = torch.from_numpy(kept)
    torch.testing.assert_close(network(given), one_head(image), rtol=1e-4, atol=1e-4)
