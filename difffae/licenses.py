"""The ledger of weights, printed: ``python -m difffae.licenses``.

A folder of weights in; for every file its licence, training data, command and figures out, and
whether the file on disk is the one the ledger describes. With ``--config CONFIG``, the same for the
user's own licensed files that a configuration names.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from difffae.checkpoint import LEDGER_NAME, LedgerRow, WeightsError, read_ledger, sha256
from difffae.config import read_model_config
from difffae.face.licensed import CONFIG_KEY, LicensedFiles
from difffae.face.licensed_check import LicensedState, check_files


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


def print_licensed(files: LicensedFiles, console: Console) -> bool:
    """Print the state of every licensed file: what it is, its licence, and what is wrong with it.

    Args:
        files: where the user's files are.
        console: where to print.

    Returns:
        True if every file that is set can be used.
    """
    states = check_files(files)
    for state in states:
        console.print(_describe_licensed(state))
    num_usable = sum(state.is_usable for state in states)
    num_set = sum(state.path is not None for state in states)
    console.print(f"{num_usable} of {num_set} files that are set can be used")
    return num_usable == num_set


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the ledger; return 0 if every file matches, 1 if not, 2 if there is none to read."""
    parser = argparse.ArgumentParser(prog="python -m difffae.licenses", description=main.__doc__)
    parser.add_argument(
        "--weights",
        type=Path,
        default=Path(__file__).parent / "weights",
        help="folder of weights with a LEDGER.md (default: the bundled ones)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        help="a configuration: check its licensed files in place of the bundled weights",
    )
    given = parser.parse_args(arguments)
    try:
        if given.config is not None:
            files = read_model_config(given.config).face.licensed
            return 0 if print_licensed(files, Console()) else 1
        return 0 if print_ledger(given.weights, Console()) else 1
    except ValueError as error:
        Console(stderr=True, soft_wrap=True).print(Text(str(error)))
        return 2


def _describe(row: LedgerRow, state: str) -> Table:
    """Lay out one file's row as a table of two columns, readable in a narrow terminal."""
    table = _two_columns(row.file)
    table.add_row("on disk", Text(state, style="green" if state == "matches" else "red"))
    table.add_row("licence", Text(row.licence))
    table.add_row("trained on", Text(row.trained_on))
    table.add_row("command", Text(row.command))
    table.add_row("figures", Text(row.figures))
    table.add_row("bytes", f"{row.num_bytes:,}")
    table.add_row("sha256", row.sha256)
    return table


def _describe_licensed(state: LicensedState) -> Table:
    """Lay out one licensed file the same way."""
    file = state.file
    table = _two_columns(f"{CONFIG_KEY}.{file.key}")
    table.add_row("state", Text(state.state, style="green" if state.is_usable else "red"))
    table.add_row("path", state.path or "")
    table.add_row("file", Text(f"{file.file}: {file.purpose}"))
    table.add_row("licence", Text(file.licence))
    table.add_row("source", Text(file.source))
    return table


def _two_columns(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, expand=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


if __name__ == "__main__":
    sys.exit(main())
