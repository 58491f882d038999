"""Joules that the processor's own counters tell (RAPL in Linux' powercap), where they can be read.

See Documentation/power/powercap/powercap.rst of Linux: `energy_uj` counts microjoules and begins
again after `max_energy_range_uj`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
_PACKAGES = "intel-rapl:?"  # whole packages; intel-rapl:0:0 and such are parts of them


@dataclass(frozen=True, kw_only=True)
class Counter:
    """What one package's counter stands at, and where it begins again; both in microjoules."""

    stands_uj: int
    range_uj: int


def read_counters(root: Path = POWERCAP) -> dict[str, Counter]:
    """Every package's counter by its name; none where there is none or it is root's alone."""
    try:
        return {
            zone.name: Counter(
                stands_uj=int((zone / "energy_uj").read_text("ascii")),
                range_uj=int((zone / "max_energy_range_uj").read_text("ascii")),
            )
            for zone in sorted(root.glob(_PACKAGES))
        }
    except (OSError, ValueError):
        return {}


def joules_between(before: Mapping[str, Counter], after: Mapping[str, Counter]) -> float | None:
    """What all packages used, the rest of the machine included; None where none can be read."""
    if not before or before.keys() != after.keys():
        return None
    used_uj = 0
    for name, first in before.items():
        used_uj += (after[name].stands_uj - first.stands_uj) % max(1, first.range_uj)
    return used_uj / 1e6
