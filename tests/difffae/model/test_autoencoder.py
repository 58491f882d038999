"""The first stage: images to latents and back, with and without the condition."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from difffae.config import ModelConfig
from difffae.model.autoencoder import AutoencoderConfig, Decoder, Encoder

Fill = Callable[[nn.Module], nn.Module]


@pytest.mark.parametrize(
    ("name", "image", "latent"),
    [
        ("tiny", (2, 3, 256, 256), (2, 4, 32, 32)),
        ("tiny", (1, 3, 64, 128), (1, 4, 8, 16)),
        ("lite-256", (2, 3, 256, 256), (2, 8, 32, 32)),
        ("lite-256", (1, 3, 128, 128), (1, 8, 16, 16)),
        ("paper-256", (1, 3, 256, 256), (1, 4, 32, 32)),
        ("paper-512", (1, 3, 512, 512), (1, 4, 64, 64)),
    ],
)
def test_a_latent_is_an_eighth_the_size_and_decodes_to_the_image_size(
    read_model: Callable[[str], ModelConfig],
    name: str,
    image: tuple[int, ...],
    latent: tuple[int, ...],
) -> None:
    config = read_model(name).autoencoder
    assert config.factor == 8
    with torch.device("meta"):
        encoder, decoder = Encoder(config), Decoder(config)
        encoded = encoder(torch.empty(image))
        decoded, alpha = decoder(encoded)
    assert encoded.shape == latent
    assert decoded.shape == image
    assert alpha.shape == (image[0], 1, *image[2:])


def test_the_conditional_decoder_takes_composite_and_masks(tiny: ModelConfig) -> None:
    with torch.device("meta"):
        decoder = Decoder(tiny.autoencoder)
        image, alpha = decoder(torch.empty(2, 4, 32, 32), torch.empty(2, 6, 256, 256))
    assert image.shape == (2, 3, 256, 256)
    assert alpha.shape == (2, 1, 256, 256)


def test_where_alpha_is_zero_the_composite_comes_back(tiny: ModelConfig, filled: Fill) -> None:
    decoder = filled(Decoder(tiny.autoencoder))
    assert isinstance(decoder, Decoder)
    assert decoder.leave.bias is not None
    patch = tiny.autoencoder.patch**2
    with (
        torch.no_grad()
    ):  # pixel shuffle keeps each channel's sub-pixels together: alpha comes last
        decoder.leave.weight[3 * patch :] = 0
        decoder.leave.bias[3 * patch :] = -1e4
    condition = torch.randn(2, 6, 64, 64, generator=torch.manual_seed(0))
    image, alpha = decoder(torch.randn(2, 4, 8, 8), condition)
    assert alpha.abs().max() == 0
    assert torch.equal(image, condition[:, :3])


def test_the_image_is_mixed_from_generated_and_composite_by_alpha(
    tiny: ModelConfig, filled: Fill
) -> None:
    decoder = filled(Decoder(tiny.autoencoder))
    latent, condition = torch.randn(1, 4, 8, 8), torch.randn(1, 6, 64, 64)
    brighter = condition.clone()
    image, alpha = decoder(latent, condition)
    assert 0 < alpha.min() < 0.4
    assert 0.6 < alpha.max() < 1
    # The generated part is the same for both calls once the condition's own branch is silent.
    assert isinstance(decoder, Decoder)
    assert decoder.condition is not None
    nn.init.zeros_(decoder.condition.weight)
    brighter[:, :3] += 0.5
    image, alpha = decoder(latent, condition)
    other, other_alpha = decoder(latent, brighter)
    torch.testing.assert_close(other_alpha, alpha)
    torch.testing.assert_close(other - image, 0.5 * (1 - alpha).expand_as(image))


def test_without_a_condition_the_latent_alone_is_decoded(tiny: ModelConfig, filled: Fill) -> None:
    decoder = filled(Decoder(tiny.autoencoder))
    latent = torch.randn(1, 4, 8, 8)
    image, alpha = decoder(latent, None)
    assert torch.equal(alpha, torch.ones(1, 1, 64, 64))
    assert image.shape == (1, 3, 64, 64)
    assert image.std() > 0.1
    # A fresh decoder's condition branch is zero, so the generated part ignores the condition.
    fresh = Decoder(tiny.autoencoder)
    composite = torch.randn(1, 6, 64, 64)
    with torch.no_grad():
        mixed, share = fresh(latent, composite)
        torch.testing.assert_close(mixed, share * fresh(latent)[0] + (1 - share) * composite[:, :3])


def test_calibrated_latents_have_zero_mean_and_unit_spread(tiny: ModelConfig, filled: Fill) -> None:
    encoder = filled(Encoder(tiny.autoencoder))
    assert isinstance(encoder, Encoder)
    images = torch.rand(6, 3, 64, 64, generator=torch.manual_seed(1)) * 2 - 1
    with torch.no_grad():
        raw = encoder(images)
        encoder.calibrate(images)
        scaled = encoder(images)
    assert raw.mean((0, 2, 3)).abs().max() > 0.05
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std((0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled * encoder.latent_std + encoder.latent_mean, raw)


def test_calibration_is_saved_with_the_weights_and_measured_anew(tiny: ModelConfig) -> None:
    encoder = Encoder(tiny.autoencoder)
    assert {"latent_mean", "latent_std"} <= set(encoder.state_dict())
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    encoder.calibrate(images)
    first = encoder.latent_std.clone()
    encoder.calibrate(images)
    torch.testing.assert_close(encoder.latent_std, first)


def test_a_wrong_number_of_decoder_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="one entry for each"):
        AutoencoderConfig(multipliers=(1, 2), decoder_blocks=(1,))
