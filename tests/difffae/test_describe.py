"""Figures of whole configurations, against diffusers and against sums done by hand."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from difffae.describe import Description, as_json, describe, main, tables
from difffae.sizes import NetworkSizes

PAPER_PARAMETERS = 845_155_524  # latent diffusion's U-Net with 8 channels in, context 192
ADAIN_PARAMETERS = 20_684_160  # (512 + 1) x 2 x 20,160 channels in 22 residual blocks
REPLACED_PARAMETERS = 40_320  # gain and bias of the same channels
MEMORY_LIMIT_KB = 1_000_000


@pytest.fixture(scope="module")
def described(repository: Path) -> Callable[[str], Description]:
    """Describes a bundled configuration by its name, each once."""
    return cache(lambda name: describe(repository / "configs" / f"{name}.yaml"))


@pytest.fixture(scope="module")
def paper(described: Callable[[str], Description]) -> Description:
    return described("paper-256")


@pytest.fixture(scope="module")
def large(described: Callable[[str], Description]) -> Description:
    return described("paper-512")


def network(description: Description, name: str) -> NetworkSizes:
    return next(each for each in description.networks if each.name == name)


def write_config(folder: Path, repository: Path, **changes: Any) -> Path:
    """`configs/tiny.yaml` with values of its model part changed: part__key=value."""
    content = yaml.safe_load((repository / "configs" / "tiny.yaml").read_text("utf-8"))
    for key, value in changes.items():
        *parts, last = key.split("__")
        place = content["model"]
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = value
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    return path


def sites_by_size(description: Description) -> dict[tuple[int, ...], int]:
    sizes = [site.size for site in description.attention_sites]
    return {size: sizes.count(size) for size in sizes}


def test_the_papers_denoiser_is_counted_with_and_without_adain(
    paper: Description, large: Description
) -> None:
    for description in (paper, large):
        counts = description.denoiser
        assert counts.without_adain == PAPER_PARAMETERS
        assert counts.adain_heads == ADAIN_PARAMETERS
        assert counts.replaced_norms == REPLACED_PARAMETERS
        assert counts.total == PAPER_PARAMETERS + ADAIN_PARAMETERS - REPLACED_PARAMETERS
        assert network(description, "denoiser").parameters == counts.total


@pytest.mark.parametrize("side", [32, 64])
def test_parameters_and_flops_of_the_denoiser_are_those_of_diffusers_u_net(
    paper: Description, large: Description, side: int
) -> None:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=side,
            in_channels=8,
            out_channels=4,
            block_out_channels=(320, 640, 1280, 1280),
            layers_per_block=2,
            cross_attention_dim=192,
            attention_head_dim=8,  # the number of heads, as diffusers reads it here
        )
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            unet(torch.empty(1, 8, side, side), torch.empty(1), torch.empty(1, 4, 192))
    ours = {32: paper, 64: large}[side]
    assert sum(weight.numel() for weight in unet.parameters()) == ours.denoiser.without_adain
    heads = 2 * 512 * 2 * 20_160  # multiply-adds of the AdaIN heads, which diffusers' has not
    assert network(ours, "denoiser").flops == counter.get_total_flops() + heads


def test_the_papers_sixteen_attention_sites_have_their_sizes(
    paper: Description, large: Description
) -> None:
    assert sites_by_size(paper) == {(32, 32): 5, (16, 16): 5, (8, 8): 5, (4, 4): 1}
    assert sites_by_size(large) == {(64, 64): 5, (32, 32): 5, (16, 16): 5, (8, 8): 1}
    assert {site.num_tokens for site in paper.attention_sites} == {4}
    widths = {site.channels // site.num_heads for site in paper.attention_sites}
    assert widths == {40, 80, 160}


def test_the_papers_latent_and_condition(paper: Description, large: Description) -> None:
    assert (paper.latent, paper.condition_channels) == ((4, 32, 32), 4)
    assert (large.latent, large.condition_channels) == ((4, 64, 64), 4)
    assert network(paper, "denoiser").inputs == ((4, 32, 32), (), (4, 32, 32), (4, 192), (512,))
    assert network(paper, "denoiser").output == (4, 32, 32)
    assert network(paper, "encoder").output == (4, 32, 32)
    assert network(large, "decoder").output == (3, 512, 512)
    assert network(paper, "region_encoder").output == (4, 192)


def test_the_ablations_settings_are_named_by_their_keys(paper: Description) -> None:
    settings = paper.settings
    assert settings["model.region_encoder.num_slots"] == 4
    assert settings["model.region_encoder.num_iterations"] == 3
    assert settings["model.denoiser.identity_width"] == 512
    assert settings["training.loss.attention"] == 0.1


@pytest.mark.parametrize("name", ["tiny", "lite-256", "paper-256", "paper-512"])
def test_the_layers_are_all_of_every_network(
    described: Callable[[str], Description], name: str
) -> None:
    for each in described(name).networks:
        assert sum(layer.parameters for layer in each.layers) == each.parameters, each.name
        assert sum(layer.flops for layer in each.layers) == each.flops, each.name
        assert len({layer.name for layer in each.layers}) == len(each.layers)


@pytest.mark.parametrize(
    ("first_stage", "parameters"),
    [
        ({"kind": "vq"}, 67_717_295),
        ({"kind": "kl", "multipliers": [1, 2, 4, 4], "attention_sizes": []}, 83_653_863),
    ],
)
def test_the_first_stages_are_counted_as_published(
    repository: Path, tmp_path: Path, first_stage: dict[str, Any], parameters: int
) -> None:
    description = describe(write_config(tmp_path, repository, first_stage=first_stage))
    parts = network(description, "encoder").parameters, network(description, "decoder").parameters
    assert sum(parts) == parameters
    assert description.settings["model.first_stage.kind"] == first_stage["kind"]


def test_without_identity_there_are_no_heads(repository: Path, tmp_path: Path) -> None:
    path = write_config(tmp_path, repository, denoiser__identity_width=0)
    counts = describe(path).denoiser
    assert counts.adain_heads == counts.replaced_norms == 0
    assert counts.total == counts.without_adain


def test_eight_slots_are_eight_tokens_at_every_site(repository: Path, tmp_path: Path) -> None:
    description = describe(write_config(tmp_path, repository, region_encoder__num_slots=8))
    assert {site.num_tokens for site in description.attention_sites} == {8}
    assert description.settings["model.region_encoder.num_slots"] == 8


def test_a_global_token_is_the_one_that_pixels_attend_to(repository: Path) -> None:
    description = describe(
        repository / "configs" / "tiny.yaml", ("--model.region_encoder.tokens=global",)
    )
    assert {site.num_tokens for site in description.attention_sites} == {1}
    assert description.settings["model.region_encoder.tokens"] == "global"
    assert network(description, "denoiser").inputs[3] == (1, 16)


def test_overrides_win_over_the_file(repository: Path) -> None:
    overrides = ("--model.region_encoder.num_slots", "2", "--training.loss.attention=0")
    description = describe(repository / "configs" / "tiny.yaml", overrides)
    assert description.settings["model.region_encoder.num_slots"] == 2
    assert description.settings["training.loss.attention"] == 0
    assert {site.num_tokens for site in description.attention_sites} == {2}
    assert description.config.endswith(" ".join(overrides))


def test_arcface_is_named_and_not_counted(repository: Path, tmp_path: Path) -> None:
    description = describe(write_config(tmp_path, repository, identity__kind="arcface"))
    assert "identity_encoder" not in {each.name for each in description.networks}
    assert "face.licensed.arcface" in description.uncounted["identity_encoder"]


def test_the_tables_print_every_figure(paper: Description) -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    for table in tables(paper):
        console.print(table)
    text = console.export_text()
    for figure in (
        "845,155,524",
        "20,684,160",
        "865,799,364",
        "16 cross-attention sites",
        "4x32x32",
    ):
        assert figure in text
    for site in paper.attention_sites:
        assert site.name in text
    for each in paper.networks:
        assert f"{each.parameters:,}" in text


def test_the_json_holds_the_description(
    described: Callable[[str], Description], repository: Path, tmp_path: Path
) -> None:
    file = tmp_path / "sizes.json"
    config = repository / "configs" / "tiny.yaml"
    assert main([str(config), "--json", str(file)]) == 0
    description = described("tiny")
    assert file.read_text("utf-8") == as_json(description)
    read = json.loads(file.read_text("utf-8"))
    assert read["denoiser"]["total"] == description.denoiser.total
    assert len(read["attention_sites"]) == len(description.attention_sites)


def test_the_command_needs_no_memory_for_the_largest_model(repository: Path) -> None:
    program = (
        "from difffae.describe import main; status = main(['configs/paper-512.yaml']); "
        "print(open('/proc/self/status').read()); raise SystemExit(status)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        encoding="utf-8",
        cwd=repository,
        check=True,
    )
    # Not getrusage's peak: a child's begins at what its parent held when it forked.
    peak_kb = int(run.stdout.rsplit("VmHWM:", 1)[1].split()[0])
    assert peak_kb < MEMORY_LIMIT_KB  # the denoiser's weights alone are 3.4 GB


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"denoiser__groups": 3}, "num_groups (3)"),
        ({"denoiser__num_heads": 3}, "denoiser"),
        ({"region_encoder__patch": 7}, "region_encoder"),
        ({"denoiser__depth": 2}, "depth"),
        ({"denoiser__latent_size": 16}, "latent_size"),
    ],
)
def test_a_configuration_that_makes_no_network_is_one_line(
    repository: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    said: str,
) -> None:
    path = write_config(tmp_path, repository, **changes)
    assert main([str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.strip().splitlines()) == 1
    assert str(path) in shown.err
    assert said in shown.err


def test_a_missing_file_and_an_unwritable_one_are_one_line(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err
    config = repository / "configs" / "tiny.yaml"
    assert main([str(config), "--model.nothing", "1"]) == 2
    assert "nothing" in capsys.readouterr().err
    assert main([str(config), "--json", str(tmp_path / "no" / "sizes.json")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "sizes.json" in shown.err
