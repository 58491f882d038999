"""CompVis' names: a latent-diffusion checkpoint's tensors in, our networks filled, a report out.

Names are those of CompVis/latent-diffusion (a506df5): the U-Net of its `openaimodel`, the first
stage of its `diffusionmodules.model`. Each of ours has exactly one of theirs (model.md 1.2, 1.9).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from difffae.model.denoiser import Block, Denoiser
from difffae.model.first_stage import FirstStageDecoder, FirstStageEncoder, Level
from difffae.model.layers import Downsample

UNET_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "")
FIRST_STAGE_PREFIXES = ("first_stage_model.", "")
_EMA_PREFIX = "model_ema."
_UNET_SIGN, _FIRST_STAGE_SIGN = "time_embed.0.weight", "encoder.conv_in.weight"
_CALIBRATION = ("latent_mean", "latent_std")
_ADAIN = ".adain.modulation."
_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "skip": "skip_connection",
}
_TRANSFORMER = {
    "norm": "norm",
    "enter": "proj_in",
    "leave": "proj_out",
    **{f"norm{number}": f"transformer_blocks.0.norm{number}" for number in (1, 2, 3)},
    "feed_forward.expand": "transformer_blocks.0.ff.net.0.proj",
    "feed_forward.contract": "transformer_blocks.0.ff.net.2",
    **{
        f"{ours}.{part}": f"transformer_blocks.0.{theirs}.{projection}"
        for ours, theirs in (("self_attention", "attn1"), ("cross_attention", "attn2"))
        for part, projection in (
            *(("query", "to_q"), ("key", "to_k")),
            *(("value", "to_v"), ("out", "to_out.0")),
        )
    },
}
_BLOCK_AE = {
    **{name: name for name in ("norm1", "conv1", "norm2", "conv2")},
    "skip": "nin_shortcut",
}
_ATTENTION_AE = {"norm": "norm", "query": "q", "key": "k", "value": "v", "out": "proj_out"}


class CompVisError(ValueError):
    """A checkpoint that does not fit the configuration."""


@dataclass(frozen=True, kw_only=True)
class FoundWeights:
    """One network's tensors in a checkpoint.

    Attributes:
        tensors: by CompVis' names without prefix.
        num_averaged: how many of them are the exponential moving average's.
        keys: the checkpoint's own names of all that belongs to the network.
    """

    tensors: Mapping[str, Tensor]
    num_averaged: int
    keys: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class FilledNetwork:
    """What became of each of a network's tensors, by our names.

    Attributes:
        mapped: copied as they are.
        padded: copied, zeros for the input channels that the checkpoint does not know.
        from_norm: AdaIN's bias, begun with the gain and shift of the norm it stands in for.
        fresh: left as they were initialised.
        ignored: tensors of the checkpoint's network that ours has no place for, by their names.
    """

    mapped: tuple[str, ...]
    padded: tuple[str, ...] = ()
    from_norm: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def find_unet(tensors: Mapping[str, Tensor]) -> FoundWeights | None:
    """The U-Net of a checkpoint, averaged weights where it has them; None: it holds no U-Net."""
    return _find(tensors, UNET_PREFIXES, _UNET_SIGN, "diffusion_model.")


def find_first_stage(tensors: Mapping[str, Tensor]) -> FoundWeights | None:
    """The first stage of a checkpoint of its own or of a whole model; None: it holds none."""
    return _find(tensors, FIRST_STAGE_PREFIXES, _FIRST_STAGE_SIGN, "")


def _find(
    tensors: Mapping[str, Tensor], prefixes: tuple[str, ...], sign: str, averaged_scope: str
) -> FoundWeights | None:
    prefix = next((prefix for prefix in prefixes if prefix + sign in tensors), None)
    if prefix is None:
        return None
    parts = ("",) if averaged_scope else ("encoder.", "decoder.", "quant", "post_quant_conv.")
    names = [key.removeprefix(prefix) for key in tensors if key.startswith(prefix)]
    own = {name: prefix + name for name in names if name.startswith(parts)}
    averaged = {
        name: key
        for name in own
        if (key := _EMA_PREFIX + (averaged_scope + name).replace(".", "")) in tensors
    }
    return FoundWeights(
        tensors={name: tensors[averaged.get(name, key)] for name, key in own.items()},
        num_averaged=len(averaged),
        keys=frozenset([*own.values(), *averaged.values()]),
    )


def denoiser_names(denoiser: Denoiser) -> dict[str, str]:
    """CompVis' name of each of the U-Net's tensors; those of AdaIN have none."""
    modules = {
        "time.0": "time_embed.0",
        "time.2": "time_embed.2",
        "enter": "input_blocks.0.0",
        "norm": "out.0",
        "leave": "out.2",
    }
    for number, layer in enumerate(denoiser.down):
        place = f"input_blocks.{number + 1}"
        if isinstance(layer, Downsample):
            modules[f"down.{number}.conv"] = f"{place}.0.op"
        else:
            modules |= _block_names(f"down.{number}", place, 0)
    modules |= _block_names("middle.0", "middle_block", 0)
    modules |= _block_names("middle.1", "middle_block", 2)
    output, following = -1, 0
    for number, layer in enumerate(denoiser.up):
        if isinstance(layer, Block):
            output, following = output + 1, 1 if layer.transformer is None else 2
            modules |= _block_names(f"up.{number}", f"output_blocks.{output}", 0)
        else:
            modules[f"up.{number}.conv"] = f"output_blocks.{output}.{following}.conv"
    return _expand(denoiser, modules)


def encoder_names(encoder: FirstStageEncoder) -> dict[str, str]:
    """CompVis' name of each of the first stage's encoder's tensors, but for the calibration."""
    modules = {"quant": "quant_conv", **_ends("encoder")}
    for number, level in enumerate(encoder.levels):
        modules |= _level_names(level, f"levels.{number}", f"encoder.down.{number}")
        modules[f"levels.{number}.resize.conv"] = f"encoder.down.{number}.downsample.conv"
    return _expand(encoder, modules)


