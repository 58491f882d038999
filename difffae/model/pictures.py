"""The first stage between pictures as they lie in memory: what a runtime compiles of it.

Normalisation, patches, the mixture with the composite and rounding are done where the layers are,
on folded patches: in the compiled network they cost a part of what they cost around it.
"""

from typing import cast

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from difffae.arrays import FoldedImages, Latents, Pictures
from difffae.model.autoencoder import Decoder, Encoder
from difffae.model.first_stage import FirstStageDecoder, FirstStageEncoder

_HALF_RANGE = 127.5  # colours are 0..255 in pictures, and -1..1 in the networks


class PictureEncoder(nn.Module):
    """A picture's latent."""

    def __init__(self, encoder: Encoder | FirstStageEncoder) -> None:
        """Wrap an encoder; its weights are shared."""
        super().__init__()
        self.encoder = encoder
        self.patch = encoder.patch if isinstance(encoder, Encoder) else 1

    def forward(self, picture: Pictures) -> Latents:
        """See `Encoder.forward`."""
        folded = fold(picture, self.patch)
        if isinstance(self.encoder, Encoder):
            return self.encoder.encode(folded)
        return cast(Tensor, self.encoder(folded))


class PictureDecoder(nn.Module):
    """A latent's picture, and how much of each pixel was generated."""

    def __init__(self, decoder: Decoder | FirstStageDecoder) -> None:
        """Wrap a decoder; its weights are shared."""
        super().__init__()
        self.decoder = decoder
        self.patch = decoder.patch if isinstance(decoder, Decoder) else 1

    def forward(
        self,
        latent: Latents,
        composite: Pictures | None = None,
        masks: Float[Tensor, "b 3 rows columns"] | None = None,
    ) -> tuple[Pictures, Float[Tensor, "b rows columns"]]:
        """See `Decoder.forward`.

        Args:
            latent: as the encoder gives it.
            composite: the condition's picture; None decodes the latent alone.
            masks: the condition's, 0..1.
        """
        given: list[Tensor] = [latent]
        if composite is not None and masks is not None:
            folded = nn.functional.pixel_unshuffle(2 * masks - 1, self.patch)
            given += [fold(composite, self.patch), folded]
        paint = self.decoder.paint if isinstance(self.decoder, Decoder) else self.decoder
        image, alpha = paint(*given)
        return unfold(image, self.patch), rearrange(
            alpha, "b (p q) h w -> b (h p) (w q)", p=self.patch, q=self.patch
        )


def fold(picture: Pictures, patch: int) -> FoldedImages:
    """A picture as the networks see it: in [-1, 1], each patch folded into channels."""
    image = (picture.float() - _HALF_RANGE) / _HALF_RANGE
    return rearrange(image, "b (h p) (w q) c -> b (c p q) h w", p=patch, q=patch)


def unfold(image: FoldedImages, patch: int) -> Pictures:
    """The inverse of `fold`, rounded to the nearest colours that there are."""
    colours = (image * _HALF_RANGE + _HALF_RANGE).clamp(0, 255).round()
    picture = rearrange(colours, "b (c p q) h w -> b (h p) (w q) c", p=patch, q=patch)
    return picture.to(torch.uint8)
