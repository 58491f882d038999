"""Joint stage: denoiser and region encoder, on latents encoded beforehand (paper section 4.3)."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.arrays import ImageU8
from difffae.checkpoint import load_module
from difffae.data.region_labels import LABELLED
from difffae.data.shards import ShardReader
from difffae.diffusion.parameterization import Parameterization
from difffae.diffusion.sampler import sample_dpm_solver
from difffae.diffusion.schedule import NoiseSchedule
from difffae.face.identity import align_face
from difffae.model.denoiser import Denoiser
from difffae.model.region_encoder import BroadcastDecoder, RegionEncoder
from difffae.training.config import Config
from difffae.training.hiding import DRAWS, RegionHider
from difffae.training.lineage import load_decoder, load_identity_encoder, load_pair_encoder
from difffae.training.pictures import (
    PictureLoss,
    decoder_condition,
    features_area,
    importance,
    sheet,
    to_images,
)
from difffae.training.region_labels import mask_error, open_labels
from difffae.training.regions import region_input
from difffae.training.slot_loss import Parted, SlotLoss, slot_metrics

_GRID_SAMPLES = 6
_GRID_STEPS = (1, 4)


@dataclass(frozen=True, kw_only=True)
class _Prediction:
    """A batch through the denoiser: clean sample, the output's own error, attention maps.

    And the batch that it was shown, of which a part may be hidden.
    """

    shown: dict[str, Tensor]
    x0: Tensor
    output_error: Tensor
    attention: Tensor


class JointStage:
    """Trains `denoiser` and `region_encoder`; decoder and identity encoder are frozen."""

    name = "joint"

    def __init__(
        self, config: Config, run_directory: Path, pixel_share: float | None = None
    ) -> None:
        model, losses = config.model, config.training.loss
        wanted_share = losses.pixel_share if losses.pixel else 0.0
        self._pixel_share = wanted_share if pixel_share is None else pixel_share
        self._config, self._losses = model, losses
        self._pairs = ShardReader(config.training.pairs, "pairs")
        self._latents = ShardReader(run_directory / "latents", "latents")
        self.denoiser = Denoiser(model.denoiser)
        self.region_encoder = RegionEncoder(model.region_encoder)
        load_module(self.region_encoder, run_directory / "regions" / "region_encoder.safetensors")
        self.modules = nn.ModuleDict(
            {"denoiser": self.denoiser, "region_encoder": self.region_encoder}
        )
        self._slots = model.region_encoder
        if self._slots.learning.joint and self._slots.tokens == "slots":
            decoder = BroadcastDecoder(self._slots.slot_width, self._slots.learning)
            load_module(decoder, run_directory / "regions" / "broadcast_decoder.safetensors")
            self.modules["broadcast_decoder"] = decoder
        self.slot_loss = SlotLoss(self._slots.learning)
        self.identity_encoder = load_identity_encoder(config, run_directory)
        if config.training.denoiser_weights is not None:
            load_module(self.denoiser, config.training.denoiser_weights)
        self.decoder = load_decoder(config, run_directory)
        self.picture_loss = PictureLoss(config.training.loss)
        self._labels = open_labels(model, config.training)
        self.encoder: nn.Module | None = None
        self._hider: RegionHider | None = None
        if losses.hidden_share:
            self.encoder = load_pair_encoder(config, run_directory)
            self._hider = RegionHider(losses.hidden_share, self.encoder)
        self._schedule = NoiseSchedule(model.schedule)
        self._parameterization = Parameterization(model.parameterization, self._schedule)
        self._grid = self._pictured(list(range(_GRID_SAMPLES)), _GRID_SAMPLES // 2)

    def draws(self) -> dict[str, tuple[int, ...]]:
        """See `DrawingStage.draws`: noise, its level, what is dropped or hidden."""
        sizes = self._config.denoiser
        side = sizes.latent_size
        noise = (sizes.latent_channels, side, side)
        hide = {} if self._hider is None else {"hide": (DRAWS,)}
        return {"noise": noise, "level": (), "drop": (), **hide}

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
        return self._pictured(rows, self._num_seen(len(rows)))

    def _pictured(self, rows: list[int], num_seen: int) -> dict[str, Tensor]:
        """A batch, the first samples of it with the pictures that the pixel losses need."""
        names = ("target", "composite", "source")
        latents = {name: self._rows(name, rows).float() for name in names}
        sources = [self._pairs.picture("source", row) for row in rows]
        faces = [self._pairs.row("source_five", row) for row in rows]
        aligned = [align_face(image, five) for image, five in zip(sources, faces, strict=True)]
        batch = {f"{name}_latent": tensor for name, tensor in latents.items()}
        batch["masks"] = self._rows("masks", rows).float() / 255
        batch["region_image"] = region_input(to_images(sources), self._config.region_size)
        batch["aligned"] = to_images(aligned)
        for name in ("target", "composite", "masks") if num_seen else ():
            seen = [self._pairs.picture(name, row) for row in rows[:num_seen]]
            batch[f"{name}_image"] = to_images(seen)
        if num_seen:
            batch["features_image"] = self._features(rows[:num_seen])
        target = to_images([self._pairs.picture("target", row) for row in rows])
        batch["target_region_image"] = region_input(target, self._config.region_size)
        return batch | self._labelled(rows, sources)

    def _features(self, rows: list[int]) -> Tensor:
        """Where the targets' eyes and mouths are."""
        size = self._config.image_size
        fives = [self._pairs.row("target_five", row) for row in rows]
        return torch.from_numpy(np.stack([features_area(five, size) for five in fives]))

    def _labelled(self, rows: list[int], sources: list[ImageU8]) -> dict[str, Tensor]:
        """Regions of the pictures, and the whole ones that regions are hidden in."""
        if self._labels is None:
            return {}
        batch = {f"{name}_regions": self._labels.masks(name, rows) for name in LABELLED}
        if self._hider is not None:
            composites = [self._pairs.picture("composite", row) for row in rows]
            batch["source_whole"] = to_images(sources)
            batch["composite_whole"] = to_images(composites)
        return batch

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Error of the network's output (eq. 1), attention consistency (eq. 7), decoded pictures.

        With one global token there is nothing that attention could be consistent with.
        """
        losses = self._losses
        source = self.region_encoder(batch["region_image"])
        prediction = self._predict(batch, source[0])
        loss = losses.latent * prediction.output_error
        error = (prediction.x0.detach() - batch["target_latent"]).abs().mean()
        prior = (batch["composite_latent"] - batch["target_latent"]).abs().mean()
        shown = {"latent": error / prior, "output": prediction.output_error.detach()}
        if self._slots.tokens == "slots":
            kept, masks, parts = self._kept_slots(batch, source, step)
            attention = attention_consistency(prediction.attention, masks)
            loss = loss + losses.attention * attention + kept
            shown |= {"attention": attention.detach(), **slot_metrics(source[1], masks), **parts}
        if self._pixel_share:
            pixel, parts = self._pixel_loss(prediction.x0, prediction.shown)
            loss, shown = loss + losses.pixel * pixel, {**shown, **parts}
        return loss, shown

    def _kept_slots(
        self, batch: dict[str, Tensor], source: tuple[Tensor, Tensor], step: int
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The weighted loss that slots were learned by, M_Q, and what to log of the loss."""
        weight, driver = self._slots.learning.joint, batch["target_region_image"]
        if not weight:
            with torch.no_grad():
                masks = self.region_encoder(driver)[1]
            loss, parts = self._supervision(batch, source[1])
            return loss, masks, parts
        slots, masks = self.region_encoder(driver)
        parted = Parted(
            images=torch.cat([batch["region_image"], driver]),
            slots=torch.cat([source[0], slots]),
            masks=torch.cat([source[1], masks]),
        )
        decoder = cast(BroadcastDecoder, self.modules["broadcast_decoder"])
        loss, parts = self.slot_loss(decoder, parted, step + self._slots.learning.ramp_steps)
        supervision, more = self._supervision(batch, source[1])
        return weight * loss + supervision, masks, {**parts, **more}

    def _supervision(
        self, batch: dict[str, Tensor], masks: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What keeps the source's slots to their regions, weighted, and its error to log."""
        weight = self._losses.mask_supervision
        if not weight:
            return masks.new_zeros(()), {}
        error = mask_error(masks, batch["source_regions"])
        return weight * error, {"supervision": error.detach()}

    def hidden(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch with a region hidden on the configured share of its samples."""
        if self._hider is None:
            return batch
        size = torch.Size([len(batch["masks"]), DRAWS])
        return self._hider(batch, _normal(batch, "hide", size).to(batch["masks"]))

    def _pixel_loss(self, x0: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        masks = (batch["masks_image"] + 1) / 2
        condition = decoder_condition(batch["composite_image"], masks)
        image, alpha = self.decoder(x0[: len(condition)], condition)
        weight = importance(masks, batch["features_image"])
        loss, parts = self.picture_loss(image, batch["target_image"], weight)
        return loss, {"alpha": alpha.detach().mean(), **parts}

    def sample_grid(self) -> NDArray[np.uint8]:
        """Target, composite, samples of 1 and 4 steps decoded, the last alpha, slot masks."""
        device = next(self.modules.parameters()).device
        grid = {name: tensor.to(device) for name, tensor in self._grid.items()}
        count = len(grid["target_image"])
        decoded = [self.decode(self.sample(grid, steps), grid) for steps in _GRID_STEPS]
        columns = [grid["target_image"], grid["composite_image"], *(image for image, _ in decoded)]
        columns.append(2 * decoded[-1][1] - 1)
        with torch.no_grad():
            slot_masks = self.region_encoder(grid["region_image"])[1]
        size = columns[0].shape[-2:]
        masks = F.interpolate(slot_masks[:count].float(), size=size) * 2 - 1
        return sheet(*columns, *(masks[:, k : k + 1] for k in range(masks.shape[1])))

    @torch.no_grad()
    def sample(self, batch: dict[str, Tensor], num_steps: int, seed: int = 0) -> Tensor:
        """Latents sampled in so many trailing steps from the noise of a seed."""
        slots, _ = self.region_encoder(batch["region_image"])
        identity = self._identity(batch)
        target = batch["target_latent"]
        noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(seed))

        def denoise(x_t: Tensor, t: int) -> Tensor:
            times = torch.full((len(x_t),), t, device=x_t.device)
            return self._denoise(x_t, times, batch, slots, identity)[0]

        return sample_dpm_solver(denoise, noise.to(target), self._schedule, num_steps=num_steps)

    @torch.no_grad()
    def decode(self, latent: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Pictures and alpha of the samples whose pictures the batch holds."""
        condition = decoder_condition(batch["composite_image"], (batch["masks_image"] + 1) / 2)
        image, alpha = self.decoder(latent[: len(condition)], condition)
        return image, alpha

    @torch.no_grad()
    def sample_once(self, batch: dict[str, Tensor]) -> Tensor:
        """The latents that one step from pure noise gives."""
        slots, _ = self.region_encoder(batch["region_image"])
        identity = self._identity(batch)
        noise = torch.randn_like(batch["target_latent"])
        last = torch.full((len(noise),), self._schedule.num_timesteps - 1, device=noise.device)
        return self._denoise(noise, last, batch, slots, identity)[0]

    def _predict(self, batch: dict[str, Tensor], slots: Tensor) -> _Prediction:
        x0 = batch["target_latent"]
        identity = self._identity(batch)
        noise = _normal(batch, "noise", x0.shape).to(x0)
        timesteps = self._timesteps(_normal(batch, "level", x0.shape[:1])).to(x0.device)
        x_t = self._schedule.add_noise(x0, noise, timesteps)
        shown = self._dropped(self.hidden(batch))
        prior = shown["composite_latent"]
        predicted, output, attention = self._denoise(x_t, timesteps, shown, slots, identity)
        wanted = self._parameterization.target(x0, noise, prior, timesteps)
        is_squared = self._losses.latent_norm == "l2"
        measure = F.mse_loss if is_squared else F.l1_loss
        error = measure(output, wanted)
        return _Prediction(shown=shown, x0=predicted, output_error=error, attention=attention)

    def _denoise(
        self,
        x_t: Tensor,
        timesteps: Tensor,
        batch: dict[str, Tensor],
        slots: Tensor,
        identity: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        prior = batch["composite_latent"]
        condition = denoiser_condition(
            prior, batch["source_latent"], batch["masks"], is_full=self._config.sees_source
        )
        shown = self._parameterization.network_input(x_t, prior, timesteps)
        output, attention = self.denoiser(shown, timesteps.to(shown), condition, slots, identity)
        output = output.float()
        return self._parameterization.x0(output, x_t, prior, timesteps), output, attention

    @torch.no_grad()
    def _identity(self, batch: dict[str, Tensor]) -> Tensor | None:
        """f_id; None in the ablation without it."""
        return None if self.identity_encoder is None else self.identity_encoder(batch["aligned"])

    def _dropped(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """On a share of the samples, hide the source's latent outside the face: slots carry it."""
        masks = batch["masks"]
        drawn = torch.special.ndtr(_normal(batch, "drop", masks.shape[:1]).to(masks))
        keep = drawn[:, None, None, None] >= self._losses.drop_share
        shown = torch.maximum(keep.float(), masks[:, :1])
        return {**batch, "source_latent": batch["source_latent"] * shown}

    def _timesteps(self, drawn: Tensor) -> Tensor:
        """The noisiest timestep for the batch's first share, the configured draw for the rest.

        The pixel losses are paid by the batch's first samples too: they teach the first step. The
        paper draws uniformly and gives no share to any timestep.
        """
        losses, count, last = self._losses, len(drawn), self._schedule.num_timesteps - 1
        drawn = drawn.cpu()
        if losses.timestep_sampling == "uniform":
            timesteps = (torch.special.ndtr(drawn) * (last + 1)).long().clamp(0, last)
        else:
            sigma = torch.exp(losses.log_sigma_mean + losses.log_sigma_spread * drawn)
            timesteps = self._schedule.timestep_for_sigma(sigma)
        is_first = torch.arange(count) < count * losses.first_step_share
        return torch.where(is_first, last, timesteps)

    def _rows(self, name: str, rows: list[int]) -> Tensor:
        return torch.from_numpy(np.stack([self._latents.row(name, row) for row in rows]))

    def _num_seen(self, count: int) -> int:
        return max(1, round(count * self._pixel_share)) if self._pixel_share else 0


def _normal(batch: dict[str, Tensor], name: str, shape: torch.Size) -> Tensor:
    """Standard normal numbers that came with the batch, or fresh ones where none did."""
    return batch[name] if name in batch else torch.randn(shape)


def denoiser_condition(prior: Tensor, source: Tensor, masks: Tensor, *, is_full: bool) -> Tensor:
    """What is concatenated: the render's latent (SPC, 4.1), and in the bundled model more."""
    return torch.cat([prior, source, masks], 1) if is_full else prior


def attention_consistency(attention: Tensor, masks: Tensor) -> Tensor:
    """ACR (eq. 7): attend to a slot where the driver's image shows that slot's region.

    The gradient flows through attention alone: masks follow pictures, not the denoiser.
    """
    size = attention.shape[-2:]
    is_alike = masks.shape[-2:] == size
    wanted = masks if is_alike else F.interpolate(masks, size=size, mode="bilinear")
    return F.mse_loss(attention.float(), wanted.detach().float())
