"""The first stage's losses: pictures, latents and a discriminator in, terms to minimise out.

VQGAN's (Esser et al. 2021, eq. 4 to 7) with the choices of latent diffusion (model.md 1.10).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.func import functional_call

from difffae.arrays import Images, Latents
from difffae.model.discriminator import Discriminator, DiscriminatorConfig
from difffae.model.first_stage import Posterior, Quantized

_GRADIENT_FLOOR = 1e-4
_MOST_WEIGHT = 1e4


@dataclass(frozen=True, kw_only=True)
class FirstStageLossConfig:
    """Weights of the first stage's losses.

    Attributes:
        perceptual: of LPIPS beside L1; what stands in for it has `training.loss.feature`.
        adversarial: of the generator's hinge loss, on top of the adaptive weight. VQ-f8: 0.6,
            VQ-f8-n256: 0.75, KL-f8: 0.5.
        adversarial_start: optimizer steps before the discriminator begins to learn and to judge.
            LDM: 250,001 (VQ-f8-n256), 50,001 (KL-f8), 1 (VQ-f8).
        codebook: of both quantisation terms.
        codebook_beta: of one of them beside the other, see `has_legacy_beta`.
        has_legacy_beta: beta weighs the term that moves the codes, as in LDM's checkpoints, whose
            VectorQuantizer2 defaults to it; False weighs the encoder's commitment, as VQ-VAE's
            paper has it (van den Oord et al. 2017, eq. 3).
        restart_after: steps without use after which a code restarts at a latent of the batch; 0:
            never, as in LDM. Wanted where training starts anew (model.md 1.10: dead codes).
        kl: of the divergence from N(0, 1) per pixel value, where the kind is "kl".
        crop: side of the random squares trained on [px].
        discriminator: sizes of the discriminator.
    """

    perceptual: float = 1.0
    adversarial: float = 0.75
    adversarial_start: int = 50_001
    codebook: float = 1.0
    codebook_beta: float = 0.25
    has_legacy_beta: bool = True
    restart_after: int = 0
    kl: float = 1e-6
    crop: int = 256
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)


def quantization_loss(quantized: Quantized, raw: Latents, config: FirstStageLossConfig) -> Tensor:
    """Codes move to the latents and latents to their codes (VQ-VAE eq. 3)."""
    raw = raw.float()
    codes = (quantized.vectors - raw.detach()).square().mean()
    commitment = (raw - quantized.vectors.detach()).square().mean()
    if config.has_legacy_beta:
        return config.codebook * (config.codebook_beta * codes + commitment)
    return config.codebook * (codes + config.codebook_beta * commitment)


def divergence_loss(posterior: Posterior, image: Images, config: FirstStageLossConfig) -> Tensor:
    """Divergence from N(0, 1), per value of the picture.

    LDM sums pixels and divergence and divides by the batch alone; here both are divided by the
    values of a picture too, which leaves their ratio.
    """
    return config.kl * posterior.divergence().mean() / image[0].numel()


def generator_loss(discriminator: Discriminator, image: Images) -> Tensor:
    """How little the discriminator believes the picture; it is neither trained nor moved by this.

    It runs on detached parameters and copies of its running statistics.
    """
    lent = {name: weight.detach() for name, weight in discriminator.named_parameters()}
    lent |= {name: buffer.clone() for name, buffer in discriminator.named_buffers()}
    scores: Tensor = functional_call(discriminator, lent, (image,))
    return -scores.float().mean()


def discriminator_loss(
    discriminator: Discriminator, image: Images, reconstruction: Images
) -> tuple[Tensor, dict[str, Tensor]]:
    """Hinge loss (Lim and Ye 2017) of telling pictures from reconstructions, and mean scores.

    No gradient reaches the reconstruction.
    """
    real = discriminator(image.detach()).float()
    fake = discriminator(reconstruction.detach()).float()
    loss = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    return loss, {"score_real": real.detach().mean(), "score_fake": fake.detach().mean()}


def adaptive_weight(likelihood: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """Weight that makes both losses pull alike at the decoder's last layer (VQGAN eq. 7).

    Args:
        likelihood: the reconstruction loss, a number.
        adversarial: the generator's loss, a number.
        last: weight of the decoder's last convolution.

    Returns:
        |grad likelihood| / |grad adversarial|, within 0 and 10^4, without gradient.
    """
    (of_likelihood,) = torch.autograd.grad(likelihood, last, retain_graph=True)
    (of_adversarial,) = torch.autograd.grad(adversarial, last, retain_graph=True)
    ratio: Tensor = of_likelihood.norm() / (of_adversarial.norm() + _GRADIENT_FLOOR)
    return ratio.clamp(0, _MOST_WEIGHT).detach()


def codebook_use(indices: Int64[Tensor, "..."], num_codes: int) -> Mapping[str, Tensor]:
    """Share of the codes that a batch uses, and the perplexity: codes it would take used evenly."""
    shares: Float[Tensor, " codes"] = torch.bincount(indices.flatten(), minlength=num_codes).float()
    shares = shares / shares.sum()
    entropy = -torch.xlogy(shares, shares).sum()
    return {"codebook_use": (shares > 0).float().mean(), "perplexity": entropy.exp()}


def perceptual_loss(distance: nn.Module | None, image: Images, target: Images) -> Tensor:
    """Mean perceptual distance, 0 without a network to see with."""
    if distance is None:
        return image.new_zeros(())
    value: Tensor = distance(image, target).mean()
    return value
