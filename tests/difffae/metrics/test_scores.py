import math

import pytest

from difffae.metrics.motion import SIGNALS
from difffae.metrics.scores import NAN, Scores, by_person, mean_scores


def test_mean_leaves_out_what_was_not_measured() -> None:
    mean = mean_scores([Scores(ssim=0.5, identity=0.9), Scores(ssim=0.7), Scores()])
    assert mean.ssim == pytest.approx(0.6)
    assert mean.identity == pytest.approx(0.9)
    assert math.isnan(mean.psnr_db)


def test_mean_of_signals_is_taken_signal_by_signal() -> None:
    still = (NAN,) * (len(SIGNALS) - 1)
    mean = mean_scores([Scores(signals=(0.8, *still)), Scores(signals=(0.4, *still))])
    assert mean.signals[0] == pytest.approx(0.6)
    assert math.isnan(mean.signals[1])


def test_a_person_with_many_clips_weighs_no_more_than_another() -> None:
    clips = [("anna", Scores(psnr_db=30.0))] * 3 + [("bea", Scores(psnr_db=20.0))]
    gathered = by_person(clips)
    assert gathered.mean.psnr_db == pytest.approx(25)
    assert gathered.people["anna"].psnr_db == pytest.approx(30)
    assert list(gathered.people) == ["anna", "bea"]
