"""Eager runtime: same answers, no autograd, the caller's module untouched."""

import pytest
import torch
from torch import Tensor, nn

from difffae.runtime.eager import compile_eager

Inputs = tuple[Tensor, Tensor, Tensor]


def test_full_precision_gives_the_answers_of_the_module(
    two_heads: nn.Module, inputs: Inputs
) -> None:
    network = compile_eager(two_heads, inputs, precision="fp32")
    outputs = network(*inputs)
    assert isinstance(outputs, tuple)
    for got, expected in zip(outputs, two_heads(*inputs), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
        assert not got.requires_grad


def test_bfloat16_gives_close_answers_in_float32(two_heads: nn.Module, inputs: Inputs) -> None:
    outputs = compile_eager(two_heads, inputs, precision="bf16")(*inputs)
    for got, expected in zip(outputs, two_heads(*inputs), strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, expected, rtol=0.03, atol=0.03)
        assert not torch.equal(got, expected)


def test_single_tensor_stays_a_single_tensor(one_head: nn.Module, image: Tensor) -> None:
    output = compile_eager(one_head, (image,), precision="fp32")(image)
    assert isinstance(output, Tensor)
    torch.testing.assert_close(output, one_head(image), rtol=1e-4, atol=1e-4)


def test_module_of_the_caller_is_left_alone(one_head: nn.Module, image: Tensor) -> None:
    one_head.train()
    network = compile_eager(one_head, (image,), precision="fp32")
    before = network(image)
    with torch.no_grad():
        one_head.conv.weight.zero_()
    assert one_head.training
    assert one_head.conv.weight.requires_grad
    assert torch.equal(network(image), before)


def test_dropout_is_off(image: Tensor) -> None:
    network = compile_eager(nn.Dropout(0.5), (image,), precision="fp32")
    assert torch.equal(network(image), image)


def test_other_shapes_are_refused(two_heads: nn.Module, inputs: Inputs) -> None:
    network = compile_eager(two_heads, inputs, precision="fp32")
    with pytest.raises(ValueError, match=r"got inputs of shapes .*\(1, 6, 16, 16\).*expected"):
        network(inputs[0][:, :, :16, :16], *inputs[1:])
    with pytest.raises(ValueError, match="compile the network again"):
        network(*inputs[:2])
