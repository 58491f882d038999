"""`python -m difffae.data.motions FRAMES OUT --head-model FILE`: frame shards to motion samples.

A motion sample is what the stage dense_motion learns from: two frames of one clip, and how the
renderer moves the first to the second by itself.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from difffae.arrays import ImageU8
from difffae.config import read_model_config
from difffae.data.pairs import PairMaker, PairsConfig, Picture
from difffae.data.shards import ShardReader, contents_of, encode_jpeg, write_shard
from difffae.face.config import FaceConfig
from difffae.face.dense_motion import pose_of, what_is_seen
from difffae.face.facemesh_rig import FaceMeshRig
from difffae.face.parameters import FaceParameters
from difffae.face.plate import smooth_plate
from difffae.face.renderer import Condition
from difffae.face.source_face import SourceFace, build_source_face
from difffae.loading import load_rig

SIDE = 128  # of the pictures that the loss compares [px]
_PER_SHARD = 500
_LARGEST_ZOOM = 1.3
_TURNING = 5.0  # a talking head seldom turns far: what it has to be shown most would be seen least
log = logging.getLogger(__name__)


def moved(
    source: Picture, target: Picture, rig: FaceMeshRig
) -> tuple[SourceFace, FaceParameters, Condition]:
    """A frame taken apart, the face that it becomes, and how the renderer moves it there by itself.

    Args:
        source: the frame that is moved.
        target: the frame that it should become.
        rig: without dense motion.
    """
    face = build_source_face(
        source.image, source.points, source.person, rig.head_model, paint_out=smooth_plate
    )
    shown = rig.read(target.sighting, face.fitted.parameters)
    return face, shown, rig.condition(face, shown, face.appearance.lighting)


def motion_sample(
    source: Picture, target: Picture, rig: FaceMeshRig
) -> tuple[dict[str, bytes], dict[str, NDArray[Any]]]:
    """Pictures, as JPEG of 128 x 128, and arrays of one sample; arguments as of `moved`."""
    face, shown, condition = moved(source, target, rig)
    warp = condition.warp
    assert warp is not None
    seen, offsets = what_is_seen(face.layers, warp)
    masks = np.dstack([face.layers.person, condition.face_mask, condition.inside_mask])
    pictures = {
        "source": source.image,
        "target": target.image,
        "plate": face.layers.plate,
        "composite": condition.composite,
        "masks": np.rint(255 * masks).astype(np.uint8),
    }
    small = (SIDE, SIDE)
    face_map = cv2.resize(warp.face_map, small, interpolation=cv2.INTER_NEAREST)
    return {name: encode_jpeg(_shrunk(picture)) for name, picture in pictures.items()}, {
        "seen": np.rint(255 * seen).astype(np.uint8),
        "offsets": offsets.astype(np.float16),
        "face_map": face_map.astype(np.float16),
        "poses": np.stack([pose_of(face.fitted.parameters), pose_of(shown)]),
    }


def _shrunk(picture: ImageU8) -> UInt8[NDArray[np.uint8], "128 128 3"]:
    return np.asarray(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def write_motions(
    maker: PairMaker, rig: FaceMeshRig, output: Path, samples: range, seed: int
) -> None:
    """Write one shard of samples; one that is already there is kept.

    Args:
        maker: draws pictures.
        rig: without dense motion.
        output: folder.
        samples: running numbers of the samples, whose first names the shard.
        seed: with the numbers it fixes the samples.
    """
    path = output / f"motions-{samples.start:06d}.safetensors"
    if path.exists():
        return
    made = [
        motion_sample(*maker.clip_pictures(np.random.default_rng((seed, index))), rig)
        for index in samples
    ]
    write_shard(path, contents_of(made))
    log.info("%s", path)


def main() -> None:
    """Command line; see the module docstring."""
    parser = argparse.ArgumentParser(prog="python -m difffae.data.motions", description=__doc__)
    parser.add_argument("frames", type=Path, help="folder of frame shards")
    parser.add_argument("output", type=Path, help="folder for the motion shards")
    parser.add_argument("--head-model", type=Path, help="head_model.safetensors", required=True)
    parser.add_argument("--config", type=Path, help="the model's YAML; default: bundled kind, 256")
    parser.add_argument("--num-samples", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--worker", default="0/1", help="K/N: make every N-th shard from the K-th (default 0/1)"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    face = FaceConfig() if arguments.config is None else read_model_config(arguments.config).face
    reader = ShardReader(arguments.frames, "frames")
    size = reader.picture("image", 0).shape[0]
    rig = load_rig(face, size, arguments.head_model)
    if not isinstance(rig, FaceMeshRig) or rig.background != "portrait":
        parser.error("this model's conditions show no portrait around the face to be moved")
    maker = PairMaker(reader, rig, PairsConfig(max_zoom=_LARGEST_ZOOM, turning=_TURNING))
    first, step = (int(part) for part in arguments.worker.split("/"))
    for start in range(first * _PER_SHARD, arguments.num_samples, step * _PER_SHARD):
        samples = range(start, min(start + _PER_SHARD, arguments.num_samples))
        write_motions(maker, rig, arguments.output, samples, arguments.seed)


if __name__ == "__main__":
    main()
