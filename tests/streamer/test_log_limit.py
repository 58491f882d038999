import logging

from streamer.log_limit import LogLimit


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_a_flood_of_one_kind_is_cut_and_counted_and_others_pass() -> None:
    now_s = 0.0
    kept = Kept()
    kept.addFilter(LogLimit(3, 60, clock=lambda: now_s))
    logger = logging.Logger("any")
    logger.addHandler(kept)
    for number in range(100):
        logger.warning("a frame of %s%% is bad: %d", "%s", number)
    logger.warning("something else")
    assert kept.lines == [*(f"a frame of %s% is bad: {i}" for i in range(3)), "something else"]
    now_s = 61.0
    logger.warning("something else")
    assert kept.lines[-1] == "something else"


def test_the_next_period_begins_with_how_many_were_left_out() -> None:
    now_s = 0.0
    kept = Kept()
    kept.addFilter(LogLimit(2, 60, clock=lambda: now_s))
    logger = logging.Logger("any")
    logger.addHandler(kept)
    for number in range(10):
        now_s = 60.0 if number == 9 else 0.0
        logger.warning("100%% of %s", "%d")
    assert kept.lines == ["100% of %d"] * 2 + ["100% of %d (and 7 lines like this before)"]
