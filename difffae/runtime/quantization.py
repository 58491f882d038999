"""Which tensors of a network are rounded to 8-bit integers, and over which range.

That is all that calibration finds (Jacob et al., arXiv 1712.05877, section 2): no weights and no
pictures. It is kept by the names of OpenVINO's operations, and put into a freshly converted network
as FakeQuantize operations, which OpenVINO compiles to integer kernels.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from difffae.runtime.network import NeverAvailableError

Consumer = tuple[str, int]
"""An operation's name, and which of its inputs."""

_KIND = "FakeQuantize"


@dataclass(frozen=True, kw_only=True)
class Quantizer:
    """One tensor that is rounded.

    Attributes:
        consumers: what reads the rounded tensor.
        levels: how many values there are, 256 or 255.
        low, high: the range, one for the tensor or one for each channel: of any shape that
            broadcasts to the tensor's.
    """

    consumers: tuple[Consumer, ...]
    levels: int
    low: NDArray[np.float32]
    high: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class InputMoments:
    """What one input of a network was like in calibration, channel by channel.

    Attributes:
        mean, spread: (c,) mean and standard deviation; c is 1 unless the input is an image. Those
            of bytes are pictures, whose channels come last.
    """

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Everything needed to run one network in 8-bit integers.

    Attributes:
        quantizers: in no particular order.
        inputs: of each input of the network.
    """

    quantizers: tuple[Quantizer, ...]
    inputs: tuple[InputMoments, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, in hexadecimal."""
        tensors, text = pack(self)
        digest = hashlib.sha256(text.encode())
        for name in sorted(tensors):
            digest.update(name.encode())
            digest.update(tensors[name].numpy().data)
        return digest.hexdigest()


def name_stably(model: Any) -> None:
    """Rename, in place, the operations that OpenVINO numbers anew at each conversion.

    Args:
        model: a freshly converted ``openvino.Model``.
    """
    numbers: dict[str, int] = {}
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if re.fullmatch(rf"{kind}_\d+", node.get_friendly_name()):
            numbers[kind] = numbers.get(kind, -1) + 1
            node.set_friendly_name(f"unnamed {kind} {numbers[kind]}")


def read_quantizers(quantized: Any) -> tuple[Quantizer, ...]:
    """The quantizers that NNCF put into a network of OpenVINO.

    Args:
        quantized: an ``openvino.Model`` whose weights are still fp32.
    """
    found = []
    for node in quantized.get_ordered_ops():
        if node.get_type_name() != _KIND:
            continue
        low, high = (
            node.input_value(port).get_node().get_data().astype(np.float32) for port in (1, 2)
        )
        readers = [
            (port.get_node(), port.get_index()) for port in node.output(0).get_target_inputs()
        ]
        # Shapes stay what they are, and OpenVINO numbers these operations anew each time.
        readers = [
            (reader, port) for reader, port in readers if reader.get_type_name() != "ShapeOf"
        ]
        consumers = sorted((reader.get_friendly_name(), port) for reader, port in readers)
        levels = int(node.get_attributes()["levels"])
        found.append(Quantizer(consumers=tuple(consumers), levels=levels, low=low, high=high))
    return tuple(found)


def insert_quantizers(openvino: ModuleType, model: Any, calibration: Calibration) -> None:
    """Put a calibration's quantizers into a converted network, in place.

    Args:
        openvino: the package.
        model: an ``openvino.Model`` of the network that was calibrated.
        calibration: what was found.

    Raises:
        NeverAvailableError: the network has other operations than the calibrated one.
    """
    operations = {node.get_friendly_name(): node for node in model.get_ops()}
    for quantizer in calibration.quantizers:
        inputs = [_input(operations, consumer) for consumer in quantizer.consumers]
        source = inputs[0].get_source_output()
        low, high = (openvino.opset13.constant(value) for value in (quantizer.low, quantizer.high))
        rounded = openvino.opset13.fake_quantize(source, low, high, low, high, quantizer.levels)
        for each in inputs:
            if each.get_source_output() != source:
                raise _mismatch(quantizer.consumers[0])
            each.replace_source_output(rounded.output(0))
    model.validate_nodes_and_infer_types()


