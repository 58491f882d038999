"""The command line over the paper's configuration."""

from pathlib import Path
from typing import Any

import pytest

from difffae.training.config import Config
from difffae.training.errors import TrainingError
from difffae.training.record import describe_run, to_json
from difffae.training.request import Catalog, Request, read_request
from difffae.training.stages import stage_recipes


@pytest.fixture(scope="module")
def paper(repository: Path) -> Path:
    return repository / "configs" / "paper-256.yaml"


def ask(config: Path, *arguments: str) -> Request:
    catalog = Catalog(schema=Config, recipes=stage_recipes())
    return read_request(["--config", str(config), "--stage", "all", *arguments], catalog)


def flat(description: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(description, dict):
        return {name: description}
    parts = [flat(value, f"{name}.{key}") for key, value in description.items()]
    return {key: value for part in parts for key, value in part.items()}


@pytest.fixture(scope="module")
def plain(paper: Path) -> Request:
    return ask(paper)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.region_encoder.num_slots", 2),
        ("model.region_encoder.num_slots", 8),
        ("model.denoiser.identity_width", 0),
        ("training.loss.attention", 0.0),
        ("model.region_encoder.tokens", "global"),
    ],
)
def test_each_ablation_of_the_paper_is_one_override(
    paper: Path, plain: Request, name: str, value: object
) -> None:
    before, after = (
        flat(to_json(describe_run(request.config)))
        for request in (plain, ask(paper, f"--{name}", str(value)))
    )
    changed = {key: after[key] for key in after if before[key] != after[key]}
    assert changed == {f".{name}": value}


def test_a_first_stage_that_is_not_retrained_is_no_stage(paper: Path, plain: Request) -> None:
    with pytest.raises(TrainingError, match="first_stage_weights"):
        ask(paper, "--training.retrain_first_stage", "false")
    given = ("--training.first_stage_weights", "vq-f8")
    kept = ask(paper, "--training.retrain_first_stage", "false", *given)
    assert list(kept.stages) == [name for name in plain.stages if name != "first_stage"]
    assert next(iter(plain.stages)) == "first_stage"


def test_one_line_overrides_the_trainers_of_all_stages_or_of_one(
    paper: Path, plain: Request
) -> None:
    given = ("--trainer.accumulation_steps=4", "--training.joint.sharding", "full_shard")
    training = ask(paper, *given).config.training
    assert training.joint.accumulation_steps == training.regions.accumulation_steps == 4
    assert (training.joint.sharding, training.regions.sharding) == ("full_shard", "none")
    assert training.joint.ema_decay == plain.config.training.joint.ema_decay == 0.9999
    assert training.joint.num_steps == 100_000
