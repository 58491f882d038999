"""Do slots mean regions: `python -m difffae.metrics.slots CONFIG WEIGHTS FRAMES`.

With four slots, also how well each fits the region that `training.loss.mask_supervision` would
teach it: intersection over union, where the region's own pixels are the segmentation's.

Masks of a source and of a driver frame of its clip in; out comes how alike the same slot's masks
are, how large and how many slots are, and whether they follow the picture: a mask that lies at a
fixed place passes the first test and fails the last (model.md 2.5, 2.6).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from difffae.arrays import Images, ImageU8, MaskF32, Points3, SlotMasks
from difffae.checkpoint import load_module
from difffae.config import ModelConfig, read_model_config
from difffae.data.shards import ShardReader
from difffae.face.facemesh import FACE_OVAL
from difffae.face.identity import five_points
from difffae.face.portrait_regions import BACKGROUND, HEAD, REGION_NAMES, portrait_regions
from difffae.model.region_encoder import RegionEncoder

REGIONS = ("background", "face", "rest of the person")
LIVE_SHARE = 0.05  # of the pixels: a slot with less of them, on average, is dead
_HAIR, _BACKGROUND = REGION_NAMES[HEAD], REGION_NAMES[BACKGROUND]
_PAIRS_PER_CLIP = 10
_BATCH = 32
_USER_ERROR = 2

Ious = Float[Tensor, "b slots slots"]
Regions = Float[Tensor, "b 3 mask_h mask_w"]


@dataclass(frozen=True, kw_only=True)
class SlotFigures:
    """How slots share pictures out; masks are made hard (each pixel to its largest slot) first.

    Attributes:
        same_iou: of a slot's masks in source and driver, over slots that either of them shows.
        other_iou: of different slots' masks in source and driver.
        largest_share: mean share of the pixels that the largest slot has.
        num_live: slots that have more than `LIVE_SHARE` of the pixels on average.
        certainty: mean over pixels of the largest of the soft masks; 1 / slots is no decision.
        shares: of the pixels, of each slot.
    """

    same_iou: float
    other_iou: float
    largest_share: float
    num_live: int
    certainty: float
    shares: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RegionFigures:
    """Whether slots follow what is in the picture, told by the tracker's masks.

    Attributes:
        rand_index: adjusted Rand index of slots against `REGIONS`, mean over pictures: 0 is chance.
        fixed_rand_index: of the mean mask of all pictures, which knows where and sees nothing.
        stranger_iou: of a slot's masks in pictures of different clips: near 1 is a fixed place.
        correlation: of each slot's soft mask (row) with each region (column), both less their mean
            over pictures at that pixel, so that a fixed place correlates with nothing.
    """

    rand_index: float
    fixed_rand_index: float
    stranger_iou: float
    correlation: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class TaughtFigures:
    """How well slots fit the regions that supervision teaches.

    Attributes:
        iou: of each region's slot with the region, all pictures' pixels together, by its name.
        mean_iou: of hair and of background, the two whose borders MediaPipe draws alone.
    """

    iou: dict[str, float]
    mean_iou: float


def hard_masks(masks: SlotMasks) -> SlotMasks:
    """Each pixel to its largest slot."""
    return F.one_hot(masks.argmax(1), masks.shape[1]).permute(0, 3, 1, 2).to(masks.dtype)


def pairwise_iou(first: SlotMasks, second: SlotMasks) -> Ious:
    """Intersection over union of all pairs of hard masks; NaN where both are empty."""
    shared = torch.einsum("b s h w, b t h w -> b s t", first, second)
    either = first.sum((2, 3))[:, :, None] + second.sum((2, 3))[:, None] - shared
    return torch.where(either > 0, shared / either.clamp_min(1), torch.nan)


def slot_figures(source: SlotMasks, driver: SlotMasks) -> SlotFigures:
    """The figures of soft masks of sources and of their drivers' frames."""
    hard = hard_masks(source.detach().float()), hard_masks(driver.detach().float())
    ious = pairwise_iou(*hard)
    is_same = torch.eye(ious.shape[-1], dtype=torch.bool, device=ious.device)
    shares = torch.cat(hard).mean((0, 2, 3))
    soft = torch.cat([source.detach(), driver.detach()]).float()
    return SlotFigures(
        same_iou=float(ious[:, is_same].nanmean()),
        other_iou=float(ious[:, ~is_same].nanmean()),
        largest_share=float(shares.max()),
        num_live=int((shares > LIVE_SHARE).sum()),
        certainty=float(soft.amax(1).mean()),
        shares=tuple(shares.tolist()),
    )


