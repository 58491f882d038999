"""Dense motion: what a moving head does to hair, neck, body and light outlines, learned from clips.

The renderer's ball and fading neck are a guess of how a picture moves around the face mesh. A small
network sees that guess and corrects it, as the dense motion network of the first order motion model
corrects its affine guesses (Siarohin et al. 2019, section 3.2): it moves where the portrait is read
from, never what is read, so nothing gets blurred. A head at rest is left exactly as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.arrays import MapF32, ShadingF32
from difffae.face.layers import SMALL, Layers, compose
from difffae.face.parameters import FaceParameters, matrix
from difffae.face.warp import MirrorImage, Warp

NUM_SEEN = 5  # composite, face's weight, person
NUM_POSE = 12
_NUM_OUT = 6
_VECTOR = 9 + 9 + 2 + 1
_REST = 0.02  # motion at which half of the correction is made [head units]
_BORDER = 5  # width of where the face layer may give way [px of 64]
_BESIDE = 9  # width of what is looked at to tell whether a person ends near by [px of 64]
_WHOLE = 4.0  # bias of the face's weight: untouched at first


@dataclass(frozen=True, kw_only=True)
class DenseMotionConfig:
    """The network's size and how far it may go, in head units (RMS radius of the face mesh).

    Attributes:
        channels: of its first level; the second has as many, the third twice as many.
        groups: of its normalizations.
        reach: furthest that the head layer is read elsewhere.
        face_reach: the same of the face layer.
    """

    channels: int = 48
    groups: int = 8
    reach: float = 1.0
    face_reach: float = 0.15

    def __post_init__(self) -> None:
        """Check that groups divide channels.

        Raises:
            ValueError: they do not.
        """
        if min(self.channels, self.groups) < 1 or self.channels % self.groups:
            raise ValueError(
                f"Got {self.channels} channels and {self.groups} groups of dense motion, but "
                "channels must be a multiple of groups"
            )


class DenseMotionNetwork(nn.Module):
    """A U-Net of three levels, 32 x 32 to 8 x 8."""

    def __init__(self, config: DenseMotionConfig, size: int = 256) -> None:
        """Build it, untrained: it corrects nothing.

        Args:
            config: its sizes.
            size: side of the crops [px].
        """
        super().__init__()
        few, many, groups = config.channels, 2 * config.channels, config.groups
        self._config = config
        self._size = size
        self.enter = _block(4 * NUM_SEEN + 2 + 2 + _VECTOR, few, groups)
        self.down = _block(few, few, groups, stride=2)
        self.lowest = nn.Sequential(
            _block(few, many, groups, stride=2),
            _block(many, many, groups),
            _block(many, many, groups),
        )
        self.up = _block(many + few, few, groups)
        self.leave = _block(few + few, few, groups)
        self.out = nn.Conv2d(few, _NUM_OUT, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(cast(Tensor, self.out.bias))

    def forward(
        self,
        seen: Float[Tensor, "b 5 64 64"],
        offsets: Float[Tensor, "b 2 64 64"],
        poses: Float[Tensor, "b 2 12"],
    ) -> Float[Tensor, "b 6 64 64"]:
        """Correct a warp.

        Returns planes: by how much the head layer is read elsewhere, x and y, then the face layer
        [px of the crop]; what is added to the moved person's mask; what the face layer's weight is
        multiplied by.

        Args:
            seen: the composite, the face's weight and the moved person, in [0, 1].
            offsets: where the head layer reads, from where it shows it [px of the crop].
            poses: of the portrait and of the face to show; see `pose_of`.
        """
        scale = poses[:, 1, 9][:, None, None, None]
        offsets = offsets / scale
        motion = offsets.square().mean((1, 2, 3), keepdim=True).sqrt()
        share = motion / (motion + _REST)
        at = (places(self._size, poses.device) - poses[:, 1, 10:, None, None]) / scale
        small = F.avg_pool2d(torch.cat([3 * offsets, at], 1), 2)
        vector = _motion_vector(poses)[:, :, None, None].expand(-1, -1, *small.shape[2:])
        first = self.enter(torch.cat([F.pixel_unshuffle(seen, 2), small, vector], 1))
        second = self.down(first)
        middle = self.up(torch.cat([_twice(self.lowest(second)), second], 1))
        out = F.interpolate(
            self.out(self.leave(torch.cat([_twice(middle), first], 1))),
            scale_factor=2,
            mode="bilinear",
        )
        config, gain = self._config, scale * share
        border, near, outline = _borders(seen[:, 3:4], seen[:, 4:5])
        change = torch.tanh(out[:, 4:5])
        return torch.cat(
            [
                config.reach * gain * torch.tanh(out[:, :2]),
                config.face_reach * gain * torch.tanh(out[:, 2:4]),
                share * near * (F.relu(change) - outline * F.relu(-change)),
                1 - share * border * torch.sigmoid(-out[:, 5:] - _WHOLE),
            ],
            1,
        )

    @staticmethod
    def example_inputs() -> tuple[Tensor, Tensor, Tensor]:
        """One frame's inputs, for compilation: a head at rest."""
        poses = torch.zeros(1, 2, NUM_POSE)
        poses[..., 9] = 1
        return torch.zeros(1, NUM_SEEN, SMALL, SMALL), torch.zeros(1, 2, SMALL, SMALL), poses


