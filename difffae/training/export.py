"""`python -m difffae.training.export RUN CONFIG OUT`: a run's weights to a model folder that ships.

Weights are stored as float16 where they are floating-point, and the ledger gets one row a file.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from difffae.checkpoint import (
    LEDGER_NAME,
    LedgerRow,
    load_tensors,
    parse_ledger,
    save_tensors,
    sha256,
)
from difffae.training.config import read_config
from difffae.training.lineage import final_files

_KEPT_FLOAT32 = {"head_model"}


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What the ledger says of every file of an export."""

    licence: str
    trained_on: str
    figures: str


def export(
    run_directory: Path, config: Path, output: Path, provenance: Provenance
) -> list[LedgerRow]:
    """Write the model folder and return its ledger rows.

    Raises:
        WeightsError: a stage has not been trained.
    """
    output.mkdir(parents=True, exist_ok=True)
    files = final_files(read_config(config), run_directory)
    model = yaml.safe_load(config.read_text("utf-8"))["model"]
    (output / "config.yaml").write_text(yaml.safe_dump({"model": model}, sort_keys=False), "utf-8")
    rows = []
    for name, file in files.items():
        tensors = load_tensors(file)
        if name not in _KEPT_FLOAT32:
            tensors = {key: t.half() if t.is_floating_point() else t for key, t in tensors.items()}
        path = output / f"{name}.safetensors"
        stage = file.parent.name
        save_tensors(path, tensors, {"format": "pt"})
        rows.append(
            LedgerRow(
                file=f"{output.name}/{path.name}",
                sha256=sha256(path),
                num_bytes=path.stat().st_size,
                licence=provenance.licence,
                trained_on=provenance.trained_on,
                command=f"python -m difffae.train --config configs/{config.name} --stage {stage}",
                figures=provenance.figures,
            )
        )
    return rows


def update_ledger(ledger: Path, rows: list[LedgerRow]) -> None:
    """Replace the rows of the same files, keep the others."""
    new = {row.file for row in rows}
    known = parse_ledger(ledger.read_text("utf-8")) if ledger.exists() else []
    kept = [row for row in known if row.file not in new]
    ledger.write_text(_format_ledger([*kept, *rows]), "utf-8")


def _format_ledger(rows: list[LedgerRow]) -> str:
    lines = [
        "# Weights that ship with this project",
        "",
        "Trained by this project; nothing here is anyone else's weights.",
        "`python -m difffae.licenses` prints this table and checks the files.",
        "",
        "| file | sha256 | bytes | licence | trained on | command | figures |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row.file, row.sha256, str(row.num_bytes), row.licence]
        cells += [row.trained_on, row.command, row.figures]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line; see the module docstring."""
    parser = argparse.ArgumentParser(prog="python -m difffae.training.export", description=__doc__)
    parser.add_argument("run_directory", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--licence", default="MIT")
    parser.add_argument("--trained-on", required=True, help="data sets with their licences")
    parser.add_argument("--figures", default="", help="measured figures")
    arguments = parser.parse_args()
    provenance = Provenance(
        licence=arguments.licence, trained_on=arguments.trained_on, figures=arguments.figures
    )
    torch.set_num_threads(1)
    rows = export(arguments.run_directory, arguments.config, arguments.output, provenance)
    update_ledger(arguments.output.parent / LEDGER_NAME, rows)


if __name__ == "__main__":
    main()
