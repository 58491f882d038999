"""The networks at work: noise, what networks are watched by, and pictures from plain networks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from difffae.arrays import ImageU8
from difffae.config import ModelConfig
from difffae.face.renderer import Condition
from difffae.generator import Generator, Placement, SourceTokens
from difffae.networks import load_networks
from difffae.runtime import Network
from plain_warp import plain_warp


@pytest.fixture(scope="module")
def condition(config: ModelConfig) -> Condition:
    random = np.random.default_rng(0)
    size = config.image_size
    masks = random.random((3, size, size), np.float32)
    return Condition(
        composite=random.integers(0, 256, (size, size, 3), dtype=np.uint8),
        face_mask=masks[0],
        inside_mask=masks[1],
        person_mask=masks[2],
        warp=None,
    )


@pytest.fixture(scope="module")
def tokens(config: ModelConfig, generator: Generator, condition: Condition) -> SourceTokens:
    regions = config.region_encoder
    torch.manual_seed(0)
    return SourceTokens(
        slots=torch.randn(1, regions.num_tokens, regions.slot_width),
        slot_masks=torch.zeros(1, regions.num_tokens, 8, 8),
        identity=torch.randn(1, config.identity.width),
        latent=generator.encode_latent(condition.composite[::-1]),
    )


def image_of(picture: ImageU8) -> Tensor:
    return torch.from_numpy(picture.transpose(2, 0, 1).copy())[None].float() / 127.5 - 1


def test_a_seeds_noise_is_the_same_after_anothers(
    generator: Generator, condition: Condition, tokens: SourceTokens
) -> None:
    first, other, again = (
        generator.sample(condition, tokens, num_steps=2, seed=seed) for seed in (1, 2, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_call_of_a_watched_network_is_seen_and_answered(
    generator: Generator, condition: Condition, tokens: SourceTokens
) -> None:
    calls: list[str] = []

    def watch(name: str, network: Network) -> Network:
        def run(*given: Tensor) -> Tensor | tuple[Tensor, ...]:
            calls.append(name)
            return network(*given)

        return run

    watched = generator.watched(watch)
    latent = watched.sample(condition, tokens, num_steps=2, seed=1)
    got = watched.decode(latent, condition)
    assert calls == ["encoder", "denoiser", "denoiser", "decoder"]
    wanted = generator.decode(latent, condition)
    np.testing.assert_array_equal(got.image, wanted.image)
    assert len(calls) == 4


def test_latents_pictures_and_alpha_are_those_of_the_plain_networks(
    model_folder: Path, config: ModelConfig, condition: Condition
) -> None:
    networks = load_networks(model_folder, config, {})
    generator = Generator(config, networks, placement=Placement(runtime="eager", precision="fp32"))
    composite = image_of(condition.composite)
    masks = torch.from_numpy(condition.masks)[None]
    with torch.no_grad():
        latent = networks["encoder"](composite)
        image, alpha = networks["decoder"](latent, torch.cat([composite, 2 * masks - 1], 1))
    torch.testing.assert_close(
        generator.encode_latent(condition.composite), latent, rtol=1e-4, atol=1e-4
    )
    made = generator.decode(latent, condition)
    wanted = ((image[0].permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).round().numpy()
    np.testing.assert_allclose(made.image, wanted, rtol=0, atol=1)
    np.testing.assert_allclose(made.alpha, alpha[0, 0], rtol=1e-4, atol=1e-5)


def test_part_of_what_is_painted_is_shown_and_all_of_it_where_the_condition_is_hidden(
    model_folder: Path, config: ModelConfig, condition: Condition
) -> None:
    placement = Placement(runtime="eager", precision="fp32")
    whole, part = (
        Generator(
            replace(config, trust=trust),
            load_networks(model_folder, config, {}),
            placement=placement,
        )
        for trust in (1.0, 0.25)
    )
    latent = whole.encode_latent(condition.composite[::-1])
    hidden = np.zeros_like(condition.face_mask)
    hidden[:, ::2] = 1
    given = replace(condition, hidden=hidden)
    all_of_it, made = whole.decode(latent, given), part.decode(latent, given)
    np.testing.assert_array_equal(made.image[:, ::2], all_of_it.image[:, ::2])
    np.testing.assert_array_equal(made.alpha[:, ::2], all_of_it.alpha[:, ::2])
    shown = all_of_it.image[:, 1::2].astype(float), condition.composite[:, 1::2].astype(float)
    wanted = 0.25 * shown[0] + 0.75 * shown[1]
    np.testing.assert_allclose(made.image[:, 1::2], wanted, rtol=0, atol=1)
    np.testing.assert_allclose(made.alpha[:, 1::2], all_of_it.alpha[:, 1::2] / 4, rtol=1e-5)


def test_less_is_shown_of_what_is_painted_inside_a_mouth_that_the_portrait_hides(
    model_folder: Path, config: ModelConfig, condition: Condition
) -> None:
    side = config.image_size
    paint = np.zeros((side, side, 4), np.float32)
    paint[100:140, 100:140, 0], paint[100:140, 140:160, 0] = 1, 0.5
    warp = plain_warp(np.zeros((side, side, 2), np.float32))
    given = replace(condition, warp=replace(warp, paint=paint))
    shares = {}
    for in_mouth in (0.6, 0.2):
        generator = Generator(
            replace(config, trust=0.6, mouth_trust=in_mouth),
            load_networks(model_folder, config, {}),
            placement=Placement(runtime="eager", precision="fp32"),
        )
        made = generator.decode(generator.encode_latent(given.composite[::-1]), given)
        shares[in_mouth] = made.alpha
        apart = np.abs(made.image.astype(int) - given.composite)
        assert apart.max() > 0
    ratio = shares[0.2] / np.maximum(shares[0.6], 1e-9)
    np.testing.assert_allclose(ratio[110:130, 110:130], 1 / 3, rtol=1e-4)
    np.testing.assert_allclose(ratio[110:130, 145:155], 2 / 3, rtol=1e-4)
    np.testing.assert_allclose(ratio[:90], 1, rtol=1e-4)


def test_the_denoiser_sees_each_masks_mean_over_a_latents_pixel(
    generator: Generator, config: ModelConfig, condition: Condition, tokens: SourceTokens
) -> None:
    seen: list[Tensor] = []

    def watch(name: str, network: Network) -> Network:
        def run(*given: Tensor) -> Tensor | tuple[Tensor, ...]:
            seen.append(given[2])
            return network(*given)

        return run if name == "denoiser" else network

    generator.watched(watch).sample(condition, tokens, num_steps=1, seed=0)
    side = config.denoiser.latent_size
    wanted = F.avg_pool2d(torch.from_numpy(condition.masks)[None], config.image_size // side)
    torch.testing.assert_close(seen[0][:, -3:], wanted, rtol=1e-5, atol=1e-6)
