"""Names and shapes of CompVis' published checkpoints, written from their layers' order.

Independent of `difffae.model.compvis`: these loops follow the published networks, layer by layer,
not ours; diffusers' own conversion reads what comes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class UNetSizes:
    """The arguments of LDM's U-Net; `attention_factors` are its `attention_resolutions`."""

    in_channels: int = 4
    channels: int = 320
    multipliers: Sequence[int] = (1, 2, 4, 4)
    num_blocks: int = 2
    attention_factors: Sequence[int] = (4, 2, 1)
    context: int = 1280


@dataclass(frozen=True, kw_only=True)
class FirstStageSizes:
    """LDM's `ddconfig`; `codes` is 0 for a KL first stage."""

    channels: int = 128
    multipliers: Sequence[int] = (1, 2, 2, 4)
    num_blocks: int = 2
    attention_sizes: Sequence[int] = (32,)
    z: int = 4
    codes: int = 16384


def pair(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def residual(name: str, before: int, after: int, time: int) -> Shapes:
    shapes = {
        **pair(f"{name}.in_layers.0", before),
        **pair(f"{name}.in_layers.2", after, before, 3, 3),
        **pair(f"{name}.emb_layers.1", after, time),
        **pair(f"{name}.out_layers.0", after),
        **pair(f"{name}.out_layers.3", after, after, 3, 3),
    }
    return shapes | (
        pair(f"{name}.skip_connection", after, before, 1, 1) if before != after else {}
    )


def transformer(name: str, width: int, context: int) -> Shapes:
    inner = f"{name}.transformer_blocks.0"
    shapes = {**pair(f"{name}.norm", width), **pair(f"{name}.proj_in", width, width, 1, 1)}
    for attention, seen in (("attn1", width), ("attn2", context)):
        shapes[f"{inner}.{attention}.to_q.weight"] = (width, width)
        shapes[f"{inner}.{attention}.to_k.weight"] = (width, seen)
        shapes[f"{inner}.{attention}.to_v.weight"] = (width, seen)
        shapes |= pair(f"{inner}.{attention}.to_out.0", width, width)
    shapes |= pair(f"{inner}.ff.net.0.proj", 8 * width, width)
    shapes |= pair(f"{inner}.ff.net.2", width, 4 * width)
    for number in (1, 2, 3):
        shapes |= pair(f"{inner}.norm{number}", width)
    return shapes | pair(f"{name}.proj_out", width, width, 1, 1)


def unet_shapes(sizes: UNetSizes) -> Shapes:
    """The U-Net's tensors without prefix."""
    base, time = sizes.channels, 4 * sizes.channels
    shapes = {
        **pair("time_embed.0", time, base),
        **pair("time_embed.2", time, time),
        **pair("input_blocks.0.0", base, sizes.in_channels, 3, 3),
    }
    width, factor, number, skips = base, 1, 0, [base]
    for level, multiplier in enumerate(sizes.multipliers):
        for _ in range(sizes.num_blocks):
            number += 1
            shapes |= residual(f"input_blocks.{number}.0", width, multiplier * base, time)
            width = multiplier * base
            if factor in sizes.attention_factors:
                shapes |= transformer(f"input_blocks.{number}.1", width, sizes.context)
            skips.append(width)
        if level < len(sizes.multipliers) - 1:
            number, factor = number + 1, 2 * factor
            shapes |= pair(f"input_blocks.{number}.0.op", width, width, 3, 3)
            skips.append(width)
    shapes |= residual("middle_block.0", width, width, time)
    shapes |= transformer("middle_block.1", width, sizes.context)
    shapes |= residual("middle_block.2", width, width, time)
    number = 0
    for level, multiplier in reversed(list(enumerate(sizes.multipliers))):
        for block in range(sizes.num_blocks + 1):
            name = f"output_blocks.{number}"
            shapes |= residual(f"{name}.0", width + skips.pop(), multiplier * base, time)
            width, part = multiplier * base, 1
            if factor in sizes.attention_factors:
                shapes |= transformer(f"{name}.1", width, sizes.context)
                part = 2
            if level and block == sizes.num_blocks:
                shapes |= pair(f"{name}.{part}.conv", width, width, 3, 3)
                factor //= 2
            number += 1
    return {**shapes, **pair("out.0", base), **pair("out.2", 4, base, 3, 3)}


def block(name: str, before: int, after: int) -> Shapes:
    shapes = {
        **pair(f"{name}.norm1", before),
        **pair(f"{name}.conv1", after, before, 3, 3),
        **pair(f"{name}.norm2", after),
        **pair(f"{name}.conv2", after, after, 3, 3),
    }
    return shapes | (pair(f"{name}.nin_shortcut", after, before, 1, 1) if before != after else {})


def attention(name: str, width: int) -> Shapes:
    shapes = pair(f"{name}.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        shapes |= pair(f"{name}.{part}", width, width, 1, 1)
    return shapes


def middle(half: str, width: int) -> Shapes:
    return {
        **block(f"{half}.mid.block_1", width, width),
        **attention(f"{half}.mid.attn_1", width),
        **block(f"{half}.mid.block_2", width, width),
    }


def first_stage_shapes(sizes: FirstStageSizes) -> Shapes:
    """The first stage's tensors as a checkpoint of its own has them."""
    moments = sizes.z if sizes.codes else 2 * sizes.z
    shapes = pair("encoder.conv_in", sizes.channels, 3, 3, 3)
    width, side, last = sizes.channels, 256, len(sizes.multipliers) - 1
    for level, multiplier in enumerate(sizes.multipliers):
        for number in range(sizes.num_blocks):
            shapes |= block(
                f"encoder.down.{level}.block.{number}", width, multiplier * sizes.channels
            )
            width = multiplier * sizes.channels
            if side in sizes.attention_sizes:
                shapes |= attention(f"encoder.down.{level}.attn.{number}", width)
        if level < last:
            shapes |= pair(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
            side //= 2
    shapes |= {**middle("encoder", width), **pair("encoder.norm_out", width)}
    shapes |= pair("encoder.conv_out", moments, width, 3, 3)
    shapes |= {**pair("decoder.conv_in", width, sizes.z, 3, 3), **middle("decoder", width)}
    for level, multiplier in reversed(list(enumerate(sizes.multipliers))):
        for number in range(sizes.num_blocks + 1):
            shapes |= block(
                f"decoder.up.{level}.block.{number}", width, multiplier * sizes.channels
            )
            width = multiplier * sizes.channels
            if side in sizes.attention_sizes:
                shapes |= attention(f"decoder.up.{level}.attn.{number}", width)
        if level:
            shapes |= pair(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)
            side *= 2
    shapes |= {**pair("decoder.norm_out", width), **pair("decoder.conv_out", 3, width, 3, 3)}
    if sizes.codes:
        shapes["quantize.embedding.weight"] = (sizes.codes, sizes.z)
    shapes |= pair("quant_conv", moments, moments, 1, 1)
    return shapes | pair("post_quant_conv", sizes.z, sizes.z, 1, 1)


def drawn(shapes: Shapes, *, prefix: str = "", seed: int = 0) -> dict[str, Tensor]:
    """Random weights of these shapes, of a size that keeps activations near 1."""
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes.items():
        values = random.standard_normal(shape)
        is_gain = len(shape) == 1 and name.endswith("weight")
        scaled = 1 + 0.1 * values if is_gain else values * max(int(np.prod(shape[1:])), 4) ** -0.5
        tensors[prefix + name] = torch.from_numpy(scaled).float()
    return tensors


def averaged(tensors: dict[str, Tensor], prefix: str = "model.") -> dict[str, Tensor]:
    """The same tensors as LDM's moving average stores them: without dots, here all ones added."""
    return {
        "model_ema." + name.removeprefix(prefix).replace(".", ""): tensor + 1
        for name, tensor in tensors.items()
    }