def region_figures(masks: SlotMasks, regions: Regions, clips: Sequence[int]) -> RegionFigures:
    """The figures of soft masks against the tracker's regions of the same pictures.

    Args:
        masks: of pictures.
        regions: background, face, rest of the person, which sum to 1.
        clips: each picture's clip, to find pictures of others.
    """
    hard, wanted = hard_masks(masks), hard_masks(regions)
    fixed = hard_masks(masks.mean(0, keepdim=True)).expand_as(hard)
    others = [next((k for k in _after(n, clips) if clips[k] != clips[n]), n) for n in _all(clips)]
    strangers = torch.diagonal(pairwise_iou(hard, hard[others]), dim1=1, dim2=2)
    correlation = torch.einsum("b s h w, b r h w -> s r", _deviations(masks), _deviations(regions))
    return RegionFigures(
        rand_index=_mean_rand_index(hard, wanted),
        fixed_rand_index=_mean_rand_index(fixed, wanted),
        stranger_iou=float(strangers.nanmean()),
        correlation=tuple(tuple(row) for row in correlation.tolist()),
    )


def taught_figures(masks: SlotMasks, taught: SlotMasks) -> TaughtFigures:
    """The figures of soft masks against supervision's regions, slot k with region k."""
    first, second = hard_masks(masks), hard_masks(taught)
    shared = (first * second).sum((0, 2, 3))
    either = (first + second).sum((0, 2, 3)) - shared
    ious = dict(zip(REGION_NAMES, (shared / either.clamp_min(1)).tolist(), strict=True))
    return TaughtFigures(iou=ious, mean_iou=(ious[_HAIR] + ious[_BACKGROUND]) / 2)


def adjusted_rand_index(first: Tensor, second: Tensor) -> float:
    """Agreement of two partitions, one-hot (k, h, w), beyond chance (Hubert & Arabie 1985)."""
    table = torch.einsum("s h w, t h w -> s t", first.double(), second.double())
    together, rows, columns = (_pairs(t) for t in (table, table.sum(1), table.sum(0)))
    expected = rows * columns / _pairs(table.sum()[None])
    most = (rows + columns) / 2
    return float((together - expected) / (most - expected)) if most != expected else 1.0


def tracked_regions(points: Points3, person: ImageU8) -> Float[Tensor, "3 h w"]:
    """Background, face and rest of the person, from mesh points [px] and the person's mask."""
    face = _face(points, person)
    body = np.maximum(person[..., 0].astype(np.float32) / 255, face)
    return torch.from_numpy(np.stack([1 - body, face, body - face]))


def taught_regions(points: Points3, person: ImageU8) -> Float[Tensor, "4 h w"]:
    """The regions that supervision teaches, from mesh points [px] and the person's mask."""
    mask = np.ascontiguousarray(person[..., 0].astype(np.float32) / 255)
    return torch.from_numpy(portrait_regions(_face(points, person), mask, five_points(points)))


def _face(points: Points3, person: ImageU8) -> MaskF32:
    oval = np.rint(points[list(FACE_OVAL), :2]).astype(np.int32)
    return np.asarray(cv2.fillPoly(np.zeros(person.shape[:2], np.float32), [oval], (1.0,)))


@dataclass(frozen=True, kw_only=True)
class ClipPairs:
    """Pictures of sources and of later or earlier frames of their clips, and the sources' regions.

    Attributes:
        sources, drivers: in [-1, 1].
        regions: of the sources.
        taught: the regions of the sources that supervision would teach.
        clips: each pair's clip.
    """

    sources: Images
    drivers: Images
    regions: Regions
    taught: SlotMasks
    clips: tuple[int, ...]


