"""Connect and disconnect many times, then stream for long at the limit; does anything grow?"""

import asyncio
import tempfile
import time
from dataclasses import dataclass, field

import aiohttp
from rich.console import Console

from streamer.bench.held import Held, grown, held_by, trends
from streamer.bench.live_client import CountingCamera, LiveClient, RefusedError
from streamer.bench.loss import camera_for
from streamer.bench.processes import descendants
from streamer.bench.serving import RunningServer, running_server
from streamer.errors import StreamerError

_CONNECT_S = 60.0
_SAMPLE_S = 10.0
_RECONNECT_EVERY = 6  # samples
_WARMING = 5  # cycles, or samples, that may still grow
_NUM_FRAMES = 5


class Meter:
    """Samples the server's process and the model's, its largest child."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self.samples: dict[str, list[Held]] = {"server": [], "model": []}

    def sample(self) -> None:
        """Take one of each.

        Raises:
            StreamerError: one of them is gone.
        """
        children = [(pid, held_by(pid)) for pid in descendants(self._server.pid)]
        model = max(
            (held for _, held in children if held), key=lambda one: one.rss_mb, default=None
        )
        server = held_by(self._server.pid)
        if server is None or model is None:
            raise StreamerError("the server or its model has ended; see what it said above")
        self.samples["server"].append(server)
        self.samples["model"].append(model)


@dataclass
class Tally:
    """What happened during the soak."""

    num_refused: int = 0
    num_wrong: int = 0
    num_reconnected: int = 0
    rates: list[float] = field(default_factory=list)


def soak(minutes: float = 30.0, cycles: int = 50, model: str = "pass", sessions: int = 2) -> None:
    """Print memory, threads, descriptors and shared memory of server and model, and a verdict.

    Args:
        minutes: of streaming with as many clients as the server takes.
        cycles: of connect, stream, disconnect before that.
        model: "pass" sends the camera's picture back at once; or a model's name.
        sessions: the server's limit.
    """
    out = Console(soft_wrap=True, markup=False, highlight=False)
    is_flat = asyncio.run(_measured(out, minutes, cycles, model, sessions))
    out.print("verdict: " + ("flat" if is_flat else "not flat, or too few samples; see above"))


async def _measured(out: Console, minutes: float, cycles: int, model: str, sessions: int) -> bool:
    """Whether nothing grew."""
    is_flat = True
    with tempfile.TemporaryDirectory() as folder:
        options = ["--log_folder", folder, "--max_sessions", str(sessions)]
        async with running_server(model, options) as server, aiohttp.ClientSession() as http:
            bench = _Bench(server, http, model)
            if cycles:
                out.print(f"{model}: {cycles} cycles of connect, stream, disconnect")
                is_flat &= _report(out, await bench.cycle(cycles), "cycle")
            if minutes:
                out.print(
                    f"{model}: {minutes:g} minutes with {sessions} clients, a limit of as many"
                )
                tally = Tally()
                meter = await bench.stay(minutes, sessions, tally)
                is_flat &= _report(out, meter, f"{_SAMPLE_S:g} s")
                out.print(
                    f"{tally.num_refused} sessions beyond the limit got 503 with Retry-After, "
                    f"{tally.num_wrong} something else; {tally.num_reconnected} reconnections; "
                    f"lowest rate of a client in {_SAMPLE_S:g} s: "
                    f"{min(tally.rates, default=0):.1f} frames/s"
                )
                is_flat &= tally.num_wrong == 0
    return is_flat


class _Bench:
    """Clients of one server."""

    def __init__(self, server: RunningServer, http: aiohttp.ClientSession, model: str) -> None:
        self._server = server
        self._http = http
        self._paint = camera_for(model)

    async def cycle(self, count: int) -> Meter:
        """Come and go; a sample after each, when the server has closed the session."""
        meter = Meter(self._server)
        for number in range(count):
            client = await self._streaming()
            await client.close(self._http if number % 2 else None)
            await self._until_empty()
            meter.sample()
        return meter

    async def stay(self, minutes: float, sessions: int, tally: Tally) -> Meter:
        """Stream at the limit; one reconnects now and then, one too many tries every time."""
        meter = Meter(self._server)
        clients = [await self._streaming() for _ in range(sessions)]
        end_s = time.monotonic() + 60 * minutes
        round_number = 0
        while time.monotonic() < end_s:
            counts = [len(client.seen) for client in clients]
            await asyncio.sleep(_SAMPLE_S)
            tally.rates += [
                (len(client.seen) - count) / _SAMPLE_S
                for client, count in zip(clients, counts, strict=True)
            ]
            await self._try_one_too_many(tally)
            meter.sample()
            round_number += 1
            if round_number % _RECONNECT_EVERY == 0:
                await clients.pop(0).close(self._http)
                clients.append(await self._streaming())
                tally.num_reconnected += 1
        for client in clients:
            await client.close(self._http)
        return meter

    async def _streaming(self) -> LiveClient:
        client = LiveClient(self._server.address, camera=CountingCamera(paint=self._paint))
        async with asyncio.timeout(_CONNECT_S):
            await client.connect(self._http)
            await client.until(lambda: len(client.seen) >= _NUM_FRAMES)
        return client

    async def _try_one_too_many(self, tally: Tally) -> None:
        client = LiveClient(self._server.address)
        try:
            await client.connect(self._http)
            tally.num_wrong += 1
        except RefusedError as error:
            is_right = error.status == 503 and error.retry_after_s is not None
            tally.num_refused += is_right
            tally.num_wrong += not is_right
        finally:
            await client.close(self._http)

    async def _until_empty(self) -> None:
        async with asyncio.timeout(_CONNECT_S):
            while await self._num_sessions():  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def _num_sessions(self) -> int:
        async with self._http.get(f"{self._server.address}readyz") as answer:
            return int((await answer.json())["sessions"])


def _report(out: Console, meter: Meter, unit: str) -> bool:
    """Print every figure's way; whether all are flat."""
    is_flat = True
    for name, samples in meter.samples.items():
        if len(samples) < _WARMING + 2:
            out.print(f"  {name}: too few samples to judge")
            is_flat = False
            continue
        found = trends(samples[_WARMING:])
        for figure, one in found.items():
            out.print(
                f"  {name:>6} {figure:>11}: {one.first:8.1f} → {one.last:8.1f}, "
                f"{one.slope:+.3f} a {unit}"
            )
        worse = grown(found)
        if worse:
            out.print(f"  {name} grows: {', '.join(worse)}")
        is_flat &= not worse
    return is_flat
