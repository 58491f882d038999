"""The paper's path at reduced size: every stage, through the command, to a usable model."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from difffae.checkpoint import load_tensors
from difffae.controls import Controls
from difffae.data import pairs
from difffae.data.shards import ShardReader
from difffae.loading import load_pipeline
from difffae.training import export
from difffae.training.config import read_config
from difffae.training.joint import JointStage
from difffae.training.stages import stage_recipes
from face_media import read_picture

NUM_STEPS, NUM_PAIRS = 3, 12
FAST = ("--trainer.num_steps", str(NUM_STEPS), "--trainer.batch_size", "2")
pytestmark = pytest.mark.timeout(600)  # all stages are trained in the setup of the first test


@pytest.fixture(scope="module")
def paper_run(
    frames: Path,
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
    make_run: Callable[[dict[str, Any], Path], Any],
    run_command: Callable[..., None],
) -> Any:
    """`configs/tiny-paper.yaml` after all its stages, the discriminator judging at once."""
    content = yaml.safe_load((repository / "configs" / "tiny-paper.yaml").read_text("utf-8"))
    content["training"]["loss"]["first_stage"]["adversarial_start"] = 1
    run = make_run(content, tmp_path_factory.mktemp("paper"))
    for name, recipe in stage_recipes().items():
        if not recipe.is_needed(read_config(run.config)):
            continue
        is_trained = hasattr(recipe, "trainer")
        status, said = run.train(name, *(FAST if is_trained else ()))
        assert status == 0, said
        if name == "head_model":
            head_model = run.folder / "head_model" / "head_model.safetensors"
            arguments = ("--head-model", str(head_model), "--config", str(run.config))
            run_command(
                pairs.main, str(frames), str(run.pairs), *arguments, "--num-pairs", str(NUM_PAIRS)
            )
    return run


def rows(run: Any, stage: str) -> list[dict[str, Any]]:
    lines = (run.folder / stage / "metrics.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_pairs_show_the_face_alone_on_black(paper_run: Any) -> None:
    reader = ShardReader(paper_run.pairs, "pairs")
    assert len(reader) == NUM_PAIRS
    composite, masks = reader.picture("composite", 0), reader.picture("masks", 0)
    is_outside = masks[..., 0] < 3
    assert composite[is_outside].mean() < 2
    assert composite[~is_outside].mean() > 30


@pytest.mark.parametrize("stage", ["first_stage", "identity", "regions", "joint"])
def test_every_stage_ends_with_a_finite_loss(paper_run: Any, stage: str) -> None:
    last = rows(paper_run, stage)[-1]
    assert last["step"] == NUM_STEPS
    assert math.isfinite(last["loss"])


def test_the_discriminator_judges_and_the_codebook_is_used(paper_run: Any) -> None:
    last = rows(paper_run, "first_stage")[-1]
    assert last["adaptive_weight"] > 0
    assert last["discriminator"] > 0
    assert 0 < last["codebook_use"] <= 1


def test_the_joint_loss_is_the_papers_two_terms(paper_run: Any) -> None:
    """Equations 1 and 8: no loss in pixels, squared error near 1 before anything is learned."""
    last = rows(paper_run, "joint")[-1]
    assert "psnr" not in last
    assert last["loss"] == pytest.approx(1, abs=0.6)
    assert last["attention"] > 0


def test_the_joint_stage_may_start_from_a_denoiser_trained_elsewhere(paper_run: Any) -> None:
    file = paper_run.folder / "joint" / "denoiser.safetensors"
    config = read_config(paper_run.config)
    training = replace(config.training, denoiser_weights=file)
    stage = JointStage(replace(config, training=training), paper_run.folder)
    expected = load_tensors(file)
    for name, tensor in stage.denoiser.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)


def test_without_the_identity_token_the_joint_stage_takes_a_step(paper_run: Any) -> None:
    config = read_config(paper_run.config)
    denoiser = replace(config.model.denoiser, identity_width=0)
    identity = replace(config.model.identity, kind="arcface")  # whose file nobody set
    model = replace(config.model, denoiser=denoiser, identity=identity)
    stage = JointStage(replace(config, model=model), paper_run.folder)
    loss, _ = stage.loss(stage.batch(np.arange(2), np.random.default_rng(0)), 0)
    loss.backward()
    assert loss.isfinite()


def test_the_exported_model_reenacts(
    paper_run: Any,
    portrait: Path,
    tmp_path_factory: pytest.TempPathFactory,
    run_command: Callable[..., None],
) -> None:
    folder = tmp_path_factory.mktemp("models") / "mine"
    run_command(
        export.main,
        *(str(paper_run.folder), str(paper_run.config), str(folder), "--trained-on", "tests"),
    )
    pipeline = load_pipeline(folder, runtime="eager")
    image = read_picture(portrait, 320)
    source, controls = pipeline.encode_source(image), Controls(num_steps=4, light="driver")
    state = pipeline.open_stream(source, controls)
    reenacted, _ = pipeline.reenact(image, source, state, controls)
    assert reenacted.is_tracked
    assert reenacted.image.shape == image.shape
    assert np.abs(reenacted.image.astype(int) - image).mean() > 1
