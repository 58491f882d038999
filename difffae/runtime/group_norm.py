"""Group normalisation in OpenVINO, of operations that leave features as convolutions want them.

Its own is computed with channels first, its convolutions with channels last: each normalisation
costs two copies of the features. Means over a channel's pixels can be taken in either layout, and
those of a group are means of its channels' (Wu & He 2018, eq. 2 to 4).
"""

from types import ModuleType
from typing import Any

import numpy as np

_KIND = "GroupNormalization"


def take_norms_apart(openvino: ModuleType, model: Any) -> int:
    """Replace, in place, every group normalisation of a converted network by its arithmetic.

    Args:
        openvino: the package.
        model: an ``openvino.Model`` of static shapes.

    Returns:
        How many there were.
    """
    norms = [node for node in model.get_ordered_ops() if node.get_type_name() == _KIND]
    for norm in norms:
        replacement = _arithmetic(openvino.opset13, norm)
        for reader in norm.output(0).get_target_inputs():
            reader.replace_source_output(replacement.output(0))
    model.validate_nodes_and_infer_types()
    return len(norms)


def _arithmetic(ops: ModuleType, norm: Any) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + shift, in two passes over the features."""
    features = norm.input_value(0)
    batch, channels, *sizes = features.get_shape()
    facts = norm.get_attributes()
    groups, epsilon = int(facts["num_groups"]), np.float32(facts["epsilon"])
    pixels = list(range(2, 2 + len(sizes)))
    of_channels = [batch, channels] + [1] * len(sizes)
    of_groups = [batch, groups, channels // groups]

    def over_groups(values: Any) -> Any:
        if groups == channels:
            return values
        means = ops.reduce_mean(ops.reshape(values, of_groups, False), [2], True)
        return ops.reshape(ops.broadcast(means, of_groups), of_channels, False)

    each = [1, channels] + [1] * len(sizes)
    scale, shift = (ops.reshape(norm.input_value(port), each, False) for port in (1, 2))
    centred = ops.subtract(features, over_groups(ops.reduce_mean(features, pixels, True)))
    length = ops.reduce_l2(centred, pixels, True)
    num_pixels = np.float32(np.prod(sizes))
    variance = over_groups(ops.divide(ops.multiply(length, length), num_pixels))
    gain = ops.divide(scale, ops.sqrt(ops.add(variance, epsilon)))
    return ops.add(ops.multiply(centred, gain), shift)
