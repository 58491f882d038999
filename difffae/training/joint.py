"""Joint stage: denoiser and region encoder, on latents encoded beforehand (paper section 4.4)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.checkpoint import load_module
from difffae.data.shards import ShardReader
from difffae.diffusion.parameterization import Parameterization
from difffae.diffusion.sampler import sample_dpm_solver
from difffae.diffusion.schedule import NoiseSchedule
from difffae.face.identity import align_face
from difffae.model.denoiser import Denoiser
from difffae.model.region_encoder import RegionEncoder
from difffae.training.config import Config
from difffae.training.lineage import load_decoder, load_identity_encoder
from difffae.training.pictures import PictureLoss, decoder_condition, sheet, to_images
from difffae.training.regions import region_input

_GRID_SAMPLES = 6
_GRID_STEPS = (1, 4)


@dataclass(frozen=True, kw_only=True)
class _Prediction:
    """A batch through the denoiser: clean sample, the output's own error, attention maps."""

    x0: Tensor
    output_error: Tensor
    attention: Tensor


class JointStage:
    """Trains `denoiser` and `region_encoder`; decoder and identity encoder are frozen."""

    name = "joint"

    def __init__(
        self, config: Config, run_directory: Path, pixel_share: float | None = None
    ) -> None:
        model = config.model
        self._pixel_share = config.training.loss.pixel_share if pixel_share is None else pixel_share
        self._config, self._losses = model, config.training.loss
        self._pairs = ShardReader(config.training.pairs, "pairs")
        self._latents = ShardReader(run_directory / "latents", "latents")
        self.denoiser = Denoiser(model.denoiser)
        self.region_encoder = RegionEncoder(model.region_encoder)
        load_module(self.region_encoder, run_directory / "regions" / "region_encoder.safetensors")
        self.modules = nn.ModuleDict(
            {"denoiser": self.denoiser, "region_encoder": self.region_encoder}
        )
        self.identity_encoder = load_identity_encoder(config, run_directory)
        self.decoder = load_decoder(config, run_directory)
        self.picture_loss = PictureLoss(config.training.loss)
        self._schedule = NoiseSchedule(model.schedule)
        self._parameterization = Parameterization(model.parameterization, self._schedule)
        self._grid = self.batch(np.arange(_GRID_SAMPLES), np.random.default_rng(0))

    def num_samples(self) -> int:
        """Pairs whose latents are there."""
        return len(self._latents)

    def sample_weights(self) -> None:
        """All alike."""

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        """Latents, masks, the source as the encoders see it, and pictures for the pixel losses."""
        del generator
        rows = [int(index) for index in indices]
        names = ("target", "composite", "source")
        latents = {name: self._rows(name, rows).float() for name in names}
        sources = [self._pairs.picture("source", row) for row in rows]
        faces = [self._pairs.row("source_five", row) for row in rows]
        aligned = [align_face(image, five) for image, five in zip(sources, faces, strict=True)]
        batch = {f"{name}_latent": tensor for name, tensor in latents.items()}
        batch["masks"] = self._rows("masks", rows).float() / 255
        batch["region_image"] = region_input(to_images(sources), self._config.region_size)
        batch["aligned"] = to_images(aligned)
        seen = rows[: self._num_seen(len(rows))]
        for name in ("target", "composite", "masks"):
            batch[f"{name}_image"] = to_images([self._pairs.picture(name, row) for row in seen])
        target = to_images([self._pairs.picture("target", row) for row in rows])
        batch["target_region_image"] = region_input(target, self._config.region_size)
        return batch

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Error of the network's output, attention consistency, decoded pictures."""
        del step
        losses = self._losses
        prediction = self._predict(batch)
        with torch.no_grad():
            masks = self.region_encoder(batch["target_region_image"])[1]
        attention = _consistency(prediction.attention, masks)
        count = len(batch["target_image"])
        condition = decoder_condition(batch["composite_image"], (batch["masks_image"] + 1) / 2)
        image, alpha = self.decoder(prediction.x0[:count], condition)
        face = (batch["masks_image"][:, :1] + 1) / 2
        pixel, parts = self.picture_loss(image, batch["target_image"], face)
        loss = losses.latent * prediction.output_error + losses.attention * attention
        loss = loss + losses.pixel * pixel
        error = (prediction.x0.detach() - batch["target_latent"]).abs().mean()
        prior = (batch["composite_latent"] - batch["target_latent"]).abs().mean()
        shown = {"latent": error / prior, "attention": attention.detach()}
        return loss, {**shown, "alpha": alpha.detach().mean(), **parts}

    def sample_grid(self) -> NDArray[np.uint8]:
        """Target, composite, samples of 1 and 4 steps decoded, the last alpha, slot masks."""
        device = next(self.modules.parameters()).device
        grid = {name: tensor.to(device) for name, tensor in self._grid.items()}
        count = len(grid["target_image"])
        condition = decoder_condition(grid["composite_image"], (grid["masks_image"] + 1) / 2)
        noise = torch.randn(grid["target_latent"].shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            slots, slot_masks = self.region_encoder(grid["region_image"])
            identity = self.identity_encoder(grid["aligned"])

            def denoise(x_t: Tensor, t: int) -> Tensor:
                return self._denoise(x_t, torch.full((len(x_t),), t), grid, slots, identity)[0]

            latents = [
                sample_dpm_solver(denoise, noise.to(device), self._schedule, num_steps=num_steps)
                for num_steps in _GRID_STEPS
            ]
            decoded = [self.decoder(latent[:count], condition) for latent in latents]
        columns = [grid["target_image"], grid["composite_image"], *(image for image, _ in decoded)]
        columns.append(2 * decoded[-1][1] - 1)
        size = columns[0].shape[-2:]
        masks = F.interpolate(slot_masks[:count].float(), size=size) * 2 - 1
        return sheet(*columns, *(masks[:, k : k + 1] for k in range(masks.shape[1])))

    @torch.no_grad()
    def sample_once(self, batch: dict[str, Tensor]) -> Tensor:
        """The latents that one step from pure noise gives."""
        slots, _ = self.region_encoder(batch["region_image"])
        identity = self.identity_encoder(batch["aligned"])
        noise = torch.randn_like(batch["target_latent"])
        last = torch.full((len(noise),), self._schedule.num_timesteps - 1, device=noise.device)
        return self._denoise(noise, last, batch, slots, identity)[0]

    def _predict(self, batch: dict[str, Tensor]) -> _Prediction:
        x0, prior = batch["target_latent"], batch["composite_latent"]
        slots, _ = self.region_encoder(batch["region_image"])
        with torch.no_grad():
            identity = self.identity_encoder(batch["aligned"])
        noise, timesteps = torch.randn_like(x0), self._timesteps(len(x0)).to(x0.device)
        x_t = self._schedule.add_noise(x0, noise, timesteps)
        shown = self._dropped(batch)
        predicted, output, attention = self._denoise(x_t, timesteps, shown, slots, identity)
        wanted = self._parameterization.target(x0, noise, prior, timesteps)
        error = (output - wanted).abs().mean()
        return _Prediction(x0=predicted, output_error=error, attention=attention)

    def _denoise(
        self,
        x_t: Tensor,
        timesteps: Tensor,
        batch: dict[str, Tensor],
        slots: Tensor,
        identity: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        prior = batch["composite_latent"]
        condition = denoiser_condition(
            prior, batch["source_latent"], batch["masks"], is_full=self._config.sees_source
        )
        shown = self._parameterization.network_input(x_t, prior, timesteps)
        token = identity if self._config.denoiser.identity_width else None
        output, attention = self.denoiser(shown, timesteps.to(shown), condition, slots, token)
        output = output.float()
        return self._parameterization.x0(output, x_t, prior, timesteps), output, attention

    def _dropped(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """On a share of the samples, hide the source's latent outside the face: slots carry it."""
        drawn = torch.rand(len(batch["masks"]), 1, 1, 1, device=batch["masks"].device)
        keep = drawn >= self._losses.drop_share
        shown = torch.maximum(keep.float(), batch["masks"][:, :1])
        return {**batch, "source_latent": batch["source_latent"] * shown}

    def _timesteps(self, count: int) -> Tensor:
        """The noisiest timestep for the batch's first share, log-normal noise for the rest.

        The pixel losses are paid by the batch's first samples too: they teach the first step.
        """
        losses = self._losses
        sigma = torch.exp(losses.log_sigma_mean + losses.log_sigma_spread * torch.randn(count))
        timesteps = self._schedule.timestep_for_sigma(sigma)
        is_first = torch.arange(count) < count * losses.first_step_share
        return torch.where(is_first, self._schedule.num_timesteps - 1, timesteps)

    def _rows(self, name: str, rows: list[int]) -> Tensor:
        return torch.from_numpy(np.stack([self._latents.row(name, row) for row in rows]))

    def _num_seen(self, count: int) -> int:
        return max(1, round(count * self._pixel_share))


def denoiser_condition(prior: Tensor, source: Tensor, masks: Tensor, *, is_full: bool) -> Tensor:
    """What is concatenated: the render's latent (SPC, eq. 3), and in the bundled model more."""
    return torch.cat([prior, source, masks], 1) if is_full else prior


def _consistency(attention: Tensor, masks: Tensor) -> Tensor:
    """ACR (eq. 8): attend to a slot where the driver's image shows that slot's region."""
    size = attention.shape[-2:]
    is_alike = masks.shape[-2:] == size
    wanted = masks if is_alike else F.interpolate(masks, size=size, mode="bilinear")
    return F.mse_loss(attention.float(), wanted.detach())
