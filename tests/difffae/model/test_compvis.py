"""CompVis' names: every published tensor has its place, and the networks then compute the same.

The oracle is diffusers, which reads the same checkpoints by its own conversion.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from compvis_layout import (
    FirstStageSizes,
    UNetSizes,
    averaged,
    drawn,
    first_stage_shapes,
    unet_shapes,
)
from difffae.config import ModelConfig
from difffae.model.compvis import (
    CompVisError,
    decoder_names,
    denoiser_names,
    encoder_names,
    fill_denoiser,
    fill_first_stage,
    find_first_stage,
    find_unet,
)
from difffae.model.denoiser import Denoiser, DenoiserConfig
from difffae.model.first_stage import FirstStageConfig, FirstStageDecoder, FirstStageEncoder

VQ = FirstStageSizes(channels=16, multipliers=(1, 2), num_blocks=2, attention_sizes=(128,), codes=9)
KL = FirstStageSizes(channels=16, multipliers=(1, 2), num_blocks=2, attention_sizes=(), codes=0)
UNET = UNetSizes(
    channels=16, multipliers=(1, 2, 2), num_blocks=2, attention_factors=(1, 2), context=8
)
DENOISER = DenoiserConfig(
    condition_channels=0,
    channels=16,
    multipliers=(1, 2, 2),
    num_heads=4,
    attention_sizes=(16, 8),
    latent_size=16,
    slot_width=8,
    identity_width=0,
    groups=8,
)


def first_stage_config(sizes: FirstStageSizes) -> FirstStageConfig:
    return FirstStageConfig(
        kind="vq" if sizes.codes else "kl",
        channels=sizes.channels,
        multipliers=tuple(sizes.multipliers),
        attention_sizes=tuple(sizes.attention_sizes),
        num_codes=sizes.codes or 1,
        groups=8 if sizes.channels < 32 else 32,
    )


def filled_first_stage(
    sizes: FirstStageSizes, tensors: dict[str, Tensor]
) -> tuple[FirstStageEncoder, FirstStageDecoder]:
    config = first_stage_config(sizes)
    encoder, decoder = FirstStageEncoder(config).eval(), FirstStageDecoder(config).eval()
    found = find_first_stage(tensors)
    assert found is not None
    fill_first_stage(encoder, decoder, found)
    return encoder, decoder


def filled_denoiser(config: DenoiserConfig, tensors: dict[str, Tensor]) -> Denoiser:
    denoiser = Denoiser(config).eval()
    found = find_unet(tensors)
    assert found is not None
    fill_denoiser(denoiser, found)
    return denoiser


@pytest.mark.parametrize("name", ["paper-256", "paper-512"])
def test_the_papers_u_net_has_a_place_for_every_published_tensor(
    read_model: Callable[[str], ModelConfig], name: str
) -> None:
    config = replace(read_model(name).denoiser, identity_width=0)
    with torch.device("meta"):
        denoiser = Denoiser(config)
    names = denoiser_names(denoiser)
    published = unet_shapes(UNetSizes(in_channels=8, context=192))
    assert names.keys() == denoiser.state_dict().keys()
    given = {names[ours]: tuple(t.shape) for ours, t in denoiser.state_dict().items()}
    assert given == published


@pytest.mark.parametrize(
    "sizes",
    [FirstStageSizes(), FirstStageSizes(codes=0, multipliers=(1, 2, 4, 4), attention_sizes=())],
)
def test_the_full_first_stages_have_a_place_for_every_published_tensor(
    sizes: FirstStageSizes,
) -> None:
    config = first_stage_config(sizes)
    with torch.device("meta"):
        encoder, decoder = FirstStageEncoder(config), FirstStageDecoder(config)
    given = {
        theirs: tuple(network.state_dict()[ours].shape)
        for network, names in (
            (encoder, encoder_names(encoder)),
            (decoder, decoder_names(decoder)),
        )
        for ours, theirs in names.items()
    }
    assert given == first_stage_shapes(sizes)


def diffusers_unet(tensors: dict[str, Tensor]) -> Any:
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    width = UNET.channels
    theirs = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(width, 2 * width, 2 * width),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=4,  # diffusers' old name for the number of heads
        norm_num_groups=8,
    )
    converted = convert_ldm_unet_checkpoint(tensors, theirs.config)
    theirs.load_state_dict(converted)
    return theirs.eval()


def test_the_u_net_computes_what_diffusers_does_with_the_same_checkpoint() -> None:
    tensors = drawn(unet_shapes(UNET), prefix="model.diffusion_model.")
    ours, theirs = filled_denoiser(DENOISER, tensors), diffusers_unet(tensors)
    draw = torch.Generator().manual_seed(3)
    latent, context = (torch.randn(2, *shape, generator=draw) for shape in ((4, 16, 16), (4, 8)))
    timesteps = torch.tensor([3.0, 871.0])
    with torch.no_grad():
        given, _ = ours(latent, timesteps, latent[:, :0], context, None)
        wanted = theirs(latent, timesteps, encoder_hidden_states=context).sample
    assert wanted.std() > 0.1
    torch.testing.assert_close(given, wanted, atol=1e-5, rtol=1e-5)


def test_averaged_weights_are_preferred() -> None:
    tensors = drawn(unet_shapes(UNET), prefix="model.diffusion_model.")
    found = find_unet({**tensors, **averaged(tensors)})
    assert found is not None
    assert found.num_averaged == len(tensors)
    assert len(found.keys) == 2 * len(tensors)
    for name, tensor in found.tensors.items():
        assert torch.equal(tensor, tensors[f"model.diffusion_model.{name}"] + 1)


def test_averaged_weights_of_a_first_stage_are_found_by_its_own_names() -> None:
    tensors = drawn(first_stage_shapes(VQ))
    found = find_first_stage({**tensors, **averaged(tensors, ""), "loss.logvar": torch.zeros(())})
    assert found is not None
    assert found.num_averaged == len(tensors)
    assert "loss.logvar" not in found.tensors
    codes = tensors["quantize.embedding.weight"]
    assert torch.equal(found.tensors["quantize.embedding.weight"], codes + 1)


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "diffusion_model.", ""])
def test_the_u_net_is_found_under_each_prefix(prefix: str) -> None:
    found = find_unet(drawn(unet_shapes(UNET), prefix=prefix))
    assert found is not None
    assert found.tensors.keys() == unet_shapes(UNET).keys()


def test_new_condition_channels_start_at_zero_and_change_nothing() -> None:
    tensors = drawn(unet_shapes(UNET), prefix="model.diffusion_model.")
    plain = filled_denoiser(DENOISER, tensors)
    wider = Denoiser(replace(DENOISER, condition_channels=4)).eval()
    found = find_unet(tensors)
    assert found is not None
    filled = fill_denoiser(wider, found)
    assert filled.padded == ("enter.weight",)
    assert torch.equal(
        wider.enter.weight[:, :4], tensors["model.diffusion_model.input_blocks.0.0.weight"]
    )
    assert wider.enter.weight[:, 4:].abs().max() == 0
    latent, slots = torch.randn(1, 4, 16, 16), torch.randn(1, 4, 8)
    timesteps = torch.tensor([500.0])
    with torch.no_grad():
        before, _ = plain(latent, timesteps, latent[:, :0], slots, None)
        after, _ = wider(latent, timesteps, torch.randn(1, 4, 16, 16), slots, None)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)


def test_keys_and_values_of_another_context_stay_fresh_and_are_reported() -> None:
    tensors = drawn(unet_shapes(replace(UNET, context=40)), prefix="model.diffusion_model.")
    torch.manual_seed(0)
    denoiser = Denoiser(DENOISER)
    before = {name: tensor.clone() for name, tensor in denoiser.state_dict().items()}
    found = find_unet(tensors)
    assert found is not None
    filled = fill_denoiser(denoiser, found)
    sites = [name for name in before if re.search(r"cross_attention\.(key|value)\.weight", name)]
    assert len(sites) == 2 * 11
    assert set(filled.fresh) == set(sites)
    for name, tensor in denoiser.state_dict().items():
        assert torch.equal(tensor, before[name]) == (name in sites), name


def test_adain_starts_as_the_affine_of_the_norm_it_replaces() -> None:
    tensors = drawn(unet_shapes(UNET), prefix="model.diffusion_model.")
    denoiser = filled_denoiser(replace(DENOISER, identity_width=6), tensors)
    found = find_unet(tensors)
    assert found is not None
    filled = fill_denoiser(denoiser, found)
    norm = "model.diffusion_model.output_blocks.4.0.out_layers.0"
    adain = denoiser.up[5].residual.adain  # blocks 0 to 2, an upsampling, blocks 3 and 4
    assert torch.equal(adain.modulation.bias[:32], tensors[f"{norm}.weight"])
    assert torch.equal(adain.modulation.bias[32:], tensors[f"{norm}.bias"])
    assert adain.modulation.weight.abs().max() == 0
    assert len(filled.from_norm) == 6 + 2 + 9
    assert filled.ignored == ()


def test_a_u_net_of_other_sizes_is_refused_by_the_first_tensor_that_differs() -> None:
    found = find_unet(drawn(unet_shapes(replace(UNET, multipliers=(1, 2, 4)))))
    assert found is not None
    with pytest.raises(CompVisError, match=r"input_blocks\.7\.0\.\S+ of shape .* expected"):
        fill_denoiser(Denoiser(DENOISER), found)
    found = find_unet(drawn(unet_shapes(replace(UNET, multipliers=(1, 2)))))
    assert found is not None
    with pytest.raises(CompVisError, match="without input_blocks"):
        fill_denoiser(Denoiser(DENOISER), found)


def diffusers_first_stage(sizes: FirstStageSizes, tensors: dict[str, Tensor]) -> Any:
    from diffusers import AutoencoderKL, VQModel
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    attends = bool(sizes.attention_sizes)
    common = {
        "block_out_channels": (sizes.channels, 2 * sizes.channels),
        "down_block_types": ("DownEncoderBlock2D", f"{'Attn' * attends}DownEncoderBlock2D"),
        "up_block_types": (f"{'Attn' * attends}UpDecoderBlock2D", "UpDecoderBlock2D"),
        "layers_per_block": 2,
        "latent_channels": 4,
        "norm_num_groups": 8,
    }
    theirs: Any
    if sizes.codes:
        theirs = VQModel(**common, num_vq_embeddings=sizes.codes)
    else:
        theirs = AutoencoderKL(**common)
    given = convert_ldm_vae_checkpoint(tensors, theirs.config)
    kept = {}
    for name, tensor in given.items():  # diffusers leaves a level's attention as it was
        moved = re.sub(r"(down|up)\.(\d)\.attn\.", _attention_place, name)
        if moved != name:
            names = zip(("norm", "q", "k", "v", "proj_out"), _THEIR_ATTENTION, strict=True)
            for old, new in names:
                moved = moved.replace(f".{old}.", f".{new}.")
            tensor = tensor[..., 0, 0] if tensor.ndim == 4 else tensor
        kept[moved] = tensor
    if sizes.codes:
        kept["quantize.embedding.weight"] = tensors["quantize.embedding.weight"]
    theirs.load_state_dict(kept)
    return theirs.eval()


_THEIR_ATTENTION = ("group_norm", "to_q", "to_k", "to_v", "to_out.0")


def _attention_place(match: re.Match[str]) -> str:
    level = int(match[2])
    return f"{match[1]}_blocks.{level if match[1] == 'down' else 1 - level}.attentions."


@pytest.mark.parametrize("sizes", [VQ, KL])
def test_the_first_stage_computes_what_diffusers_does_with_the_same_checkpoint(
    sizes: FirstStageSizes,
) -> None:
    tensors = drawn(first_stage_shapes(sizes))
    encoder, decoder = filled_first_stage(sizes, tensors)
    theirs = diffusers_first_stage(sizes, tensors)
    image = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        encoded = theirs.encode(image)
        wanted = encoded.latents if sizes.codes else encoded.latent_dist.mean
        latent = encoder(image)
        assert wanted.std() > 0.1
        torch.testing.assert_close(latent, wanted, atol=1e-5, rtol=1e-5)
        decoded = theirs.decode(wanted).sample
        torch.testing.assert_close(decoder(latent)[0], decoded, atol=1e-5, rtol=1e-5)


def test_a_first_stage_with_more_than_the_configuration_has_is_refused() -> None:
    tensors = drawn(first_stage_shapes(replace(VQ, num_blocks=3)))
    with pytest.raises(CompVisError, match="more tensors that the configuration's has not"):
        filled_first_stage(VQ, tensors)
    with pytest.raises(CompVisError, match=r"got encoder\.conv_out\.weight of shape"):
        filled_first_stage(VQ, drawn(first_stage_shapes(replace(KL, attention_sizes=(128,)))))
