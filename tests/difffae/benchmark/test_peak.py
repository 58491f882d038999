"""The machine's convolution peak is counted in FLOPs and leaves PyTorch's threads as they were."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from difffae.benchmark.peak import conv_flops, conv_peak

TINY = ((8, 16),)


def test_flops_of_a_convolution_are_what_pytorch_counts() -> None:
    with FlopCounterMode(display=False) as counter:
        torch.nn.functional.conv2d(torch.zeros(1, 8, 16, 16), torch.zeros(8, 8, 3, 3), padding=1)
    assert conv_flops(8, 16) == counter.get_total_flops()


@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_each_type_has_a_peak_and_threads_are_given_back(kind: str) -> None:
    before = torch.get_num_threads()
    assert conv_peak(kind, num_threads=before + 1, seconds=1e-3, shapes=TINY) > 0
    assert torch.get_num_threads() == before


def test_a_peak_of_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a shape and a time"):
        conv_peak("fp32", seconds=0)
