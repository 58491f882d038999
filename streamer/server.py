"""The live server: `python -m streamer.server`, nothing else to configure, prints a URL.

It exits with 0 when it is told to stop (Ctrl-C, SIGTERM), and 2 after a user's error.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence

import uvloop
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from rich.console import Console

from streamer.downloads import add_recordings
from streamer.engine import EngineSettings, find_model
from streamer.errors import UsageError
from streamer.ice import ice_servers
from streamer.live import Compute
from streamer.log_limit import LogLimit
from streamer.memory import set_apart
from streamer.offline import run_command
from streamer.peering import Peer, PeerFactory, PeerRequest
from streamer.provenance import can_sign
from streamer.recordings import Recordings
from streamer.security import absolute_url
from streamer.server_config import ServerConfig, default_side_px, read_config
from streamer.signaling import create_app
from streamer.whep import add_whep
from streamer.whip import add_whip

Tell = Callable[[str], None]
_ENGINE = "streamer.live_engine:load_live_engine"
_SHUTDOWN_S = 5.0
_SILENT_S = 30.0  # of a connection, before its first whole request and between two


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""

    def command(console: Console) -> None:
        config = read_config(arguments)
        find_model(config.model)
        _log_to_stderr()
        out = Console(soft_wrap=True, markup=False, highlight=False)
        uvloop.run(_run(config, out.print))

    return run_command(command)


async def serve(
    config: ServerConfig,
    *,
    compute: Compute,
    make_peer: PeerFactory,
    tell: Tell,
    stopping: asyncio.Event,
) -> None:
    """Serve until told to stop; the page is there at once, sessions once the model is warm.

    Args:
        config: checked.
        compute: started and stopped here.
        make_peer: of each session.
        tell: is given the lines that a person should see.
        stopping: set it to end.

    Raises:
        UsageError: the address cannot be listened at.
        StreamerError: the model cannot be started.
    """
    recordings = Recordings(config) if can_sign() else None
    app = create_app(config, compute, make_peer, recorder=recordings)
    add_whip(app)
    add_whep(app)
    if recordings is not None:
        add_recordings(app, recordings)
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=_SHUTDOWN_S, keepalive_timeout=_SILENT_S
    )
    await runner.setup()
    stopped = asyncio.create_task(stopping.wait())
    try:
        port = await _listen(runner, config)
        tell(f"open {absolute_url(config.host, port, config.token)}")
        tell("the model is warming up")
        warming = asyncio.create_task(compute.start())
        await asyncio.wait([stopped, warming], return_when=asyncio.FIRST_COMPLETED)
        if await _ended(warming):
            set_apart()
            tell("ready")
            await stopped
    finally:
        stopped.cancel()
        await runner.cleanup()
        await compute.stop()


def aiortc_peers(config: ServerConfig) -> PeerFactory:
    """Makes real connections, with the bitrate bounds of the configuration."""
    from aiortc import RTCIceServer

    from streamer import peer
    from streamer.bounded_decoders import bound_decoders
    from streamer.clear_encoder import encode_clearly

    bound_decoders()
    encode_clearly()
    bitrate, limits = config.bitrate, config.limits
    peer.set_bitrate_bounds(
        peer.BitrateBounds(
            least=1000 * bitrate.least_kbps,
            start=1000 * bitrate.start_kbps,
            most=1000 * bitrate.most_kbps,
        )
    )

    def make(request: PeerRequest) -> Peer:
        servers = ice_servers(config, who="server", now_s=time.time())
        return peer.Peer(
            request.open_stream,
            peer.PeerSettings(
                ice_servers=[RTCIceServer(**server) for server in servers],
                connect_timeout_s=limits.connect_s,
                idle_timeout_s=limits.idle_s,
                limit_s=limits.session_s,
            ),
            on_state=request.on_state,
            on_message=request.on_message,
        )

    return make


def make_compute(config: ServerConfig) -> Compute:
    """The model's processes: one for each device, or replicas on a Ray cluster."""
    from streamer.compute import ComputeProcess, ComputeSettings
    from streamer.compute_pool import ComputePool

    if config.ray:
        return _on_ray(config)
    every = [engine_settings(config, device) for device in config.devices]
    processes = [ComputeProcess(ComputeSettings(engine=_ENGINE, arguments=(one,))) for one in every]
    return processes[0] if len(processes) == 1 else ComputePool(processes)


def _on_ray(config: ServerConfig) -> Compute:
    from streamer.compute_child import EngineFactory
    from streamer.ray_cluster import ClusterSettings, RayCompute

    factory = EngineFactory(path=_ENGINE, arguments=(engine_settings(config, config.device),))
    return RayCompute(
        ClusterSettings(
            address=config.ray,
            name=f"difffae-{socket.gethostname()}-{config.port}",
            num_replicas=config.replicas,
            factory=factory,
            num_gpus=0 if config.device == "cpu" else 1,
        )
    )


def engine_settings(config: ServerConfig, device: str) -> EngineSettings:
    """What the model's process on a device is to load."""
    return EngineSettings(
        model=config.model,
        device=device,
        runtime=config.runtime,
        max_side_px=config.max_side_px or default_side_px(device, os.cpu_count() or 1),
    )


async def _run(config: ServerConfig, tell: Tell) -> None:
    """Serve with the real model and real connections until a signal comes."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await serve(
        config,
        compute=make_compute(config),
        make_peer=aiortc_peers(config),
        tell=tell,
        stopping=stopping,
    )


async def _listen(runner: web.AppRunner, config: ServerConfig) -> int:
    """The port; with port 0 one that was free."""
    try:
        await web.TCPSite(runner, config.host, config.port).start()
    except OSError as error:
        raise UsageError(
            f"cannot listen at {config.host} port {config.port}: {error.strerror}; "
            "choose another --port"
        ) from error
    return int(runner.addresses[0][1])


async def _ended(warming: asyncio.Task[None]) -> bool:
    """Whether the warm-up came to its end; one that did not is called off."""
    if warming.done():
        warming.result()
        return True
    warming.cancel()
    await asyncio.gather(warming, return_exceptions=True)
    return False


def _log_to_stderr() -> None:
    """Our own lines from INFO, those of libraries from WARNING; none of requests that are no HTTP.

    Those are answered with 400; with a trace of each, any scanner would fill the disk. What a
    visitor can bring about again and again is written a number of times a minute.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(name)s %(message)s"
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(LogLimit())
    logging.getLogger("streamer").setLevel(logging.INFO)
    logging.getLogger("aiohttp.server").addFilter(_is_worth_a_line)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


if __name__ == "__main__":
    sys.exit(main())