def decoder_names(decoder: FirstStageDecoder) -> dict[str, str]:
    """CompVis' name of each of the first stage's decoder's tensors, but for the calibration."""
    modules = {
        "codebook": "quantize.embedding",
        "post_quant": "post_quant_conv",
        **_ends("decoder"),
    }
    for number, level in enumerate(decoder.levels):
        place = f"decoder.up.{len(decoder.levels) - 1 - number}"  # theirs count from the finest
        modules |= _level_names(level, f"levels.{number}", place)
        modules[f"levels.{number}.resize.conv"] = f"{place}.upsample.conv"
    return _expand(decoder, modules)


def fill_denoiser(denoiser: Denoiser, found: FoundWeights) -> FilledNetwork:
    """Fill the U-Net: new input channels get zeros, what sees the context may stay fresh.

    model.md 1.5 and 1.6: zeros for the concatenated channels leave the pretrained network as it
    was; slots of another width than the checkpoint's context need new keys and values; AdaIN starts
    with the gain and shift of the norm it stands in for.

    Raises:
        CompVisError: the U-Net of the checkpoint has another layout or other sizes.
    """
    wanted, names = denoiser.state_dict(), denoiser_names(denoiser)
    given, padded, fresh = {}, [], []
    for ours, theirs in names.items():
        tensor = _taken(found, theirs)
        if ours == "enter.weight":
            tensor, is_padded = _padded(tensor, wanted[ours])
            padded += [ours] if is_padded else []
        is_context = ".cross_attention.key." in ours or ".cross_attention.value." in ours
        if is_context and tensor.shape[1:] != wanted[ours].shape[1:]:
            fresh.append(ours)
            continue
        given[ours] = tensor
    adain = [name for name in wanted if _ADAIN in name]
    biases = [name for name in adain if name.endswith(".bias")]
    norms = {name: _norm_of(name, names) for name in biases}
    given |= {
        name: torch.cat([_taken(found, f"{norm}.weight"), _taken(found, f"{norm}.bias")])
        for name, norm in norms.items()
    }
    _load(denoiser, given, names)
    used = {
        *names.values(),
        *(f"{norm}.{w}" for norm in norms.values() for w in ("weight", "bias")),
    }
    return FilledNetwork(
        mapped=tuple(name for name in given if name not in {*padded, *biases}),
        padded=tuple(padded),
        from_norm=tuple(biases),
        fresh=(*fresh, *(name for name in adain if name not in biases)),
        ignored=tuple(sorted(found.tensors.keys() - used)),
    )


