"""A frame is begun as late as it can be without keeping the second stage waiting."""

from streamer.pace import Pace


def used(prepare_s: float, paint_s: float) -> Pace:
    """A pace that knows its stages and has nothing in hand."""
    pace = Pace()
    pace.prepared(prepare_s)
    pace.painting(0.0)
    pace.painted(paint_s)
    return pace


def test_nothing_in_hand_is_begun_at_once() -> None:
    assert Pace().delay_s(5.0) == 0.0
    assert used(0.010, 0.040).delay_s(5.0) == 0.0


def test_beside_a_frame_being_painted_the_next_is_ready_just_in_time() -> None:
    pace = used(0.010, 0.040)
    pace.prepared(0.010)
    pace.painting(10.0)
    delay_s = pace.delay_s(10.0)
    assert delay_s is not None
    assert 0.020 < delay_s < 0.030
    assert pace.delay_s(10.0 + delay_s) == 0.0
    assert pace.delay_s(11.0) == 0.0


def test_a_first_stage_that_is_the_slower_one_never_waits() -> None:
    pace = used(0.050, 0.020)
    pace.prepared(0.050)
    pace.painting(10.0)
    assert pace.delay_s(10.0) == 0.0


def test_with_a_frame_waiting_to_be_painted_no_other_is_begun() -> None:
    pace = used(0.010, 0.040)
    pace.prepared(0.010)
    pace.painting(10.0)
    pace.prepared(0.010)
    assert pace.delay_s(99.0) is None
    pace.painted(0.040)
    assert pace.delay_s(99.0) == 0.0


def test_the_stages_times_follow_slowly() -> None:
    pace = used(0.010, 0.040)
    pace.prepared(0.110)
    pace.painted(0.140)
    assert 0.015 < pace.prepare_s < 0.03
    assert 0.045 < pace.paint_s < 0.06
