"""Sizes of networks: a module and its arguments in; layers, parameters, FLOPs, attention out.

On the meta device nothing is stored and nothing computed, whatever the size.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from difffae.model.denoiser import Denoiser
from difffae.model.first_stage import Double, Halve, PixelAttention, ResidualBlock
from difffae.model.layers import (
    Downsample,
    IdentityAdaIN,
    ResBlock,
    SelfAttention2d,
    SpatialTransformer,
    Upsample,
)
from difffae.model.region_encoder import SlotAttention

_WHOLE = (
    *(ResBlock, SpatialTransformer, SelfAttention2d, SlotAttention, Downsample, Upsample),
    *(ResidualBlock, PixelAttention, Halve, Double),
)

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One row of a network: a whole block, or a layer that stands alone.

    Attributes:
        name: where it is in the network, as in its state dict.
        kind: its class.
        output: shape of its (first) output without the batch.
        parameters, flops: its own.
    """

    name: str
    kind: str
    output: Shape
    parameters: int
    flops: int


@dataclass(frozen=True, kw_only=True)
class AttentionSite:
    """A place where pixels attend to the slots, whose map enters A_cross (paper eq. 7).

    Attributes:
        name: where it is in the denoiser.
        size: height and width of its feature map.
        channels, num_heads, num_tokens: of the cross-attention.
    """

    name: str
    size: Shape
    channels: int
    num_heads: int
    num_tokens: int


@dataclass(frozen=True, kw_only=True)
class NetworkSizes:
    """One network.

    Attributes:
        name: what it is called.
        inputs, output: shapes without the batch.
        parameters: all of them.
        flops: of one forward at batch 1; a multiply-add is two. Matrix products and convolutions.
        layers: its rows, in the order in which they run.
    """

    name: str
    inputs: tuple[Shape, ...]
    output: Shape
    parameters: int
    flops: int
    layers: tuple[Layer, ...]


@dataclass(frozen=True, kw_only=True)
class DenoiserParameters:
    """The denoiser's parameters, as they compare with latent diffusion's U-Net.

    Attributes:
        without_adain: of the same network without identity: latent diffusion's own.
        adain_heads: of the linear layers that turn identity into scales and shifts.
        replaced_norms: gains and biases of the group norms whose place AdaIN takes.
        total: without_adain + adain_heads - replaced_norms.
    """

    without_adain: int
    adain_heads: int
    replaced_norms: int
    total: int


def network_sizes(name: str, network: nn.Module, inputs: tuple[Tensor, ...]) -> NetworkSizes:
    """Layers, parameters and FLOPs of a network.

    Args:
        name: of the network.
        network: any module; its weights no longer want gradients afterwards.
        inputs: its arguments, of batch 1; on the meta device nothing is computed.
    """
    rows: dict[str, tuple[nn.Module, Shape]] = {}

    def note(layer: str, module: nn.Module, output: object) -> None:
        if layer not in rows:
            rows[layer] = (module, tuple(_first(output).shape[1:]))

    hooks = [
        module.register_forward_hook(
            lambda module, _, output, layer=layer: note(layer, module, output)
        )
        for layer, module in _layers(network, "")
    ]
    network.requires_grad_(False)  # torch's counter fails on views of weights that want gradients
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = _first(network(*inputs))
    for hook in hooks:
        hook.remove()
    flops = {key: sum(count.values()) for key, count in counter.get_flop_counts().items()}
    root = type(network).__name__
    layers = tuple(
        Layer(
            name=layer,
            kind=type(module).__name__,
            output=shape,
            parameters=num_parameters(module),
            flops=flops.get(f"{root}.{layer}", 0),
        )
        for layer, (module, shape) in rows.items()
    )
    return NetworkSizes(
        name=name,
        inputs=tuple(tuple(tensor.shape[1:]) for tensor in inputs),
        output=tuple(output.shape[1:]),
        parameters=num_parameters(network),
        flops=counter.get_total_flops(),
        layers=layers,
    )


def _layers(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Whole blocks, and what has parameters of its own outside of them."""
    if name and (
        isinstance(module, _WHOLE) or next(module.parameters(recurse=False), None) is not None
    ):
        yield name, module
        return
    for child_name, child in module.named_children():
        yield from _layers(child, f"{name}.{child_name}" if name else child_name)


def _first(output: object) -> Tensor:
    """The output itself, or the first tensor of a tuple or a dataclass."""
    if isinstance(output, Tensor):
        return output
    parts = output if isinstance(output, tuple) else vars(output).values()
    return next(part for part in parts if isinstance(part, Tensor))


def num_parameters(module: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(weight.numel() for weight in module.parameters())


def denoiser_parameters(denoiser: Denoiser) -> DenoiserParameters:
    """Count the denoiser as it is, and without identity."""
    with torch.device("meta"):
        plain = num_parameters(Denoiser(replace(denoiser.config, identity_width=0)))
    heads = sum(num_parameters(m) for m in denoiser.modules() if isinstance(m, IdentityAdaIN))
    total = num_parameters(denoiser)
    return DenoiserParameters(
        without_adain=plain,
        adain_heads=heads,
        replaced_norms=plain + heads - total,
        total=total,
    )


def attention_sites(denoiser: Denoiser, inputs: tuple[Tensor, ...]) -> tuple[AttentionSite, ...]:
    """Every cross-attention of the denoiser, in the order in which they run."""
    sites: list[AttentionSite] = []

    def note(name: str, module: SpatialTransformer, output: tuple[Tensor, Tensor]) -> None:
        features, attention_map = output
        sites.append(
            AttentionSite(
                name=name,
                size=tuple(attention_map.shape[-2:]),
                channels=features.shape[1],
                num_heads=module.cross_attention.num_heads,
                num_tokens=attention_map.shape[1],
            )
        )

    hooks = [
        module.register_forward_hook(
            lambda module, _, output, name=name: note(name, module, output)
        )
        for name, module in denoiser.named_modules()
        if isinstance(module, SpatialTransformer)
    ]
    with torch.no_grad():
        denoiser(*inputs)
    for hook in hooks:
        hook.remove()
    return tuple(sites)
