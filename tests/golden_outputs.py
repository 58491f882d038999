"""Outputs of small networks as they were when first written, and the comparison with them."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

GOLDEN = Path(__file__).parent / "difffae" / "model" / "golden"


def assert_golden(name: str, outputs: Sequence[Tensor]) -> None:
    """Compare with the golden file of that name; DIFFFAE_WRITE_GOLDEN=1 writes it anew."""
    named = {f"output{k}": output.contiguous() for k, output in enumerate(outputs)}
    path = GOLDEN / f"{name}.safetensors"
    if os.environ.get("DIFFFAE_WRITE_GOLDEN"):
        save_file(named, path)
    golden = load_file(path)
    assert golden.keys() == named.keys()
    for key, wanted in golden.items():
        assert wanted.std() > 1e-2
        torch.testing.assert_close(named[key], wanted, atol=2e-4, rtol=2e-4)
