"""`python -m streamer.bench COMMAND`: each command is one function of a module of its own."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from jsonargparse import auto_cli
from rich.console import Console

from streamer.bench.live import live
from streamer.bench.loss import loss
from streamer.bench.offline import offline
from streamer.bench.scale import scale
from streamer.bench.soak import soak
from streamer.bench.stages import stages
from streamer.errors import StreamerError

COMMANDS: tuple[Callable[..., Any], ...] = (live, offline, loss, scale, soak, stages)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 2 after a user's error, 130 when interrupted."""
    by_name: dict[str, Any] = {command.__name__: command for command in COMMANDS}
    try:
        auto_cli(by_name, args=None if arguments is None else list(arguments))
    except StreamerError as error:
        Console(stderr=True, soft_wrap=True, markup=False, highlight=False).print(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
