"""Settings of a run."""

from typing import Any

import pytest

from difffae.training.trainer_config import TrainerConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("num_steps", 0),
        ("log_every_steps", 0),
        ("warmup_steps", -1),
        ("num_loader_threads", -1),
        ("learning_rate", 0.0),
        ("clip_norm", 0.0),
        ("checkpoint_every_s", 0.0),
        ("ema_decay", 1.0),
        ("betas", (0.9, 1.0)),
        ("max_minutes", 0.0),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"trainer\.{name}: got"):
        TrainerConfig(**{name: value})
