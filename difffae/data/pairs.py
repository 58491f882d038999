"""`python -m difffae.data.pairs FRAMES OUT --head-model FILE`: frame shards to training pairs.

The target is always a real photograph (lite.md section 3). From a clip, source and target are two
of its frames. From a still, the target is the still and the source is the still warped by its own
mesh to a pose and expression seen in some clip, so that warping faults are on the input side only.
With `--config` the conditions are rendered as that model's: by its face rig, its background, its
light. Stills need the portrait's own texture around the face; other rigs take clips alone.
"""

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, Lighting, MaskF32, Points3
from difffae.config import read_model_config
from difffae.data.frame_choice import Signals, choose_frames, face_signals, usual_change
from difffae.data.shards import ShardReader, contents_of, encode_jpeg, write_shard
from difffae.face.config import FaceConfig
from difffae.face.facemesh_rig import FaceMeshRig
from difffae.face.identity import five_points
from difffae.face.morphable import FittedFace
from difffae.face.parameters import FaceParameters, retarget
from difffae.face.renderer import Condition
from difffae.face.rig import Rig, Sighting
from difffae.face.source_face import build_source_face
from difffae.loading import load_dense_motion, load_rig

PAIRS_PER_SHARD = 500
log = logging.getLogger(__name__)
FivePoints = Float32[NDArray[np.float32], "5 2"]
_Pixel = TypeVar("_Pixel", np.uint8, np.float32)


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """How pairs are drawn."""

    num_pairs: int = 20_000
    still_share: float = 0.4
    max_zoom: float = 1.2  # both pictures are enlarged by up to this
    colour_jitter: float = 0.05  # spread of each channel's gain
    tracking_noise: float = 0.15  # error of a warped still's parameters, in usual changes
    light: Literal["source", "driver"] = "source"  # whose light clips' conditions show
    liveliness: float = 1.0  # how much rather two frames that differ are drawn: `choose_frames`
    turning: float = 0.0  # the same of two frames whose heads are turned differently
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A tracked picture with its person's mask."""

    image: ImageU8
    points: Points3
    person: MaskF32

    @property
    def sighting(self) -> Sighting:
        """The face as rigs take it."""
        return Sighting(image=self.image, points=self.points)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Source, target, and the condition that should lead from one to the other."""

    source: ImageU8
    target: ImageU8
    condition: Condition
    source_five: FivePoints
    target_five: FivePoints


class PairMaker:
    """Draws pairs from frame shards; the same seed and index give the same pair."""

    def __init__(self, reader: ShardReader, rig: Rig, config: PairsConfig) -> None:
        self._reader = reader
        self._rig = rig
        self._config = config
        clips: dict[tuple[str, str], list[int]] = {}
        for index, label in enumerate(
            zip(reader.labels("person"), reader.labels("clip"), strict=True)
        ):
            clips.setdefault(label, []).append(index)
        self._stills: list[int] = []
        if isinstance(rig, FaceMeshRig) and rig.background == "portrait":
            self._stills = [rows[0] for rows in clips.values() if len(rows) == 1]
        self._clips_of: dict[str, list[list[int]]] = {}
        for (person, _), rows in clips.items():
            if len(rows) > 1:
                self._clips_of.setdefault(person, []).append(rows)
        if not self._clips_of:
            raise ValueError(
                "the frame shards hold no clip: pairs need at least one to take motion from"
            )
        self._people = sorted(self._clips_of)
        self._signals = self._face_signals()

    @property
    def num_pairs(self) -> int:
        """How many pairs are asked for."""
        return self._config.num_pairs

    def make(self, index: int) -> Pair:
        """The pair of a running number."""
        random = np.random.default_rng((self._config.seed, index))
        if self._stills and random.random() < self._config.still_share:
            pair = self._from_still(random)
        else:
            pair = self._from_clip(random)
        return _mirrored(pair) if random.random() < 0.5 else pair

    def _face_signals(self) -> Signals:
        """Of all frames, in usual changes within a clip."""
        points = [self._reader.row("points", row) for row in range(len(self._reader))]
        signals = face_signals(np.stack(points))
        clips = [signals[rows] for clips in self._clips_of.values() for rows in clips]
        return np.asarray(signals / usual_change(clips), np.float32)

    def _clip(self, random: np.random.Generator) -> tuple[int, int]:
        """Two frames of one clip; people weigh alike, then their clips by length."""
        clips = self._clips_of[self._people[random.integers(len(self._people))]]
        sizes = np.array([len(clip) for clip in clips])
        rows = clips[random.choice(len(clips), p=sizes / sizes.sum())]
        source, target = choose_frames(
            self._signals[rows], random, self._config.liveliness, self._config.turning
        )
        return rows[source], rows[target]

    def clip_pictures(self, random: np.random.Generator) -> tuple[Picture, Picture]:
        """Source and target out of one clip, zoomed and coloured alike."""
        first, second = self._clip(random)
        change = _change(random, self._config)
        return change(self._picture(first)), change(self._picture(second))

    def _from_clip(self, random: np.random.Generator) -> Pair:
        source, target = self.clip_pictures(random)
        face = self._rig.take_apart(source.sighting, source.person)
        shown = self._rig.read(target.sighting, face.fitted.parameters)
        condition = self._rig.condition(face, shown, self._light(face.appearance.lighting, target))
        return Pair(
            source=source.image,
            target=target.image,
            condition=condition,
            source_five=five_points(source.points),
            target_five=five_points(target.points),
        )

    def _light(self, source: Lighting, target: Picture) -> Lighting:
        return source if self._config.light == "source" else self._rig.lighting(target.sighting)

    def _from_still(self, random: np.random.Generator) -> Pair:
        rig = self._rig
        assert isinstance(rig, FaceMeshRig)
        still = self._picture(self._stills[random.integers(len(self._stills))])
        target = _change(random, self._config)(still)
        real = rig.take_apart(target.sighting, target.person)
        moved = self._moved(real.fitted.parameters, random)
        light = real.appearance.lighting
        warped = rig.condition(real, moved, light)
        tracked = _mistracked(moved, random, self._config.tracking_noise)
        known = FittedFace(parameters=tracked, residual=real.fitted.residual)
        points = rig.head_model.pose(tracked, known.residual)
        source = build_source_face(
            warped.composite, points, warped.person_mask, rig.head_model, known
        )
        source = replace(source, appearance=real.appearance)
        condition = rig.condition(source, real.fitted.parameters, light)
        return Pair(
            source=warped.composite,
            target=target.image,
            condition=condition,
            source_five=five_points(points),
            target_five=five_points(target.points),
        )

    def _moved(self, face: FaceParameters, random: np.random.Generator) -> FaceParameters:
        first, second = self._clip(random)
        reference = self._rig.read(self._picture(first).sighting)
        driver = self._rig.read(self._picture(second).sighting, reference)
        strength = float(random.uniform(0.5, 1.0))
        return retarget(
            face, driver, reference, motion="relative", strength=strength, is_framed_alike=False
        )

    def _picture(self, index: int) -> Picture:
        mask = self._reader.picture("person_mask", index)[..., 0].astype(np.float32) / 255
        return Picture(
            image=self._reader.picture("image", index),
            points=self._reader.row("points", index),
            person=mask,
        )


def _mistracked(face: FaceParameters, random: np.random.Generator, noise: float) -> FaceParameters:
    """What a tracker might have said of a face of known parameters: each a little off."""
    spread = np.concatenate(
        [
            np.full(len(face.expression), 1.0),
            np.full(4, 0.05),
            np.full(3, 0.08),
            [0.04, 0.06 * face.scale, 0.06 * face.scale],
        ]
    )
    error = noise * spread * random.standard_normal(len(spread))
    return face.with_motion((face.motion_vector() + error).astype(np.float32))


def _change(random: np.random.Generator, config: PairsConfig) -> Callable[[Picture], Picture]:
    """One zoom and colour change, to be applied to both pictures of a pair."""
    zoom = float(random.uniform(1, config.max_zoom))
    corner = random.uniform(0, zoom - 1, 2).astype(np.float32)
    gain = np.clip(random.normal(1, config.colour_jitter, 3), 0.75, 1.25)

    def change(picture: Picture) -> Picture:
        size = picture.image.shape[:2]
        shift = corner * size[0]
        matrix = np.array([[zoom, 0, -shift[0]], [0, zoom, -shift[1]]], np.float32)
        image = cv2.warpAffine(
            picture.image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        offset = np.array([*shift, 0], np.float32)
        return Picture(
            image=np.clip(image * gain, 0, 255).astype(np.uint8),
            points=(picture.points * np.float32(zoom) - offset).astype(np.float32),
            person=np.asarray(
                cv2.warpAffine(picture.person, matrix, size, borderMode=cv2.BORDER_REPLICATE)
            ),
        )

    return change


def _mirrored(pair: Pair) -> Pair:
    def flip(values: NDArray[_Pixel]) -> NDArray[_Pixel]:
        return np.ascontiguousarray(values[:, ::-1])

    def flip_five(points: FivePoints) -> FivePoints:
        corner, mirror = np.array([[pair.source.shape[1], 0], [-1, 1]], np.float32)
        return np.asarray(corner + points[[1, 0, 2, 4, 3]] * mirror)

    condition = pair.condition
    return Pair(
        source=flip(pair.source),
        target=flip(pair.target),
        condition=replace(
            condition,
            composite=flip(condition.composite),
            face_mask=flip(condition.face_mask),
            inside_mask=flip(condition.inside_mask),
            person_mask=flip(condition.person_mask),
        ),
        source_five=flip_five(pair.source_five),
        target_five=flip_five(pair.target_five),
    )


def write_pairs(maker: PairMaker, output: Path, shards: range) -> None:
    """Write the numbered shards of pairs; those already there are kept."""
    for shard in shards:
        path = output / f"pairs-{shard:04d}.safetensors"
        if path.exists():
            continue
        start = shard * PAIRS_PER_SHARD
        stop = min(start + PAIRS_PER_SHARD, maker.num_pairs)
        write_shard(path, contents_of([_encoded(maker.make(i)) for i in range(start, stop)]))
        log.info("%s", path)


def _encoded(pair: Pair) -> tuple[dict[str, bytes], dict[str, NDArray[Any]]]:
    condition = pair.condition
    masks = np.stack([condition.face_mask, condition.inside_mask, condition.person_mask], -1)
    pictures = {
        "source": encode_jpeg(pair.source),
        "target": encode_jpeg(pair.target),
        "composite": encode_jpeg(condition.composite),
        "masks": encode_jpeg(np.rint(255 * masks).astype(np.uint8)),
    }
    return pictures, {"source_five": pair.source_five, "target_five": pair.target_five}


def main() -> None:
    """Command line; see the module docstring."""
    parser = argparse.ArgumentParser(prog="python -m difffae.data.pairs", description=__doc__)
    parser.add_argument("frames", type=Path, help="folder of frame shards")
    parser.add_argument("output", type=Path, help="folder for the pair shards")
    parser.add_argument("--head-model", type=Path, help="head_model.safetensors; not for FLAME")
    parser.add_argument("--dense-motion", type=Path, help="dense_motion.safetensors, if it has one")
    parser.add_argument("--config", type=Path, help="the model's YAML; default: bundled kind, 256")
    parser.add_argument("--device", default="cpu", help="where DECA runs (default cpu)")
    parser.add_argument("--num-pairs", type=int, default=PairsConfig.num_pairs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--turning",
        type=float,
        default=PairsConfig.turning,
        help="how much rather two frames of a clip are drawn whose heads are turned differently",
    )
    parser.add_argument(
        "--worker", default="0/1", help="K/N: make every N-th shard from the K-th (default 0/1)"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)  # workers run beside one another
    first, step = (int(part) for part in arguments.worker.split("/"))
    face = FaceConfig() if arguments.config is None else read_model_config(arguments.config).face
    reader = ShardReader(arguments.frames, "frames")
    size = reader.picture("image", 0).shape[0]
    config = PairsConfig(
        num_pairs=arguments.num_pairs,
        seed=arguments.seed,
        light=face.light,
        turning=arguments.turning,
    )
    rig = load_rig(
        face,
        size,
        arguments.head_model,
        dense_motion=load_dense_motion(face, size, arguments.dense_motion),
        device=arguments.device,
    )
    maker = PairMaker(reader, rig, config)
    write_pairs(
        maker, arguments.output, range(first, -(-config.num_pairs // PAIRS_PER_SHARD), step)
    )


if __name__ == "__main__":
    main()
