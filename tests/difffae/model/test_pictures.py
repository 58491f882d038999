"""The first stage between pictures: what the plain networks give, rounded to colours."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from difffae.config import ModelConfig
from difffae.model.autoencoder import Decoder, Encoder
from difffae.model.first_stage import FirstStageConfig, FirstStageDecoder, FirstStageEncoder
from difffae.model.pictures import PictureDecoder, PictureEncoder, fold, unfold

Fill = Callable[[nn.Module], nn.Module]


def picture(height: int = 64, width: int = 64) -> Tensor:
    generator = torch.manual_seed(0)
    return torch.randint(0, 256, (1, height, width, 3), generator=generator, dtype=torch.uint8)


def image_of(shown: Tensor) -> Tensor:
    """A picture as the plain networks see it."""
    return shown.permute(0, 3, 1, 2).float() / 127.5 - 1


def picture_of(image: Tensor) -> Tensor:
    """An image in the nearest colours there are."""
    colours = ((image + 1) * 127.5).round().clamp(0, 255)
    return colours.permute(0, 2, 3, 1).to(torch.uint8)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_a_folded_picture_is_the_image_unshuffled_and_comes_back(patch: int) -> None:
    shown = picture(16, 24)
    folded = fold(shown, patch)
    wanted = nn.functional.pixel_unshuffle(image_of(shown), patch)
    torch.testing.assert_close(folded, wanted, rtol=0, atol=1e-6)
    assert torch.equal(unfold(folded, patch), shown)


def test_colours_that_there_are_not_become_the_nearest() -> None:
    colours = torch.tensor([[-1.5, -1.0, 0.0], [0.4 / 127.5, 1.0, 2.0]])
    shown = unfold(colours.T[None, :, None], 1)
    assert shown.tolist() == [[[[0, 0, 128], [128, 255, 255]]]]


def test_a_pictures_latent_is_that_of_its_image(tiny: ModelConfig, filled: Fill) -> None:
    encoder = filled(Encoder(tiny.autoencoder))
    assert isinstance(encoder, Encoder)
    shown = picture()
    with torch.no_grad():
        got = PictureEncoder(encoder)(shown)
        torch.testing.assert_close(got, encoder(image_of(shown)), rtol=1e-5, atol=1e-5)


def test_a_latents_picture_is_the_decoders_image_rounded(tiny: ModelConfig, filled: Fill) -> None:
    decoder = filled(Decoder(tiny.autoencoder))
    assert isinstance(decoder, Decoder)
    generator = torch.manual_seed(1)
    latent, masks = torch.randn(1, 4, 8, 8), torch.rand(1, 3, 64, 64, generator=generator)
    composite = picture()
    condition = torch.cat([image_of(composite), 2 * masks - 1], 1)
    with torch.no_grad():
        got, share = PictureDecoder(decoder)(latent, composite, masks)
        image, alpha = decoder(latent, condition)
    wanted = picture_of(image)
    assert got.dtype == torch.uint8
    assert (got.int() - wanted.int()).abs().max() <= 1
    assert (got == wanted).float().mean() > 0.999
    torch.testing.assert_close(share, alpha[:, 0], rtol=1e-4, atol=1e-5)
    assert got.float().std() > 10


def test_a_decoder_alone_gives_the_whole_picture(tiny: ModelConfig, filled: Fill) -> None:
    decoder = filled(Decoder(tiny.autoencoder))
    assert isinstance(decoder, Decoder)
    latent = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(1))
    with torch.no_grad():
        got, share = PictureDecoder(decoder)(latent)
        wanted = picture_of(decoder(latent)[0])
    assert (got.int() - wanted.int()).abs().max() <= 1
    assert torch.equal(share, torch.ones(1, 64, 64))


def test_the_papers_first_stage_works_on_pictures_too(filled: Fill) -> None:
    config = FirstStageConfig(channels=32, multipliers=(1, 1), num_blocks=1)
    encoder, decoder = filled(FirstStageEncoder(config)), filled(FirstStageDecoder(config))
    assert isinstance(encoder, FirstStageEncoder)
    assert isinstance(decoder, FirstStageDecoder)
    shown = picture(32, 32)
    with torch.no_grad():
        latent = PictureEncoder(encoder.eval())(shown)
        torch.testing.assert_close(latent, encoder(image_of(shown)), rtol=1e-5, atol=1e-5)
        got, share = PictureDecoder(decoder)(latent)
        assert (got.int() - picture_of(decoder(latent)[0]).int()).abs().max() <= 1
    assert torch.equal(share, torch.ones(1, 32, 32))
