"""What a configuration builds: its path in; layers, parameters, FLOPs and attention sites out.

`python -m difffae.describe configs/paper-512.yaml --json sizes.json` builds every network on
torch's meta device, where nothing is stored, and runs one picture through each. Any value of the
configuration can be overridden, as in training.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from difffae.config import NUM_MASKS, ModelConfig
from difffae.face.dense_motion import DenseMotionNetwork
from difffae.face.identity import ALIGNED_SIZE_PX
from difffae.model.denoiser import Denoiser
from difffae.networks import build_networks
from difffae.sizes import (
    AttentionSite,
    DenoiserParameters,
    NetworkSizes,
    Shape,
    attention_sites,
    denoiser_parameters,
    network_sizes,
)
from difffae.training.config import Config, TrainingConfig

USER_ERROR = 2
TABLE_WIDTH = 110  # a narrower terminal folds lines rather than cut figures off
_RUNS = {
    "encoder": "source and frame",
    "decoder": "frame",
    "region_encoder": "source",
    "identity_encoder": "source",
    "denoiser": "frame, each step",
    "dense_motion": "frame",
}
# What the paper ablates (section 5.3), retrains (5.4) or leaves open.
_SETTINGS = (
    "model.region_encoder.tokens",
    "model.region_encoder.num_slots",
    "model.region_encoder.num_iterations",
    "model.denoiser.identity_width",
    "model.identity.kind",
    "training.loss.attention",
    "model.first_stage.kind",
    "training.retrain_first_stage",
    "model.sees_source",
    "model.face.rig",
    "model.face.background",
    "model.face.light",
    "model.parameterization.kind",
    "model.schedule.has_zero_terminal_snr",
    "training.loss.timestep_sampling",
    "training.loss.latent_norm",
)
_SOURCE = ("encoder", "region_encoder", "identity_encoder")
_FRAME = ("encoder", "decoder", "dense_motion")

Setting = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Description:
    """All that is printed of a configuration.

    Attributes:
        config: its path.
        latent: shape of the latent.
        condition_channels: channels concatenated to the latent.
        networks: every network that this project builds.
        uncounted: networks that come from the user's own files, and from where.
        denoiser: its parameters, with and without identity.
        attention_sites: where the denoiser attends to the slots.
        settings: what the paper ablates or leaves open, by the key of the configuration; None where
            that part is not configured.
    """

    config: str
    latent: Shape
    condition_channels: int
    networks: tuple[NetworkSizes, ...]
    uncounted: dict[str, str]
    denoiser: DenoiserParameters
    attention_sites: tuple[AttentionSite, ...]
    settings: dict[str, Setting]


def describe(path: Path, overrides: Sequence[str] = ()) -> Description:
    """Describe a configuration file; nothing is allocated.

    Args:
        path: of the file.
        overrides: values that win over the file's, as on the command line:
            "--model.region_encoder.num_slots", "8".

    Raises:
        ValueError: the file is no configuration, or its sizes do not make a network.
    """
    config = _read(path, overrides)
    model = config.model
    with _reported(path, "a network"), torch.device("meta"):
        networks = build_networks(model)
    with _reported(path, "region_encoder"):
        inputs = _inputs(model, networks["region_encoder"])
    sizes = []
    for name, network in networks.items():
        with _reported(path, name):
            sizes.append(network_sizes(name, network, inputs[name]))
    denoiser = cast(Denoiser, networks["denoiser"])
    has_arcface = model.identity.kind == "arcface"
    return Description(
        config=" ".join([str(path), *overrides]),
        latent=(model.denoiser.latent_channels, *2 * (model.denoiser.latent_size,)),
        condition_channels=model.denoiser.condition_channels,
        networks=tuple(sizes),
        uncounted={"identity_encoder": "face.licensed.arcface"} if has_arcface else {},
        denoiser=denoiser_parameters(denoiser),
        attention_sites=attention_sites(denoiser, inputs["denoiser"]),
        settings={key: _value(config, key) for key in _SETTINGS},
    )


def _read(path: Path, overrides: Sequence[str]) -> Config:
    """The configuration with its overrides, read as training reads it.

    Raises:
        ValueError: the file or an override is missing or says what the schema does not know.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config", required=True)
    parser.add_argument("--model", type=ModelConfig, default=ModelConfig())
    parser.add_argument("--training", type=TrainingConfig, default=TrainingConfig())
    try:
        given = parser.instantiate(parser.parse_args([f"--config={path}", *overrides]))
    except (argparse.ArgumentError, ValueError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be described: {reason}") from error
    return Config(model=given.model, training=given.training)


@contextmanager
def _reported(path: Path, name: str) -> Iterator[None]:
    """Whatever torch and einops raise at sizes that do not fit, as one error.

    Raises:
        ValueError: the sizes do not fit.
    """
    try:
        yield
    except (ValueError, RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ValueError(f"{path}: its sizes do not make {name}: {reason}") from error


def _inputs(model: ModelConfig, region_encoder: nn.Module) -> dict[str, tuple[Tensor, ...]]:
    """Arguments of every network, of batch 1, on the meta device."""
    size = (model.denoiser.latent_size, model.denoiser.latent_size)
    with torch.device("meta"), torch.no_grad():
        latent = torch.empty(1, model.denoiser.latent_channels, *size)
        shown = torch.empty(1, 3 + NUM_MASKS, model.image_size, model.image_size)
        region = torch.empty(1, 3, model.region_size, model.region_size)
        return {
            "encoder": (torch.empty(1, 3, model.image_size, model.image_size),),
            "decoder": (latent, shown) if model.is_decoder_conditional else (latent,),
            "region_encoder": (region,),
            "identity_encoder": (torch.empty(1, 3, ALIGNED_SIZE_PX, ALIGNED_SIZE_PX),),
            "denoiser": (
                latent,
                torch.empty(1),
                torch.empty(1, model.denoiser.condition_channels, *size),
                region_encoder(region)[0],
                torch.empty(1, model.identity.width),
            ),
            "dense_motion": DenseMotionNetwork.example_inputs(),
        }


def _value(config: Config, key: str) -> Setting:
    """A value by its key; None where a part on the way is not configured."""
    value: Any = config
    for part in key.split("."):
        value = None if value is None else getattr(value, part)
    return cast(Setting, value)


def tables(description: Description) -> Iterator[Table]:
    """The description to print: an overview, the sites, the settings, then every network."""
    yield _overview(description)
    yield _facts(description)
    yield _site_table(description)
    for network in description.networks:
        yield _layer_table(network)


def _overview(description: Description) -> Table:
    table = _table(description.config, "network", "runs once a", "in", "out")
    for heading in ("parameters", "GFLOPs"):
        table.add_column(heading, justify="right")
    for network in description.networks:
        table.add_row(
            network.name,
            _RUNS[network.name],
            ", ".join(_by(shape) for shape in network.inputs if shape),
            _by(network.output),
            f"{network.parameters:,}",
            f"{network.flops / 1e9:,.2f}",
        )
    for name, place in description.uncounted.items():
        table.add_row(name, _RUNS[name], place, "", "not counted")
    total = sum(network.parameters for network in description.networks)
    table.add_row("all", "", "", "", f"{total:,}", "", end_section=True)
    for label, names in (("a source", _SOURCE), ("a frame, and each step the denoiser", _FRAME)):
        flops = sum(network.flops for network in description.networks if network.name in names)
        table.add_row(f"once {label}", "", "", "", "", f"{flops / 1e9:,.2f}")
    return table


def _facts(description: Description) -> Table:
    table = _table("what defines it", "key", "value")
    counts = description.denoiser
    table.add_row("latent", _by(description.latent))
    table.add_row("condition channels", str(description.condition_channels))
    table.add_row("denoiser without AdaIN", f"{counts.without_adain:,} parameters")
    table.add_row("AdaIN heads", f"{counts.adain_heads:,} parameters")
    table.add_row("group norms that AdaIN replaces", f"{counts.replaced_norms:,} parameters")
    table.add_row("denoiser", f"{counts.total:,} parameters", end_section=True)
    for key, value in description.settings.items():
        table.add_row(key, str(value))
    return table


def _site_table(description: Description) -> Table:
    sites = description.attention_sites
    title = f"{len(sites)} cross-attention sites"
    table = _table(title, "site", "feature map", "channels", "heads x width", "tokens")
    for site in sites:
        heads = f"{site.num_heads} x {site.channels // site.num_heads}"
        table.add_row(site.name, _by(site.size), str(site.channels), heads, str(site.num_tokens))
    return table


def _layer_table(network: NetworkSizes) -> Table:
    table = _table(network.name, "layer", "kind", "out")
    for heading in ("parameters", "MFLOPs"):
        table.add_column(heading, justify="right")
    for layer in network.layers:
        figures = f"{layer.parameters:,}", f"{layer.flops / 1e6:,.2f}"
        table.add_row(layer.name, layer.kind, _by(layer.output), *figures)
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _by(shape: Shape) -> str:
    return "x".join(str(length) for length in shape)


def as_json(description: Description) -> str:
    """The description as JSON text, the same names as the dataclasses'."""
    plain: dict[str, Any] = asdict(description)
    return json.dumps(plain, indent=2) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Describe and print; return 0, or 2 after one line on what is wrong and what to do."""
    parser = argparse.ArgumentParser(
        prog="python -m difffae.describe",
        description="Count the networks of a configuration without building them. Any value of the "
        "configuration can be overridden: --model.region_encoder.num_slots 8",
        allow_abbrev=False,
    )
    parser.add_argument("config", type=Path, help="YAML configuration")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures here")
    options, overrides = parser.parse_known_args(arguments)
    try:
        description = describe(options.config, overrides)
        if options.json is not None:
            options.json.write_text(as_json(description), encoding="utf-8")
    except (ValueError, OSError) as error:
        Console(stderr=True, soft_wrap=True).print(
            str(error), style="red", markup=False, highlight=False
        )
        return USER_ERROR
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    for table in tables(description):
        console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
