"""When the compute process counts as hung, and who is to blame for a loss."""

from streamer.watchdog import Patience, Suspect, Suspects, Watchdog

PATIENCE = Patience(start_s=100, frames_s=10, portraits_s=40)


def first_overdue(watchdog: Watchdog, waiting: set[str], begin_s: int, end_s: int) -> int | None:
    """The second at which something is overdue, looked at once a second."""
    kinds: list = sorted(waiting)
    return next((s for s in range(begin_s, end_s) if watchdog.overdue(kinds, s)), None)


def test_each_kind_of_work_has_its_own_patience() -> None:
    for waiting, limit_s in (("frames", 10), ("portraits", 40), ("start", 100)):
        assert first_overdue(Watchdog(PATIENCE, 0), {waiting}, 0, 200) == limit_s + 1


def test_without_work_there_is_no_hurry_and_patience_begins_with_the_work() -> None:
    watchdog = Watchdog(PATIENCE, 0)
    assert first_overdue(watchdog, set(), 0, 300) is None
    assert first_overdue(watchdog, {"frames"}, 300, 400) == 311


def test_whatever_comes_of_the_work_begins_the_patience_anew() -> None:
    watchdog = Watchdog(PATIENCE, 0)
    assert first_overdue(watchdog, {"frames", "portraits"}, 0, 9) is None
    watchdog.hear("frames", 8.5)
    assert first_overdue(watchdog, {"frames", "portraits"}, 9, 60) == 19


def test_a_pause_of_our_own_is_not_held_against_the_process() -> None:
    watchdog = Watchdog(PATIENCE, 0)
    assert first_overdue(watchdog, {"frames"}, 0, 5) is None
    assert first_overdue(watchdog, {"frames"}, 25, 60) == 36


def test_who_is_there_at_too_many_losses_is_not_served_any_more() -> None:
    suspects = Suspects(max_losses=3, max_kept=2)
    for name in ("a", "b", "a"):
        suspects.blame(Suspect(name=name))
    assert not suspects.is_banned("a")
    suspects.blame(Suspect(name="a"))
    assert suspects.is_banned("a")
    assert not suspects.is_banned("b")
    for name in ("c", "d"):
        suspects.blame(Suspect(name=name))
    assert not suspects.is_banned("a")  # forgotten


def test_a_session_that_went_well_for_a_while_and_an_unknown_one_are_not_held_to_blame() -> None:
    suspects = Suspects(max_losses=2)
    for _ in range(5):
        suspects.blame(Suspect(name="long", num_results=50))
        suspects.blame(Suspect())
    assert not suspects.is_banned("long")
    assert not suspects.is_banned("")
    suspects.blame(Suspect(name="long", num_results=49))
    assert suspects.is_banned("long")
