from pathlib import Path

import pytest

from difffae.metrics.settings import EvaluateConfig

MEDIA = {"clips": Path("clips"), "csv": Path("clips.csv")}


def test_protocols_are_listed_once_in_the_reports_order() -> None:
    config = EvaluateConfig(**MEDIA, protocol="light,both,self")
    assert config.protocols == ("self", "cross", "light", "relight")
    assert EvaluateConfig(**MEDIA, protocol="all").protocols[-1] == "disentanglement"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"protocol": "swap"}, "Got protocol 'swap'; expected some of self, cross, light"),
        ({"protocol": "self,light", "model": "none"}, "no model for protocol light"),
        ({"protocol": "light", "external": {"a": Path("b")}}, "choose self or cross"),
        ({"max_frames": 1}, "at least 2 frames"),
    ],
)
def test_what_measures_nothing_is_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        EvaluateConfig(**MEDIA, **options)  # type: ignore[arg-type]
