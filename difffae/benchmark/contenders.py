"""The models that are compared: sizes and weights in, runnable parts with their counts out.

Speed does not depend on weights: all are random but those of the bundled model.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from difffae.benchmark import diffusionrig, liveportrait
from difffae.benchmark.interleaved import Contender, Part
from difffae.config import ModelConfig, read_model_config
from difffae.describe import describe
from difffae.face.dense_motion import DenseMotionNetwork
from difffae.face.renderer import Condition
from difffae.generator import Generator, Placement, SourceTokens
from difffae.loading import compile_dense_motion, find_folder
from difffae.networks import build_networks, load_networks
from difffae.runtime.calibration_file import load_calibrations
from difffae.runtime.network import half_type
from difffae.sizes import NetworkSizes, network_sizes

_SEED = 0
_FRAME_NETWORKS = ("encoder", "denoiser", "decoder")


def shipped(model: str | Path, steps: tuple[int, ...], placement: Placement) -> list[Contender]:
    """A model of this project as the product runs it, once for each number of steps.

    A frame is what dense motion says of a warp, where the model has it, and what the networks of
    `difffae.generator` make of a rendered condition: 8-bit pictures in, an 8-bit picture out.

    Args:
        model: a bundled model's name, or its folder.
        steps: of the sampler; each is really run.
        placement: how the networks run; the calibrations are the model's own.

    Raises:
        WeightsError: no such model, or a file is missing or damaged.
    """
    folder = find_folder(model)
    config = read_model_config(folder / "config.yaml")
    networks = dict(load_networks(folder, config, {}))
    mover = networks.pop("dense_motion", None)
    generator = Generator(
        config,
        networks,
        placement=replace(placement, calibrations=load_calibrations(folder, {})),
    )
    sizes = _own_sizes(folder / "config.yaml")
    fixed = sizes["encoder"].flops + sizes["decoder"].flops
    before = () if mover is None else (_dense_motion(mover, sizes["dense_motion"], placement),)
    return [
        Contender(
            name=f"{folder.name}, {_steps(num_steps)}",
            runtime="as shipped",
            parts=(
                *before,
                Part(
                    name="frame",
                    run=_frame(generator, config, num_steps),
                    parameters=sum(sizes[name].parameters for name in _FRAME_NETWORKS),
                    flops=fixed + num_steps * sizes["denoiser"].flops,
                ),
            ),
        )
        for num_steps in steps
    ]


def _dense_motion(network: nn.Module, sizes: NetworkSizes, placement: Placement) -> Part:
    run = compile_dense_motion(network, placement)
    inputs = DenseMotionNetwork.example_inputs()
    return Part(
        name="dense motion",
        run=lambda: run(*inputs),
        parameters=sizes.parameters,
        flops=sizes.flops,
    )


def eager(name: str, config: Path, num_steps: int) -> Contender:
    """A configuration of this project with random weights, in eager PyTorch; one step is timed.

    Args:
        name: of the model.
        config: its YAML configuration.
        num_steps: how often a frame runs the denoiser.

    Raises:
        ValueError: the file is no configuration.
    """
    sizes = _own_sizes(config)
    networks = build_networks(read_model_config(config))
    times = {"encoder": 1, "denoiser": num_steps, "decoder": 1, "region_encoder": 0}
    parts = []
    for part, times_a_frame in times.items():
        inputs = tuple(torch.randn(1, *shape) for shape in sizes[part].inputs)
        run = run_eagerly(networks[part], inputs)
        parts.append(_part(sizes[part], run, times_a_frame=times_a_frame))
    return Contender(name=f"{name}, {_steps(num_steps)}", runtime=_eager_name(), parts=tuple(parts))


def liveportrait_contender() -> Contender:
    """LivePortrait's networks in eager PyTorch: M, S, W and G make a frame, F a source."""
    with torch.device("meta"):
        hollow, counted = liveportrait.build_networks(), liveportrait.example_inputs("meta")
    networks, inputs = liveportrait.build_networks(), liveportrait.example_inputs()
    published = liveportrait.PUBLISHED_PARAMETERS
    parts = [
        _part(
            network_sizes(name, hollow[name], counted[name]),
            run_eagerly(network, inputs[name]),
            times_a_frame=0 if name == "appearance extractor" else 1,
            published=published.get(name),
        )
        for name, network in networks.items()
    ]
    return Contender(name="LivePortrait", runtime=_eager_name(), parts=tuple(parts))


