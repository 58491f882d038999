"""The networks at work: a condition and a source's tokens in, the generated picture out."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from difffae.arrays import (
    AlignedU8,
    Identities,
    Images,
    ImageU8,
    Latents,
    MaskF32,
    Pictures,
    SlotMasks,
    Slots,
)
from difffae.config import NUM_MASKS, ModelConfig
from difffae.diffusion.parameterization import Parameterization
from difffae.diffusion.sampler import Denoise, sample_dpm_solver
from difffae.diffusion.schedule import NoiseSchedule
from difffae.diffusion.warm_start import Trail, WarmStart, can_follow
from difffae.face.blending import lay_over
from difffae.face.identity import ALIGNED_SIZE_PX
from difffae.face.renderer import Condition
from difffae.face.warp import face_box
from difffae.model.autoencoder import Decoder, Encoder
from difffae.model.denoiser import Denoiser
from difffae.model.first_stage import FirstStageDecoder, FirstStageEncoder
from difffae.model.pictures import PictureDecoder, PictureEncoder
from difffae.runtime import Network, Request, TakingTurns, compile_together
from difffae.runtime.network import Precision, RuntimeName
from difffae.runtime.quantization import Calibration


@dataclass(frozen=True, kw_only=True)
class SourceTokens:
    """What the networks keep of a source portrait: computed once (paper figure 2).

    Attributes:
        slots, slot_masks: of the region encoder (F^N, M).
        identity: f_id.
        latent: the portrait's own latent.
    """

    slots: Slots
    slot_masks: SlotMasks
    identity: Identities
    latent: Latents


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A generated picture, and how much of each pixel is the networks' own."""

    image: ImageU8
    alpha: MaskF32


def _trusted(made: Generated, condition: Condition, trust: float, in_mouth: float) -> Generated:
    """So much of what the networks painted over the condition; all of it where that is hidden.

    Args:
        made: by the networks.
        condition: what they were shown.
        trust: share of what they painted.
        in_mouth: at most so much inside a mouth that the portrait does not show.
    """
    part = _otherwise_trusted(condition, trust, in_mouth)
    if trust == 1 and part is None:
        return made
    mixed = cv2.addWeighted(made.image, trust, condition.composite, 1 - trust, 0)
    image = np.asarray(mixed, np.uint8)
    alpha = made.alpha * np.float32(trust)
    if part is not None:
        weight = np.full(alpha[part].shape, trust, np.float32)
        if condition.warp is not None and in_mouth < trust:
            weight -= np.float32(trust - in_mouth) * condition.warp.paint[part][..., 0]
        if condition.hidden is not None:
            weight = np.maximum(weight, condition.hidden[part])
        patch = condition.composite[part].copy()
        lay_over(patch, made.image[part], weight)
        image[part] = patch
        alpha[part] = made.alpha[part] * weight
    return Generated(image=image, alpha=alpha)


def _otherwise_trusted(
    condition: Condition, trust: float, in_mouth: float
) -> tuple[slice, slice] | None:
    """The part of the picture where painted mouths, or what is hidden, are trusted otherwise."""
    if condition.hidden is not None:
        return slice(None), slice(None)
    if condition.warp is None or in_mouth >= trust:
        return None
    painted = condition.warp.paint[..., 0]
    box = face_box(painted, painted.shape[0])
    return box.slices if box.height else None


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How latents are sampled.

    Attributes:
        num_steps: sampler steps.
        seed: of the noise.
        warm_start: how to start from the last frame; None: never.
    """

    num_steps: int = 1
    seed: int = 0
    warm_start: WarmStart | None = None


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and how networks run.

    Attributes:
        device: "cpu" or "cuda".
        runtime: see `difffae.runtime`.
        precision: see `difffae.runtime.network`.
        num_threads: of one inference on the CPU.
        calibrations: what may run in int8, by network.
    """

    device: str = "cpu"
    runtime: RuntimeName = "auto"
    precision: Precision = "auto"
    num_threads: int = 2
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)


NETWORK_PLACES: Mapping[str, str] = {
    "encoder": "_encode",
    "denoiser": "_predict",
    "decoder": "_decode",
    "region_encoder": "_region_encoder",
    "identity_encoder": "_identity_encoder",
}
"""Where a generator holds each network, by the name of its weights."""


