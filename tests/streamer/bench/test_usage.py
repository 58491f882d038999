"""A meter counts from when it was made, and memory that was touched shows."""

import time

import numpy as np

from streamer.bench.energy import Counter
from streamer.bench.usage import Meter, peak_megabytes


def test_work_since_the_meter_was_made_is_told() -> None:
    readings = iter([1_000_000, 3_500_000])
    meter = Meter(lambda: {"a": Counter(stands_uj=next(readings), range_uj=10**9)})
    begun_s = time.process_time()
    while time.process_time() < begun_s + 0.01:
        pass
    used = meter.read()
    assert used.cpu_s >= 0.01
    assert used.wall_s > 0
    assert used.joules == 2.5


def test_joules_are_unknown_without_counters() -> None:
    assert Meter(dict).read().joules is None


def test_the_peak_holds_what_was_touched() -> None:
    touched = np.ones(30_000_000, np.uint8)
    assert peak_megabytes() > touched.nbytes / 1e6
