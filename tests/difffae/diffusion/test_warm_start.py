"""When a frame may start from the one before it."""

from dataclasses import replace

import pytest
import torch

from difffae.diffusion.warm_start import Trail, WarmStart, can_follow

SOURCE = object()
PRIOR = torch.zeros(1, 4, 2, 2)
TRAIL = Trail(latent=torch.ones(1, 4, 2, 2), prior=PRIOR, source=SOURCE)
CONFIG = WarmStart(timestep=400, refresh_every=3, largest_change=0.5)


def test_the_next_frame_of_a_small_change_follows() -> None:
    assert can_follow(TRAIL, PRIOR + 0.4, SOURCE, CONFIG)


def test_after_a_jump_of_the_condition_a_frame_starts_afresh() -> None:
    assert not can_follow(TRAIL, PRIOR + 0.6, SOURCE, CONFIG)


def test_another_portraits_frame_is_not_followed_however_alike() -> None:
    assert not can_follow(TRAIL, PRIOR, object(), CONFIG)


def test_every_so_many_frames_one_starts_afresh() -> None:
    follows = [
        can_follow(replace(TRAIL, num_warm=count), PRIOR, SOURCE, CONFIG) for count in (0, 1, 2)
    ]
    assert follows == [True, True, False]  # of three frames, one is cold and two follow


@pytest.mark.parametrize(
    "values", [{"timestep": 0}, {"refresh_every": 0}, {"largest_change": float("nan")}]
)
def test_values_that_mean_nothing_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        WarmStart(**values)  # type: ignore[arg-type]