class Predictor(nn.Module):
    """The denoiser without its attention maps, which only training needs."""

    def __init__(self, denoiser: Denoiser) -> None:
        """Wrap a denoiser; its weights are shared."""
        super().__init__()
        self.denoiser = denoiser

    def forward(
        self, latent: Tensor, timesteps: Tensor, condition: Tensor, slots: Tensor, identity: Tensor
    ) -> Tensor:
        """What the denoiser predicts; see `difffae.model.denoiser.Denoiser.forward`."""
        return cast(Tensor, self.denoiser(latent, timesteps, condition, slots, identity)[0])


def working_modules(networks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """What is compiled of the networks that work on frames, by the name of their weights.

    Args:
        networks: as `difffae.networks` builds them; the weights are shared.
    """
    return {
        "encoder": PictureEncoder(cast(Encoder | FirstStageEncoder, networks["encoder"])),
        "denoiser": Predictor(cast(Denoiser, networks["denoiser"])),
        "decoder": PictureDecoder(cast(Decoder | FirstStageDecoder, networks["decoder"])),
    }


class Generator:
    """All networks of one model on one device.

    Args:
        config: the model.
        networks: as `difffae.networks` builds them, with weights.
        placement: where they run.
    """

    def __init__(
        self,
        config: ModelConfig,
        networks: Mapping[str, nn.Module],
        *,
        placement: Placement | None = None,
    ) -> None:
        self._config = config
        self._placement = placement or Placement()
        self._device = torch.device(self._placement.device)
        self._schedule = NoiseSchedule(config.schedule)
        self._parameterization = Parameterization(config.parameterization, self._schedule)
        placed = {
            name: network.to(self._device).eval().requires_grad_(False)
            for name, network in networks.items()
        }
        self._noise: tuple[int, Latents] | None = None
        compiled = compile_together(self._requests(working_modules(placed)))
        self._encode, self._predict, self._decode = (
            TakingTurns(compiled[name]) for name in ("encoder", "denoiser", "decoder")
        )
        self._region_encoder = placed["region_encoder"]
        self._identity_encoder = placed.get("identity_encoder")

    def _requests(self, modules: Mapping[str, nn.Module]) -> dict[str, Request]:
        """What is to be compiled of the networks that work on frames, for which inputs."""
        config = self._config
        size, side = config.image_size, config.denoiser.latent_size
        latent = torch.zeros(1, config.denoiser.latent_channels, side, side)
        picture = torch.zeros(1, size, size, 3, dtype=torch.uint8)
        shown = (picture, torch.zeros(1, NUM_MASKS, size, size))
        given = {
            "denoiser": (
                latent,
                torch.zeros(1),
                torch.zeros(1, config.denoiser.condition_channels, side, side),
                torch.zeros(1, config.region_encoder.num_tokens, config.region_encoder.slot_width),
                torch.zeros(1, config.identity.width),
            ),
            "encoder": (picture,),
            "decoder": (latent, *(shown if config.is_decoder_conditional else ())),
        }
        return {name: self._request(name, modules[name], inputs) for name, inputs in given.items()}

    def _request(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> Request:
        chosen = self._placement
        calibration = chosen.calibrations.get(name)
        precision = chosen.precision
        if precision == "int8" and calibration is None and chosen.calibrations:
            precision = "auto"  # calibration left this one out on purpose
        return Request(
            module=module,
            example_inputs=tuple(tensor.to(self._device) for tensor in inputs),
            runtime=chosen.runtime,
            precision=precision,
            num_threads=chosen.num_threads,
            calibration=calibration,
        )

    def watched(self, watch: Callable[[str, Network], Network]) -> "Generator":
        """The same generator, each of whose networks has gone through a function.

        Args:
            watch: a network's name and the network -> what is to be called in its place.
        """
        other = copy.copy(self)
        for name, place in NETWORK_PLACES.items():
            if (network := getattr(self, place)) is not None:
                setattr(other, place, watch(name, network))
        return other

    def encode_source(self, image: ImageU8, aligned: AlignedU8) -> SourceTokens:
        """Slots, identity and latent of a source.

        Args:
            image: its square crop, of the model's size.
            aligned: its face, aligned by `align_face`.
        """
        picture = self._tensor(image)
        size = self._config.region_size
        region = (
            picture
            if picture.shape[-1] == size
            else F.interpolate(picture, size=(size, size), mode="area")
        )
        face = self._tensor(aligned)
        assert face.shape[-1] == ALIGNED_SIZE_PX
        with torch.inference_mode():
            slots, slot_masks = self._region_encoder(region)
            identity = self._identity(face)
        return SourceTokens(
            slots=slots, slot_masks=slot_masks, identity=identity, latent=self.encode_latent(image)
        )

    def _identity(self, face: Images) -> Identities:
        """f_id; zeros, which no layer sees, where the model has no identity token."""
        if self._identity_encoder is None:
            return torch.zeros(len(face), self._config.identity.width, device=self._device)
        return cast(Tensor, self._identity_encoder(face))

    def encode_latent(self, image: ImageU8) -> Latents:
        """A picture's latent, (1, c, h, w)."""
        return cast(Tensor, self._encode(self._picture(image)))

    def sample(
        self, condition: Condition, source: SourceTokens, *, num_steps: int, seed: int
    ) -> Latents:
        """Sample the driven face's latent by DPM-Solver++; a seed's noise is always the same."""
        sampling = Sampling(num_steps=num_steps, seed=seed)
        prior = self.encode_latent(condition.composite)
        return self.follow(condition, prior, source, None, sampling).latent

    def follow(
        self,
        condition: Condition,
        prior: Latents,
        source: SourceTokens,
        trail: Trail | None,
        sampling: Sampling,
    ) -> Trail:
        """Sample the driven face's latent, from where the last frame ended if it may.

        Args:
            condition: of this frame.
            prior: the latent of its composite.
            source: the portrait's.
            trail: what the last frame left; None before the first.
            sampling: steps, seed, and whether to start warm.

        Returns:
            What this frame leaves for the next, its latent above all.
        """
        noise = self._drawn(sampling.seed)
        denoise, start = self._denoise(condition, source, prior), sampling.warm_start
        first, num_warm = None, 0
        if trail is not None and start is not None and can_follow(trail, prior, source, start):
            first, num_warm = start.timestep, trail.num_warm + 1
            noise = self._schedule.add_noise(trail.latent, noise, first)
        with torch.inference_mode():
            latent = sample_dpm_solver(
                denoise, noise, self._schedule, num_steps=sampling.num_steps, first=first
            )
        return Trail(latent=latent, prior=prior, source=source, num_warm=num_warm)

    def _drawn(self, seed: int) -> Latents:
        """The noise of a seed; that of the last one is kept."""
        kept = self._noise
        if kept is None or kept[0] != seed:
            side = self._config.denoiser.latent_size
            shape = (1, self._config.denoiser.latent_channels, side, side)
            drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
            kept = self._noise = (seed, _upload(drawn, self._device))
        return kept[1]

    def _denoise(self, condition: Condition, source: SourceTokens, prior: Latents) -> Denoise:
        """The denoiser, told all but the noisy latent and its level."""
        given = prior
        if self._config.sees_source:
            side = prior.shape[-1]
            masks = [
                cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
                for mask in condition.masks
            ]
            small = _upload(torch.from_numpy(np.stack(masks)[None]), self._device)
            given = torch.cat([prior, source.latent, small], 1)

        def denoise(x_t: Tensor, t: int) -> Tensor:
            shown = self._parameterization.network_input(x_t, prior, t)
            time = torch.full((1,), float(t), device=self._device)
            output = cast(Tensor, self._predict(shown, time, given, source.slots, source.identity))
            return self._parameterization.x0(output, x_t, prior, t)

        return denoise

    def decode(self, latent: Latents, condition: Condition) -> Generated:
        """The picture of a latent, the decoder being shown the condition."""
        inputs = [latent]
        if self._config.is_decoder_conditional:
            masks = _upload(torch.from_numpy(condition.masks[None]), self._device)
            inputs += [self._picture(condition.composite), masks]
        image, alpha = self._decode(*inputs)
        picture, share = (np.ascontiguousarray(each[0].cpu().numpy()) for each in (image, alpha))
        made = Generated(image=picture, alpha=share)
        if not self._config.is_decoder_conditional:
            return made
        return _trusted(made, condition, self._config.trust, self._config.mouth_trust)

    def _tensor(self, image: ImageU8) -> Images:
        planes = cv2.dnn.blobFromImage(image, 1 / 127.5, mean=(127.5, 127.5, 127.5))
        return _upload(torch.from_numpy(planes), self._device)

    def _picture(self, image: ImageU8) -> Pictures:
        return _upload(
            torch.from_numpy(np.require(image, requirements=("C", "W"))[None]), self._device
        )


def _upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Bring a tensor to a device; a GPU takes it from pinned memory without finishing its work."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
