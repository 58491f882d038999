"""The real server in a process of its own, with any engine: what the measurements talk to."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import uvloop

from streamer.bench import engines
from streamer.compute import ComputeProcess, ComputeSettings
from streamer.errors import StreamerError
from streamer.server import aiortc_peers, engine_settings, serve
from streamer.server_config import ServerConfig, read_config

PASS = "pass"
_PATIENCE_S = 20.0


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """A server that takes sessions.

    Attributes:
        address: to begin them at.
        pid: of its process; the model's is a child of that.
    """

    address: str
    pid: int


@asynccontextmanager
async def running_server(
    model: str, options: Sequence[str], delay_s: float = 0.0
) -> AsyncIterator[RunningServer]:
    """A warm server on a free port of 127.0.0.1, ended afterwards.

    Args:
        model: "pass" for the engine that hands the camera's picture back, or a model's name; the
            camera's number is in the results of either.
        options: of `python -m streamer.server`.
        delay_s: how long the engine of "pass" takes for a frame.

    Raises:
        StreamerError: it ended before it was ready; its own words are above.
    """
    command = ["-m", "streamer.bench.serving", model, str(delay_s), "--port", "0", *options]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    address = ""
    try:
        while (line := (await process.stdout.readline()).decode().strip()) != "ready":
            if not line:
                raise StreamerError("the server ended before it was ready; see what it said above")
            if line.startswith("open "):
                address = line.removeprefix("open ")
        yield RunningServer(address=address, pid=process.pid)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _PATIENCE_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _run(model: str, delay_s: float, config: ServerConfig) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    compute = ComputeProcess(_compute(model, delay_s, config))
    await serve(
        config, compute=compute, make_peer=aiortc_peers(config), tell=_tell, stopping=stopping
    )


def _compute(model: str, delay_s: float, config: ServerConfig) -> ComputeSettings:
    if model == PASS:
        return ComputeSettings(engine=f"{engines.__name__}:load_pass", arguments=(delay_s,))
    settings = replace(engine_settings(config, config.device), model=model)
    return ComputeSettings(engine=f"{engines.__name__}:load_counted", arguments=(settings,))


def _tell(line: str) -> None:
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def main(arguments: Sequence[str]) -> None:
    """Serve until SIGTERM with a model, its delay in seconds and the options that follow."""
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)
    model, delay_s, *options = arguments
    uvloop.run(_run(model, float(delay_s), read_config(options)))


if __name__ == "__main__":
    main(sys.argv[1:])