class DenseMotion:
    """The network at work, one frame at a time.

    Args:
        network: a `DenseMotionNetwork` with its weights, or the same compiled.
    """

    def __init__(self, network: Callable[..., Any]) -> None:
        self._network: Callable[..., Tensor] = network

    def correct(
        self, layers: Layers, warp: Warp, source: FaceParameters, target: FaceParameters
    ) -> Warp:
        """The warp with what the network has learned; light plays no part in it.

        Args:
            layers: the source's.
            warp: what the renderer guesses.
            source: the portrait's face.
            target: the face that is shown.
        """
        size = warp.head_map.shape[0]
        seen, offsets = (_batch(values) for values in what_is_seen(layers, warp))
        poses = torch.from_numpy(np.stack([pose_of(source), pose_of(target)]))[None]
        with torch.inference_mode():
            said = self._network(seen, offsets, poses)[0].numpy()
        head, face = (_enlarged(np.stack([said[k], said[k + 1]], -1), size) for k in (0, 2))
        return replace(
            warp,
            head_map=warp.head_map + head,
            face_map=warp.face_map + face,
            face_weight=warp.face_weight * _enlarged(said[5], size),
            person_change=_enlarged(said[4], size),
        )


def what_is_seen(
    layers: Layers, warp: Warp
) -> tuple[Float32[NDArray[np.float32], "64 64 5"], Float32[NDArray[np.float32], "64 64 2"]]:
    """What the network is shown of a warp: its composite in the portrait's light, and its offsets.

    Args:
        layers: the source's.
        warp: as the renderer guesses it.
    """
    composite, person = compose(layers.small, _small(warp))
    small = (SMALL, SMALL)
    weight = cv2.resize(warp.face_weight, small, interpolation=cv2.INTER_AREA)
    seen = np.dstack([composite * np.float32(1 / 255), weight, person])
    positions = cv2.resize(warp.head_map, small, interpolation=cv2.INTER_AREA)
    return seen, positions - grid(warp.head_map.shape[0])