def draw_clip_pairs(reader: ShardReader, size: int, seed: int = 0) -> ClipPairs:
    """Ten pairs of frames of every clip, as pictures of this side [px].

    Raises:
        ValueError: no clip has two frames.
    """
    clips: dict[tuple[str, str], list[int]] = {}
    for row, label in enumerate(zip(reader.labels("person"), reader.labels("clip"), strict=True)):
        clips.setdefault(label, []).append(row)
    random = np.random.default_rng(seed)
    drawn = [
        (clip, *random.choice(rows, 2, replace=False))
        for clip, rows in enumerate(clips.values())
        for _ in range(_PAIRS_PER_CLIP)
        if len(rows) > 1
    ]
    if not drawn:
        raise ValueError("the frames hold no clip of two frames, which pairs are drawn from")
    of_sources, of_drivers = ([int(pair[k]) for pair in drawn] for k in (1, 2))
    tracked = [
        (reader.row("points", row), reader.picture("person_mask", row)) for row in of_sources
    ]
    return ClipPairs(
        sources=_pictures(reader, of_sources, size),
        drivers=_pictures(reader, of_drivers, size),
        regions=torch.stack([tracked_regions(*each) for each in tracked]),
        taught=torch.stack([taught_regions(*each) for each in tracked]),
        clips=tuple(clip for clip, _, _ in drawn),
    )


def measure_slots(
    encoder: RegionEncoder, pairs: ClipPairs
) -> tuple[SlotFigures, RegionFigures, TaughtFigures | None]:
    """All figures of a region encoder on pairs of frames; the last are those of four slots."""
    source, driver = _masks(encoder, pairs.sources), _masks(encoder, pairs.drivers)
    size = source.shape[-2:]
    regions = F.interpolate(pairs.regions, size=size, mode="area")
    taught = F.interpolate(pairs.taught, size=size, mode="area")
    is_taught = source.shape[1] == taught.shape[1]
    return (
        slot_figures(source, driver),
        region_figures(source, regions, pairs.clips),
        taught_figures(source, taught) if is_taught else None,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print as JSON; return 0, or 2 after one line on what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m difffae.metrics.slots", description=__doc__)
    parser.add_argument("config", type=Path, help="the model's YAML configuration")
    parser.add_argument("weights", type=Path, help="region_encoder.safetensors")
    parser.add_argument("frames", type=Path, help="frame shards of people to judge by")
    given = parser.parse_args(arguments)
    try:
        config = read_model_config(given.config)
        encoder = _loaded(config, given.weights)
        pairs = draw_clip_pairs(ShardReader(given.frames, "frames"), config.region_size)
    except ValueError as error:
        Console(stderr=True, soft_wrap=True).print(str(error), markup=False, highlight=False)
        return _USER_ERROR
    slots, regions, taught = measure_slots(encoder, pairs)
    figures = {**asdict(slots), **asdict(regions), **({} if taught is None else asdict(taught))}
    Console(soft_wrap=True).print_json(json.dumps(figures))
    return 0


def _loaded(config: ModelConfig, weights: Path) -> RegionEncoder:
    encoder = RegionEncoder(config.region_encoder)
    load_module(encoder, weights)
    return encoder.eval()


@torch.no_grad()
def _masks(encoder: RegionEncoder, images: Images) -> SlotMasks:
    return torch.cat([encoder(part)[1].float() for part in torch.split(images, _BATCH)])


def _pictures(reader: ShardReader, rows: Sequence[int], size: int) -> Images:
    pictures = np.stack([reader.picture("image", row) for row in rows])
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.interpolate(images, size=(size, size), mode="area")


def _mean_rand_index(first: SlotMasks, second: Regions) -> float:
    return float(np.mean([adjusted_rand_index(a, b) for a, b in zip(first, second, strict=True)]))


def _pairs(counts: Tensor) -> float:
    return float((counts * (counts - 1) / 2).sum())


def _deviations(maps: Tensor) -> Tensor:
    """Less the mean over pictures, each channel of unit norm, so that products are correlations."""
    centred = maps.double() - maps.double().mean(0)
    return centred / centred.square().sum((0, 2, 3), keepdim=True).sqrt().clamp_min(1e-9)


def _all(clips: Sequence[int]) -> range:
    return range(len(clips))


def _after(start: int, clips: Sequence[int]) -> list[int]:
    """All other indices, from the next one round."""
    return [(start + step) % len(clips) for step in range(1, len(clips))]


if __name__ == "__main__":
    sys.exit(main())
