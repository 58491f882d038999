"""Ranges of a calibration: read, kept, put into a network, and refused by another network."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from difffae.runtime.network import NeverAvailableError
from difffae.runtime.openvino import convert_module, import_openvino
from difffae.runtime.quantization import (
    Calibration,
    InputMoments,
    Quantizer,
    example_inputs,
    insert_quantizers,
    pack,
    read_quantizers,
    unpack,
)

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO")

CONVOLUTION = "__module.conv/aten::_convolution/Convolution"


def scalar(value: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.full((1, 1, 1, 1), value, np.float32)


def moments(*values: float) -> InputMoments:
    return InputMoments(
        mean=np.asarray(values, np.float32), spread=np.full(len(values), 0.5, np.float32)
    )


def calibration(name: str = CONVOLUTION, high: float = 1.0) -> Calibration:
    quantizer = Quantizer(consumers=((name, 0),), levels=3, low=scalar(-high), high=scalar(high))
    return Calibration(quantizers=(quantizer,), inputs=(moments(0.0, 10.0, -10.0),))


@needs_openvino
def test_the_input_of_an_operation_is_rounded_to_the_levels(
    one_head: nn.Module, image: Tensor
) -> None:
    openvino = import_openvino()
    model = convert_module(openvino, one_head, (image,))
    insert_quantizers(openvino, model, calibration())
    network = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    got = torch.from_numpy(np.array(network([image.numpy()])[0]))
    rounded = image.clamp(-1, 1).round()
    torch.testing.assert_close(got, one_head(rounded), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(got, one_head(image), atol=0.1)


@needs_openvino
def test_what_was_put_in_can_be_read_again(one_head: nn.Module, image: Tensor) -> None:
    openvino = import_openvino()
    model = convert_module(openvino, one_head, (image,))
    insert_quantizers(openvino, model, calibration(high=2.5))
    (found,) = read_quantizers(model)
    assert found.consumers == ((CONVOLUTION, 0),)
    assert found.levels == 3
    assert (found.low.item(), found.high.item()) == (-2.5, 2.5)


@needs_openvino
def test_a_network_with_other_operations_is_refused(one_head: nn.Module, image: Tensor) -> None:
    openvino = import_openvino()
    model = convert_module(openvino, one_head, (image,))
    with pytest.raises(NeverAvailableError, match="wants input 0 of elsewhere"):
        insert_quantizers(openvino, model, calibration("elsewhere"))


def test_a_calibration_survives_being_kept() -> None:
    kept = calibration()
    again = unpack(*pack(kept))
    assert again.digest == kept.digest
    assert again.quantizers[0].consumers == ((CONVOLUTION, 0),)
    np.testing.assert_array_equal(again.inputs[0].mean, [0, 10, -10])
    assert calibration(high=1.5).digest != kept.digest
    assert calibration("elsewhere").digest != kept.digest


@pytest.mark.parametrize(
    "text", ['[{"consumers": [["a", 0]], "levels": 3}, {"levels": 3}]', '[{"levels": 3}]', "{", "3"]
)
def test_what_is_no_calibration_is_refused(text: str) -> None:
    tensors, _ = pack(calibration())
    with pytest.raises(ValueError, match=r"calibration|Expecting"):
        unpack(tensors, text)


def test_examples_are_like_the_inputs_of_calibration_and_always_the_same() -> None:
    (drawn,) = example_inputs(calibration(), [torch.zeros(1, 3, 64, 64)])
    assert drawn.shape == (1, 3, 64, 64)
    assert drawn[0].mean((1, 2)).tolist() == pytest.approx([0, 10, -10], abs=0.5)
    assert 0.1 < drawn[0, 0].std().item() < 0.8
    assert torch.equal(drawn, example_inputs(calibration(), [torch.zeros(1, 3, 64, 64)])[0])
    with pytest.raises(NeverAvailableError, match="1 inputs, not 2"):
        example_inputs(calibration(), [torch.zeros(1, 3, 8, 8), torch.zeros(1)])