def diffusionrig_contender() -> Contender:
    """DiffusionRig's U-Net in eager PyTorch, as often as its authors' DDIM runs it."""
    config = diffusionrig.PixelUNetConfig()
    with torch.device("meta"):
        hollow, counted = diffusionrig.PixelUNet(config), diffusionrig.example_inputs("meta")
    sizes = network_sizes("U-Net", hollow, counted)
    run = run_eagerly(diffusionrig.PixelUNet(config), diffusionrig.example_inputs())
    steps = diffusionrig.NUM_STEPS
    return Contender(
        name=f"DiffusionRig, {_steps(steps)}",
        runtime=_eager_name(),
        parts=(_part(sizes, run, times_a_frame=steps),),
    )


def run_eagerly(network: nn.Module, inputs: tuple[Tensor, ...]) -> Callable[[], object]:
    """Arrange a network for inference on the CPU as `difffae.runtime.eager` does, for any rank.

    Two things are better than there, to the advantage of the largest: volumes too have their
    channels last, and weights are cast once, where autocast would cast them at each call.

    Args:
        network: to run; arranged in place, since a copy of the largest would take gigabytes.
        inputs: what each run is given.
    """
    half = half_type("auto", torch.device("cpu"))
    network.eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.data = _channels_last(parameter.data)
    for layer in network.modules():
        if half is not None and isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear):
            layer.to(half)
    arranged = [_channels_last(tensor) for tensor in inputs]

    def run() -> object:
        with (
            torch.inference_mode(),
            torch.autocast("cpu", half or torch.bfloat16, enabled=half is not None),
        ):
            return network(*arranged)

    return run


def _own_sizes(config: Path) -> Mapping[str, NetworkSizes]:
    return {network.name: network for network in describe(config).networks}


def _part(
    sizes: NetworkSizes,
    run: Callable[[], object],
    *,
    times_a_frame: int,
    published: int | None = None,
) -> Part:
    return Part(
        name=sizes.name,
        run=run,
        times_a_frame=times_a_frame,
        parameters=sizes.parameters,
        published_parameters=published,
        flops=sizes.flops,
    )


def _frame(generator: Generator, config: ModelConfig, num_steps: int) -> Callable[[], object]:
    """All that the generator does for a frame of a made-up source."""
    random = np.random.default_rng(_SEED)
    size = config.image_size
    masks = random.random((3, size, size), np.float32)
    picture = random.integers(0, 256, (size, size, 3), np.uint8)
    condition = Condition(
        composite=picture,
        face_mask=masks[0],
        inside_mask=masks[1],
        person_mask=masks[2],
        warp=None,
    )
    regions = config.region_encoder
    side = config.denoiser.latent_size
    source = SourceTokens(
        slots=torch.randn(1, regions.num_tokens, regions.slot_width),
        slot_masks=torch.zeros(1, regions.num_tokens, side, side),
        identity=torch.randn(1, config.identity.width),
        latent=generator.encode_latent(picture),
    )

    def run() -> object:
        latent = generator.sample(condition, source, num_steps=num_steps, seed=_SEED)
        return generator.decode(latent, condition)

    return run


def _channels_last(tensor: Tensor) -> Tensor:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if tensor.ndim not in formats:
        return tensor
    return tensor.contiguous(memory_format=formats[tensor.ndim])


def _eager_name() -> str:
    return f"eager, {'fp32' if half_type('auto', torch.device('cpu')) is None else 'bf16'}"


def _steps(num_steps: int) -> str:
    return f"{num_steps} step{'s' if num_steps > 1 else ''}"