def example_inputs(calibration: Calibration, like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Inputs drawn like those of calibration, smooth in space: always the same ones.

    Args:
        calibration: of the network.
        like: inputs of its shapes and types, on the CPU.

    Raises:
        NeverAvailableError: the calibration is of a network with other inputs.
    """
    if len(like) != len(calibration.inputs):
        raise NeverAvailableError(
            f"the calibration is of {len(calibration.inputs)} inputs, not {len(like)}; "
            "run python -m difffae.calibrate again"
        )
    generator = torch.Generator().manual_seed(0)
    drawn = []
    for given, moments in zip(like, calibration.inputs, strict=True):
        is_picture = given.dtype == torch.uint8
        shape = tuple(given.permute(0, 3, 1, 2).shape if is_picture else given.shape)
        mean, spread = (torch.from_numpy(each) for each in (moments.mean, moments.spread))
        if len(shape) == 4:
            coarse = (max(shape[2] // 8, 1), max(shape[3] // 8, 1))
            noise = torch.randn(*shape[:2], *coarse, generator=generator)
            noise = torch.nn.functional.interpolate(noise, shape[2:], mode="bilinear")
            mean, spread = mean[:, None, None], spread[:, None, None]
        else:
            noise = torch.randn(shape, generator=generator)
        made = noise * spread + mean
        if is_picture:
            made = made.permute(0, 2, 3, 1).clamp(0, 255).round().contiguous()
        drawn.append(made.to(given.dtype))
    return tuple(drawn)


def pack(calibration: Calibration) -> tuple[dict[str, Tensor], str]:
    """A calibration as named tensors, and a text with the names that tensors cannot hold."""
    tensors = {}
    for index, each in enumerate(calibration.quantizers):
        tensors[f"range.{index}"] = torch.from_numpy(np.stack([each.low, each.high]))
    for index, moments in enumerate(calibration.inputs):
        tensors[f"input.{index}"] = torch.from_numpy(np.stack([moments.mean, moments.spread]))
    listed = [{"consumers": q.consumers, "levels": q.levels} for q in calibration.quantizers]
    return tensors, json.dumps(listed, separators=(",", ":"))


def unpack(tensors: Mapping[str, Tensor], text: str) -> Calibration:
    """The inverse of `pack`.

    Raises:
        ValueError: these are not the tensors and the text of one calibration.
    """
    try:
        quantizers = []
        for index, each in enumerate(json.loads(text)):
            low, high = tensors[f"range.{index}"].numpy()
            consumers = tuple((str(name), int(port)) for name, port in each["consumers"])
            levels = int(each["levels"])
            quantizers.append(Quantizer(consumers=consumers, levels=levels, low=low, high=high))
        num_inputs = len(tensors) - len(quantizers)
        both = [tensors[f"input.{index}"].numpy() for index in range(num_inputs)]
    except (KeyError, TypeError) as error:
        raise ValueError(f"got no calibration, but something without {error}") from error
    inputs = tuple(InputMoments(mean=mean, spread=spread) for mean, spread in both)
    return Calibration(quantizers=tuple(quantizers), inputs=inputs)


def _input(operations: Mapping[str, Any], consumer: Consumer) -> Any:
    name, port = consumer
    node = operations.get(name)
    if node is None or port >= node.get_input_size():
        raise _mismatch(consumer)
    return node.input(port)


def _mismatch(consumer: Consumer) -> NeverAvailableError:
    return NeverAvailableError(
        f"the calibration does not fit: it wants input {consumer[1]} of {consumer[0]}, which this "
        "network does not have so; run python -m difffae.calibrate again"
    )