def fill_first_stage(
    encoder: FirstStageEncoder, decoder: FirstStageDecoder, found: FoundWeights
) -> FilledNetwork:
    """Fill both halves of the first stage; the latents are then not yet calibrated.

    Raises:
        CompVisError: the first stage of the checkpoint has another layout or other sizes.
    """
    halves = {"encoder": encoder_names(encoder), "decoder": decoder_names(decoder)}
    for half, network in (("encoder", encoder), ("decoder", decoder)):
        names = halves[half]
        _load(network, {ours: _taken(found, theirs) for ours, theirs in names.items()}, names)
    used = {theirs for names in halves.values() for theirs in names.values()}
    ignored = sorted(found.tensors.keys() - used)
    if ignored:
        raise CompVisError(
            f"the checkpoint's first stage has {ignored[0]} and {len(ignored) - 1} more tensors "
            "that the configuration's has not; set model.first_stage to the sizes of the checkpoint"
        )
    return FilledNetwork(
        mapped=tuple(f"{half}.{name}" for half, names in halves.items() for name in names),
        fresh=tuple(f"{half}.{name}" for half in halves for name in _CALIBRATION),
    )


def _ends(half: str) -> dict[str, str]:
    own = {"enter": "conv_in", "norm": "norm_out", "leave": "conv_out"}
    modules = {ours: f"{half}.{theirs}" for ours, theirs in own.items()}
    modules |= _joined("middle.0", f"{half}.mid.block_1", _BLOCK_AE)
    modules |= _joined("middle.1", f"{half}.mid.attn_1", _ATTENTION_AE)
    return modules | _joined("middle.2", f"{half}.mid.block_2", _BLOCK_AE)


def _level_names(level: nn.Module, ours: str, theirs: str) -> dict[str, str]:
    assert isinstance(level, Level)
    modules: dict[str, str] = {}
    for number in range(len(level.blocks)):
        modules |= _joined(f"{ours}.blocks.{number}", f"{theirs}.block.{number}", _BLOCK_AE)
        modules |= _joined(f"{ours}.attentions.{number}", f"{theirs}.attn.{number}", _ATTENTION_AE)
    return modules


def _block_names(ours: str, place: str, first: int) -> dict[str, str]:
    return {
        **_joined(f"{ours}.residual", f"{place}.{first}", _RESIDUAL),
        **_joined(f"{ours}.transformer", f"{place}.{first + 1}", _TRANSFORMER),
    }


def _joined(ours: str, theirs: str, parts: Mapping[str, str]) -> dict[str, str]:
    return {f"{ours}.{own}": f"{theirs}.{other}" for own, other in parts.items()}


def _expand(network: nn.Module, modules: Mapping[str, str]) -> dict[str, str]:
    """From names of layers to names of the tensors that the network really has."""
    names = {}
    for name in network.state_dict():
        layer, _, kind = name.rpartition(".")
        if layer in modules and kind in ("weight", "bias"):
            names[name] = f"{modules[layer]}.{kind}"
    return names


def _taken(found: FoundWeights, name: str) -> Tensor:
    if name not in found.tensors:
        raise CompVisError(
            f"got a checkpoint without {name}, expected it for this configuration; use the "
            "configuration of the checkpoint's sizes"
        )
    return found.tensors[name]


def _padded(tensor: Tensor, wanted: Tensor) -> tuple[Tensor, bool]:
    missing = wanted.shape[1] - tensor.shape[1]
    if missing <= 0:
        return tensor, False
    return torch.cat([tensor, tensor.new_zeros(len(tensor), missing, *tensor.shape[2:])], 1), True


def _norm_of(name: str, names: Mapping[str, str]) -> str:
    block = name[: name.index(_ADAIN)]
    first = names[f"{block}.norm1.weight"]
    return first.removesuffix("in_layers.0.weight") + "out_layers.0"


def _check_shapes(
    network: nn.Module, given: Mapping[str, Tensor], names: Mapping[str, str]
) -> None:
    wanted = network.state_dict()
    for ours, tensor in given.items():
        if tensor.shape != wanted[ours].shape:
            raise CompVisError(
                f"got {names.get(ours, ours)} of shape {tuple(tensor.shape)} in the checkpoint, "
                f"expected {tuple(wanted[ours].shape)}; use the configuration of its sizes"
            )


def _load(network: nn.Module, given: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
    _check_shapes(network, given, names)
    network.load_state_dict(dict(given), strict=False)
