"""The model card's figures, and the ledger's, from what the other parts found."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from difffae.checkpoint import LEDGER_NAME, parse_ledger
from difffae.describe import Description, describe
from difffae.figures.document import write_sections
from difffae.figures.parts import kept
from difffae.figures.settings import FiguresConfig
from difffae.loading import BUNDLED, find_folder
from difffae.training.export import update_ledger

LEDGER_START = "whole model"  # of the ledger's cells that are rewritten
_PER_FRAME = ("encoder", "decoder", "denoiser", "dense_motion")


def write_card(config: FiguresConfig, *, ledger: Path = BUNDLED / LEDGER_NAME) -> None:
    """Rewrite the card's figures, and the ledger's where the model is bundled.

    Raises:
        ValueError: a part has not been run on these weights, or the card is missing.
        OSError: a file cannot be written.
    """
    evaluation, contact = kept(config, "evaluation"), kept(config, "contact")
    fairness = kept(config, "fairness")
    sections = {
        "size": size_lines(describe(find_folder(config.model) / "config.yaml")),
        "evaluation": [f"{evaluation['title']}, {command(config)}:", *evaluation["table"]],
        "worst": contact["worst"],
        "topics": contact["topics"],
        "fairness": fairness["gaps"],
    }
    write_sections(config.docs / "model_card.md", sections)
    if ledger.is_file():
        _tell_ledger(ledger, config, evaluation["rows"])


def command(config: FiguresConfig) -> str:
    """How the evaluation can be had again."""
    settings = config.evaluation
    return (
        f"`python -m difffae.evaluate --model {config.model} --steps {config.steps} "
        f"--protocol {settings.protocol} --max-frames {config.max_frames}`"
    )


def size_lines(description: Description) -> list[str]:
    """Parameters and work of every network, as a Markdown table."""
    lines = ["| network | parameters | GFLOPs a run | runs |", "|---|---:|---:|---|"]
    for network in description.networks:
        runs = "every frame" if network.name in _PER_FRAME else "once a portrait"
        flops = network.flops / 1e9
        lines.append(f"| {network.name} | {network.parameters:,} | {flops:.2f} | {runs} |")
    total = sum(network.parameters for network in description.networks)
    work = sum(each.flops for each in description.networks if each.name in _PER_FRAME) / 1e9
    return [*lines, f"| all | {total:,} | {work:.2f} a frame, one step | |"]


def sentence(rows: Mapping[str, Mapping[str, Mapping[str, Any]]], config: FiguresConfig) -> str:
    """The model's figures in one sentence, as the ledger has them.

    Args:
        rows: by protocol, row and name of the figure.
        config: of the run.

    Raises:
        ValueError: the model has no row.
    """
    named = f"{Path(config.model).name}, {config.steps} step{'s' if config.steps > 1 else ''}"
    if named not in rows.get("self", {}) or named not in rows.get("cross", {}):
        raise ValueError(f"Got no rows {named!r} in the evaluation: run scripts/figures evaluation")
    own, cross = rows["self"][named], rows["cross"][named]
    return (
        f"{LEDGER_START}, validation people, self: PSNR {_of(own, 'psnr_db', 1)} dB, face "
        f"{_of(own, 'face_psnr_db', 1)} dB, feature distance {_of(own, 'feature_distance', 2)}, "
        f"identity {_of(own, 'identity', 3)}, motion correlation {_of(own, 'correlation', 3)}; "
        f"cross: identity {_of(cross, 'identity', 3)}, correlation "
        f"{_of(cross, 'correlation', 3)} ({command(config).strip('`')})"
    )


def _of(row: Mapping[str, Any], name: str, decimals: int) -> str:
    value = row[name]
    measured = value is not None and math.isfinite(value)
    return f"{value:.{decimals}f}" if measured else "not measured"


def _tell_ledger(
    ledger: Path,
    config: FiguresConfig,
    rows: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> None:
    """Put the sentence in each of the model's rows that has one."""
    told = sentence(rows, config)
    known = parse_ledger(ledger.read_text("utf-8"))
    own = f"{config.model}/"
    changed = [
        replace(row, figures=told)
        if row.file.startswith(own) and row.figures.startswith(LEDGER_START)
        else row
        for row in known
    ]
    if changed != known:
        update_ledger(ledger, changed)
