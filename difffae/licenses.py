"""The ledger of weights, printed: ``python -m difffae.licenses``.

A folder of weights in; for every file its licence, training data, command and figures out, and
whether the file on disk is the one the ledger describes.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from difffae.checkpoint import LEDGER_NAME, LedgerRow, WeightsError, read_ledger, sha256


def check_file(folder: Path, row: LedgerRow) -> str:
    """Say how the file on disk compares with its row: "matches", "missing" or "differs: ..."."""
    path = folder / row.file
    if not path.is_file():
        return "missing"
    num_bytes = path.stat().st_size
    if num_bytes != row.num_bytes:
        return f"differs: {num_bytes} bytes, expected {row.num_bytes}"
    digest = sha256(path)
    return "matches" if digest == row.sha256 else f"differs: sha256 {digest}"


def print_ledger(folder: Path, console: Console) -> bool:
    """Print every row of a folder's ledger and every weight file it does not know.

    Args:
        folder: Folder that holds LEDGER.md and the weight files.
        console: Where to print.

    Returns:
        True if all files are there, match their hash, and are in the ledger.

    Raises:
        WeightsError: If the folder has no ledger or it cannot be read.
    """
    rows = read_ledger(folder)
    if rows is None:
        raise WeightsError(f"no ledger at {folder / LEDGER_NAME}; expected one beside the weights")
    states = {row.file: check_file(folder, row) for row in rows}
    for row in rows:
        console.print(_describe(row, states[row.file]))
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors")}
    strangers = sorted(found - states.keys())
    for file in strangers:
        console.print(Text(f"{file}: not in the ledger", style="red"))
    num_good = sum(state == "matches" for state in states.values())
    console.print(f"{num_good} of {len(rows)} files match their hash")
    return num_good == len(rows) and not strangers


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the ledger; return 0 if every file matches, 1 if not, 2 if there is no ledger."""
    parser = argparse.ArgumentParser(prog="python -m difffae.licenses", description=main.__doc__)
    parser.add_argument(
        "--weights",
        type=Path,
        default=Path(__file__).parent / "weights",
        help="folder of weights with a LEDGER.md (default: the bundled ones)",
    )
    folder: Path = parser.parse_args(arguments).weights
    try:
        return 0 if print_ledger(folder, Console()) else 1
    except WeightsError as error:
        Console(stderr=True, soft_wrap=True).print(Text(str(error)))
        return 2


def _describe(row: LedgerRow, state: str) -> Table:
    """Lay out one file's row as a table of two columns, readable in a narrow terminal."""
    table = Table(title=row.file, title_justify="left", show_header=False, expand=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("on disk", Text(state, style="green" if state == "matches" else "red"))
    table.add_row("licence", Text(row.licence))
    table.add_row("trained on", Text(row.trained_on))
    table.add_row("command", Text(row.command))
    table.add_row("figures", Text(row.figures))
    table.add_row("bytes", f"{row.num_bytes:,}")
    table.add_row("sha256", row.sha256)
    return table


if __name__ == "__main__":
    sys.exit(main())
