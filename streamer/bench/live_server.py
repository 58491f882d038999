"""The real server around an engine to measure with, in a process of its own as in production."""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop
from jsonargparse import auto_cli

from streamer.compute import ComputeProcess, ComputeSettings
from streamer.engine import EngineSettings
from streamer.errors import SessionFailedError
from streamer.server import aiortc_peers, serve
from streamer.server_config import ServerConfig

PASS = "pass"
_PATIENCE_S = 30


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server that runs.

    Attributes:
        url: of its page.
        pid: of its process; the model's is its child.
    """

    url: str
    pid: int


@contextmanager
def serving(engine: str, delay_s: float, log_folder: Path) -> Iterator[Served]:
    """A warm server on a free port, ended afterwards.

    Args:
        engine: "pass", or a model's name.
        delay_s: of the pass engine.
        log_folder: for the session record.

    Raises:
        SessionFailedError: it ended before it was ready; its lines are on stderr.
    """
    command = [sys.executable, "-u", "-m", __name__, engine, str(delay_s), str(log_folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Served(url=_url(process), pid=process.pid)
        finally:
            process.terminate()
            try:
                process.communicate(timeout=_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _url(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        if line == "ready\n":
            return str(re.findall(r"http://\S+", said)[0])
        said += line
    raise SessionFailedError("the server ended before it was ready; it says why above")


def run(engine: str, delay_s: float, log_folder: Path) -> None:
    """Serve until SIGTERM.

    Args:
        engine: "pass", or a model's name.
        delay_s: of the pass engine.
        log_folder: for the session record.
    """
    uvloop.run(_serve(engine, delay_s, log_folder))


async def _serve(engine: str, delay_s: float, log_folder: Path) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    config = ServerConfig(port=0, log_folder=log_folder)

    def tell(line: str) -> None:
        sys.stdout.write(f"{line}\n")

    await serve(
        config,
        compute=ComputeProcess(_compute(engine, delay_s)),
        make_peer=aiortc_peers(config),
        tell=tell,
        stopping=stopping,
    )


def _compute(engine: str, delay_s: float) -> ComputeSettings:
    if engine == PASS:
        return ComputeSettings(engine="streamer.bench.engines:load_pass", arguments=(delay_s,))
    settings = EngineSettings(model=engine)
    return ComputeSettings(engine="streamer.bench.engines:load_counted", arguments=(settings,))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `run` with the command line's arguments."""
    auto_cli(run, args=None if arguments is None else list(arguments))


if __name__ == "__main__":
    main()
