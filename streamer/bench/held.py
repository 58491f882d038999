"""What a process holds of the machine, after /proc (see proc(5))."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

_SHARED = "/dev/shm/"


@dataclass(frozen=True, kw_only=True)
class Held:
    """One sample.

    Attributes:
        rss_mb: resident memory, 10⁶ bytes.
        threads: of the process.
        descriptors: open ones, sockets among them.
        sockets: of those.
        shared: pieces of named shared memory that it maps, also where the name is gone.
    """

    rss_mb: float
    threads: int
    descriptors: int
    sockets: int
    shared: int


@dataclass(frozen=True, kw_only=True)
class Trend:
    """How a figure went over some samples.

    Attributes:
        first, last: medians of the first and of the last fifth.
        slope: least squares, a sample.
    """

    first: float
    last: float
    slope: float


def held_by(pid: int) -> Held | None:
    """A sample; None when the process is gone."""
    root = Path(f"/proc/{pid}")
    try:
        status = (root / "status").read_text("utf-8", "replace")
        mapped = (root / "maps").read_text("utf-8", "replace")
        names = os.listdir(root / "fd")
    except OSError:
        return None
    targets = []
    for name in names:
        with suppress(OSError):  # closed meanwhile
            targets.append(os.readlink(root / "fd" / name))
    values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return Held(
        rss_mb=int(values.get("VmRSS", "0 kB").split()[0]) * 1024 / 1e6,
        threads=int(values["Threads"]),
        descriptors=len(targets),
        sockets=sum(target.startswith("socket:") for target in targets),
        shared=len({line.split()[4] for line in mapped.splitlines() if _SHARED in line}),
    )


def trends(samples: Sequence[Held]) -> dict[str, Trend]:
    """Of each figure, by its name.

    Raises:
        ValueError: there are fewer than two samples.
    """
    if len(samples) < 2:
        raise ValueError(f"a trend needs two samples, got {len(samples)}")
    return {
        field.name: _trend([float(getattr(one, field.name)) for one in samples])
        for field in fields(Held)
    }


def _trend(values: Sequence[float]) -> Trend:
    part = max(1, len(values) // 5)
    slope = np.polyfit(range(len(values)), values, 1)[0]
    first, last = float(np.median(values[:part])), float(np.median(values[-part:]))
    return Trend(first=first, last=last, slope=float(slope))


def grown(found: dict[str, Trend], *, most_mb: float = 10.0, most_part: float = 0.03) -> list[str]:
    """The figures that are not flat.

    Args:
        found: see `trends`.
        most_mb: memory may end so much higher than it began,
        most_part: or by this part, whichever is more.
    """
    memory = found["rss_mb"]
    allowed_mb = max(most_mb, most_part * memory.first)
    names = [name for name, one in found.items() if name != "rss_mb" and one.last > one.first]
    return names + ["rss_mb"] * (memory.last - memory.first > allowed_mb)
