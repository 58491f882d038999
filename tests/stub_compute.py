"""A compute process around the stub engine, for tests."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from streamer.compute import ComputeProcess, ComputeSettings

BYTES = 64 * 64 * 3


def settings(function: str, *arguments: object) -> ComputeSettings:
    """A compute process with an engine of `stub_engine` and small pictures."""
    return ComputeSettings(
        engine=f"stub_engine:{function}",
        arguments=arguments,
        max_frame_bytes=BYTES,
        max_result_bytes=BYTES,
        back_off_s=(0.0,),
    )


@asynccontextmanager
async def running(gate: Path | None = None) -> AsyncIterator[ComputeProcess]:
    """A warm compute process, stopped at the end."""
    compute = ComputeProcess(settings("make", str(gate)))
    await compute.start()
    try:
        yield compute
    finally:
        await compute.stop()


async def held(gate: Path) -> int:
    """Wait until the engine is in its HOLD frame; closing what is returned lets it go on."""
    return await asyncio.to_thread(os.open, gate, os.O_WRONLY)


def changes(compute: ComputeProcess) -> asyncio.Queue[bool]:
    """What `on_change` tells from now on."""
    told = asyncio.Queue[bool]()
    compute.on_change(told.put)
    return told