def _small(warp: Warp) -> Warp:
    """The same warp at 64 x 64, in the portrait's light.

    The face map says nothing outside the face: it is read at one pixel, not between four.
    """
    size, shrink = (SMALL, SMALL), SMALL / warp.head_map.shape[0]
    mirrored = warp.mirror_image

    def shrunk(
        values: NDArray[np.float32], interpolation: int = cv2.INTER_LINEAR
    ) -> NDArray[np.float32]:
        return np.asarray(cv2.resize(values, size, interpolation=interpolation), np.float32)

    def moved(positions: MapF32, interpolation: int = cv2.INTER_LINEAR) -> NDArray[np.float32]:
        small = shrunk(positions, interpolation) * shrink + (shrink - 1) / 2
        return np.asarray(small, np.float32)

    return Warp(
        head_map=moved(warp.head_map),
        face_map=moved(warp.face_map, cv2.INTER_NEAREST),
        face_weight=shrunk(warp.face_weight),
        inside_mask=shrunk(warp.inside_mask),
        paint=shrunk(warp.paint),
        relight=_no_relight(),
        mirror_image=None
        if mirrored is None
        else MirrorImage(
            face_map=moved(mirrored.face_map, cv2.INTER_NEAREST),
            head_map=moved(mirrored.head_map),
            face_share=shrunk(mirrored.face_share),
            head_share=shrunk(mirrored.head_share),
            head_inside=shrunk(mirrored.head_inside),
            light=shrunk(mirrored.light),
        ),
    )


@cache
def _no_relight() -> ShadingF32:
    return np.ones((SMALL, SMALL, 3), np.float32)


def places(size: int, device: torch.device | None = None) -> Float[Tensor, "2 64 64"]:
    """Where the network's 64 x 64 places are in a crop of that side, x and y as maps count [px]."""
    axis = (torch.arange(SMALL, device=device) + 0.5) * (size / SMALL) - 0.5
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"))


@cache
def grid(size: int) -> MapF32:
    """The same as a map."""
    return np.ascontiguousarray(places(size).permute(1, 2, 0).numpy())


def pose_of(face: FaceParameters) -> Float32[NDArray[np.float32], " 12"]:
    """Rotation matrix, scale [px per head unit] and place [px] of a face."""
    values = [*matrix(face.rotation).ravel(), face.scale, *face.translation]
    return np.asarray(values, np.float32)


def _motion_vector(poses: Float[Tensor, "b 2 12"]) -> Float[Tensor, "b 21"]:
    """Turn, the rotation to show, shift in head units and growth, all of about the same spread."""
    (before, after), count = poses.unbind(1), len(poses)
    turned = [pose[:, :9].reshape(count, 3, 3) for pose in (before, after)]
    turn = (turned[0][:, :, None] * turned[1][:, None]).sum(-1)  # the first times the second's T
    turn = turn - torch.eye(3, device=poses.device)
    shift = (after[:, 10:] - before[:, 10:]) / after[:, 9:10]
    growth = torch.log(before[:, 9:10] / after[:, 9:10])
    return torch.cat([2 * turn.flatten(1), after[:, :9], shift, 4 * growth], 1)


def _borders(
    weight: Float[Tensor, "b 1 h w"], person: Float[Tensor, "b 1 h w"]
) -> tuple[Tensor, Tensor, Tensor]:
    """1 where the face layer ends, where the person's mask may grow, and where it may shrink.

    The face layer is 0 inside: eyes and mouth are never seen through. The mask grows on the person
    and beside it, and shrinks at its outline alone: so what is behind stays still, and long hair
    stays whole.
    """
    beside = _largest(torch.cat([person, 1 - person], 1), _BESIDE)
    inside = -_largest(-weight, _BORDER)
    found = torch.cat([inside, beside], 1)
    soft = F.avg_pool2d(found, _BORDER, stride=1, padding=_BORDER // 2)
    return 1 - soft[:, :1], soft[:, 1:2], soft[:, 2:]


def _largest(masks: Float[Tensor, "b n h w"], size: int) -> Float[Tensor, "b n h w"]:
    """The largest value in the square around each place; by columns, then by rows."""
    there = size // 2
    columns = F.max_pool2d(masks, (size, 1), stride=1, padding=(there, 0))
    return F.max_pool2d(columns, (1, size), stride=1, padding=(0, there))


def _block(num_in: int, num_out: int, groups: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(num_in, num_out, 3, stride=stride, padding=1)
    return nn.Sequential(convolution, nn.GroupNorm(groups, num_out), nn.SiLU())


def _twice(values: Tensor) -> Tensor:
    return F.interpolate(values, scale_factor=2, mode="bilinear")


def _enlarged(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(values, (size, size)), np.float32)


def _batch(values: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]
