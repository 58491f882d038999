"""The first stage's losses against their formulas, and that one backward pass trains both sides."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from difffae.model.discriminator import Discriminator, DiscriminatorConfig
from difffae.model.first_stage import Codebook, Posterior
from difffae.training.first_stage_loss import (
    FirstStageLossConfig,
    adaptive_weight,
    codebook_use,
    discriminator_loss,
    divergence_loss,
    generator_loss,
    perceptual_loss,
    quantization_loss,
)

SMALL = DiscriminatorConfig(channels=4, num_layers=2)


@pytest.fixture
def discriminator() -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(SMALL)


def pictures(*, seed: int = 0) -> Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("is_legacy", "of_codes", "of_latents"), [(True, 0.25, 1), (False, 1, 0.25)]
)
def test_beta_weighs_the_codes_in_latent_diffusion_and_the_commitment_in_the_paper(
    is_legacy: bool, of_codes: float, of_latents: float
) -> None:
    codebook, raw = Codebook(5, 2), torch.randn(2, 2, 3, 3, requires_grad=True)
    config = FirstStageLossConfig(codebook=2.0, has_legacy_beta=is_legacy)
    quantized = codebook(raw)
    loss = quantization_loss(quantized, raw, config)
    loss.backward()
    difference = (raw - quantized.vectors).detach()
    assert loss.item() == pytest.approx(2 * 1.25 * difference.square().mean().item(), rel=1e-5)
    assert raw.grad is not None
    assert codebook.weight.grad is not None
    torch.testing.assert_close(raw.grad, 2 * of_latents * 2 * difference / raw.numel())
    codes = torch.zeros_like(codebook.weight)
    vectors = -difference.permute(0, 2, 3, 1).reshape(-1, 2)
    codes.index_add_(0, quantized.indices.flatten(), vectors)
    torch.testing.assert_close(codebook.weight.grad, 2 * of_codes * 2 * codes / raw.numel())


def test_divergence_keeps_latent_diffusions_ratio_to_the_pixels() -> None:
    mean, log_variance = torch.randn(4, 2, 4, 4), torch.randn(4, 2, 4, 4)
    posterior, image = Posterior(mean=mean, log_variance=log_variance), pictures()
    logs = log_variance.numpy()
    summed = 0.5 * (mean.numpy() ** 2 + np.exp(logs) - 1 - logs)
    wanted = 0.3 * float(summed.sum()) / 4 / (3 * 32 * 32)
    given = divergence_loss(posterior, image, FirstStageLossConfig(kl=0.3))
    assert given.item() == pytest.approx(wanted, rel=1e-5)


def test_the_hinge_loss_is_its_formula(discriminator: Discriminator) -> None:
    nn.init.normal_(discriminator.layers[-1].weight, 0, 1)
    image, fake = pictures(), pictures(seed=1)
    with torch.no_grad():
        real_scores, fake_scores = (discriminator(x).numpy() for x in (image, fake))
    wanted = 0.5 * (np.maximum(0, 1 - real_scores).mean() + np.maximum(0, 1 + fake_scores).mean())
    loss, parts = discriminator_loss(discriminator, image, fake)
    assert real_scores.std() > 0.5
    assert loss.item() == pytest.approx(float(wanted), rel=1e-5)
    assert parts["score_real"].item() == pytest.approx(float(real_scores.mean()), rel=1e-4)
    assert parts["score_fake"].item() == pytest.approx(float(fake_scores.mean()), rel=1e-4)
    wanted_generator = -float(fake_scores.mean())
    assert generator_loss(discriminator, fake).item() == pytest.approx(wanted_generator, rel=1e-4)


def test_the_generators_loss_reaches_the_picture_and_never_the_discriminator(
    discriminator: Discriminator,
) -> None:
    before = {name: tensor.clone() for name, tensor in discriminator.state_dict().items()}
    fake = pictures().requires_grad_()
    generator_loss(discriminator, fake).backward()
    assert fake.grad is not None
    assert fake.grad.abs().max() > 0
    assert all(weight.grad is None for weight in discriminator.parameters())
    for name, tensor in discriminator.state_dict().items():  # running statistics among them
        assert torch.equal(tensor, before[name]), name
    assert all(weight.requires_grad for weight in discriminator.parameters())


def test_the_discriminators_loss_reaches_it_and_never_the_picture(
    discriminator: Discriminator,
) -> None:
    nn.init.normal_(discriminator.layers[-1].weight, 0, 1)  # scores beyond the hinge's corner
    source = pictures().requires_grad_()
    fake = source * 0.5
    loss, _ = discriminator_loss(discriminator, source, fake)
    loss.backward()
    assert source.grad is None
    for name, weight in discriminator.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name
    norm = next(m for m in discriminator.modules() if isinstance(m, nn.BatchNorm2d))
    assert norm.num_batches_tracked == 2


def test_the_adaptive_weight_is_the_ratio_of_gradients_at_the_last_layer() -> None:
    last = torch.tensor([1.0, 2.0], requires_grad=True)
    likelihood = (3 * last).sum()  # gradient (3, 3)
    adversarial = (last * torch.tensor([0.3, 0.4])).sum()
    weight = adaptive_weight(likelihood, adversarial, last)
    assert weight.item() == pytest.approx(3 * math.sqrt(2) / (0.5 + 1e-4), rel=1e-5)
    assert not weight.requires_grad
    assert last.grad is None
    assert adaptive_weight(likelihood, adversarial * 0, last).item() == 1e4


@pytest.mark.parametrize(
    ("indices", "use", "perplexity"),
    [([[3, 3], [3, 3]], 1 / 8, 1), ([[0, 1], [6, 7]], 4 / 8, 4), ([[0, 0], [0, 5]], 2 / 8, 1.7548)],
)
def test_use_and_perplexity_of_a_codebook(
    indices: list[list[int]], use: float, perplexity: float
) -> None:
    given = codebook_use(torch.tensor(indices)[None], 8)
    assert given["codebook_use"].item() == pytest.approx(use)
    assert given["perplexity"].item() == pytest.approx(perplexity, rel=1e-4)


def test_without_a_network_there_is_no_perceptual_loss() -> None:
    class Distance(nn.Module):
        def forward(self, image: Tensor, target: Tensor) -> Tensor:
            return (image - target).square().sum((1, 2, 3))

    image, target = pictures(), pictures(seed=1)
    wanted = (image - target).square().sum() / 4
    assert perceptual_loss(None, image, target) == 0
    torch.testing.assert_close(perceptual_loss(Distance(), image, target), wanted)
