"""What processes of this machine cost, after /proc (see proc(5))."""

import os
import platform
from pathlib import Path

_UTIME, _STIME, _PPID = 11, 12, 1  # of the fields after the name


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and all of its threads so far; 0 when it is gone."""
    fields = _fields(pid)
    ticks = int(fields[_UTIME]) + int(fields[_STIME]) if fields else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """Every process below one, without itself."""
    parents = {
        int(entry.name): int(fields[_PPID])
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and (fields := _fields(int(entry.name)))
    }
    found: list[int] = []
    wanted = {pid}
    while wanted:
        wanted = {child for child, parent in parents.items() if parent in wanted}
        found += sorted(wanted)
    return found


def cpu_model() -> str:
    """The processor's name, and how many of it this process may use."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return f"{len(os.sched_getaffinity(0))} × {name}"


def _fields(pid: int) -> list[str]:
    """What stands after the name, which may hold anything, in /proc/PID/stat."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
