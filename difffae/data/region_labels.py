"""`python -m difffae.data.region_labels PAIRS OUT`: which region each pixel of training pairs is.

One label a pixel of each pair's source, target and composite, for slots that are supervised
(`training.loss.mask_supervision`) and regions that are hidden (`training.hiding`). The person is
MediaPipe's selfie segmentation, the face is the mesh's own mask: the condition's, which lies where
the target's face is; moved by the five points of both pictures it covers the source's.
"""

import argparse
import logging
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from difffae.data.shards import ShardContents, ShardReader, write_shard
from difffae.face.identity import similarity
from difffae.face.mediapipe import PersonSegmenter
from difffae.face.portrait_regions import portrait_regions

LABELLED = ("source", "target", "composite")
LABEL_SIZE = 64
log = logging.getLogger(__name__)
Labels = UInt8[NDArray[np.uint8], "64 64"]


def label_pair(pairs: ShardReader, index: int, segmenter: PersonSegmenter) -> dict[str, Labels]:
    """The labels of a pair's pictures, by name."""
    masks = pairs.picture("masks", index).astype(np.float32) / 255
    face = np.maximum(masks[..., 0], masks[..., 1])
    fives = {name: pairs.row(f"{name}_five", index) for name in ("source", "target")}
    persons = {name: segmenter.segment(pairs.picture(name, index)) for name in fives}
    matrix = similarity(fives["target"], fives["source"])
    moved = np.asarray(cv2.warpAffine(face, matrix, face.shape[::-1]), np.float32)
    return {
        "source": _labels(moved, persons["source"], fives["source"]),
        "target": _labels(face, persons["target"], fives["target"]),
        "composite": _labels(face, masks[..., 2], fives["target"]),
    }


def write_labels(pairs: ShardReader, output: Path, worker: int, num_workers: int) -> None:
    """Write this worker's shards, as many pairs in each as in the pairs' own; kept if there."""
    segmenter = PersonSegmenter()
    starts = np.cumsum([0, *pairs.shard_sizes])
    for shard in range(worker, len(pairs.shard_sizes), num_workers):
        path = output / f"regions-{shard:04d}.safetensors"
        if path.exists():
            continue
        rows = range(int(starts[shard]), int(starts[shard + 1]))
        samples = [label_pair(pairs, row, segmenter) for row in rows]
        arrays = {name: np.stack([sample[name] for sample in samples]) for name in LABELLED}
        write_shard(path, ShardContents(pictures={}, arrays=arrays, labels={}))
        log.info("%s", path)


def _labels(
    face: NDArray[np.float32], person: NDArray[np.float32], five: NDArray[np.float32]
) -> Labels:
    small, scale = (LABEL_SIZE, LABEL_SIZE), LABEL_SIZE / face.shape[0]
    face, person = (
        np.asarray(cv2.resize(mask, small, interpolation=cv2.INTER_AREA), np.float32)
        for mask in (face, person)
    )
    regions = portrait_regions(face, person, np.asarray(five * scale, np.float32))
    return np.asarray(np.argmax(regions, 0), np.uint8)


def main() -> None:
    """Command line; see the module docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m difffae.data.region_labels", description=__doc__
    )
    parser.add_argument("pairs", type=Path, help="folder of pair shards")
    parser.add_argument("output", type=Path, help="folder for the labels")
    parser.add_argument(
        "--worker", default="0/1", help="K/N: label every N-th shard from the K-th (default 0/1)"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    worker, num_workers = (int(part) for part in arguments.worker.split("/"))
    write_labels(ShardReader(arguments.pairs, "pairs"), arguments.output, worker, num_workers)


if __name__ == "__main__":
    main()
