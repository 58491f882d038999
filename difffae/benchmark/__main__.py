"""`python -m difffae.benchmark COMMAND`: each command is a function of the module of its name."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from jsonargparse import auto_cli
from rich.console import Console

COMMANDS = ("peak", "peers")
USER_ERROR, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 2 after a user's error, 130 when interrupted."""
    by_name: dict[str, Any] = {
        name: getattr(import_module(f"difffae.benchmark.{name}"), name) for name in COMMANDS
    }
    try:
        auto_cli(by_name, args=None if arguments is None else list(arguments))
    except (ValueError, OSError) as error:
        Console(stderr=True, soft_wrap=True, markup=False, highlight=False).print(f"error: {error}")
        return USER_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
