"""Which stages of a run are finished."""

from pathlib import Path

from difffae.training.order import FinishedStages

ORDER = ["head", "first", "latents", "joint"]


def test_finished_stages_are_kept_between_calls(tmp_path: Path) -> None:
    FinishedStages(tmp_path, ORDER).add("head")
    FinishedStages(tmp_path, ORDER).add("latents")
    assert FinishedStages(tmp_path, ORDER).names() == ["head", "latents"]


def test_a_stage_trained_anew_unfinishes_what_comes_after_it(tmp_path: Path) -> None:
    finished = FinishedStages(tmp_path, ORDER)
    for name in ("head", "latents"):
        finished.add(name)
    finished.forget_from("first")
    assert finished.names() == ["head"]
    finished.forget_from("head")
    assert finished.names() == []


def test_nothing_is_finished_where_nothing_is_kept_or_it_does_not_read(tmp_path: Path) -> None:
    finished = FinishedStages(tmp_path, ORDER)
    assert finished.names() == []
    finished.forget_from("head")
    assert not (tmp_path / "finished.json").exists()
    (tmp_path / "finished.json").write_text('["hea', "utf-8")
    assert finished.names() == []
