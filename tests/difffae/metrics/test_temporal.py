import math

import pytest

from difffae.metrics.temporal import TemporalMeter


def test_tlp_is_100_times_the_mean_absolute_difference_of_changes() -> None:
    meter = TemporalMeter()
    meter.add(0.03, 0.01)
    meter.add(0.00, 0.01)
    assert meter.value() == pytest.approx(100 * (0.02 + 0.01) / 2)


def test_pairs_not_measured_do_not_count_and_none_is_nan() -> None:
    meter = TemporalMeter()
    meter.add(0.1, math.nan)
    assert math.isnan(meter.value())
    meter.add(0.1, 0.05)
    assert meter.value() == pytest.approx(5)
