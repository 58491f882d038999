"""`python -m difffae.data.pack FOLDER OUT`: many small shards to few tar files, for large sets.

The tar files can be read by the package webdataset, also from other machines, and by our training
like any folder of shards. Clips stay whole within one tar.
"""

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from difffae.data.shards import ShardReader, appearing
from difffae.data.tar_shards import index_path, members_of, save_index, scan_tar, write_members

SAMPLES_PER_SHARD = 2000
log = logging.getLogger(__name__)


def pack(folder: Path, output: Path, prefix: str, num_samples: int) -> int:
    """Pack a folder's shards into tar files; those already there are kept.

    Args:
        folder: folder of shards.
        output: folder for the tar files, another one.
        prefix: "frames" or "pairs".
        num_samples: a tar is closed at the end of the clip in which it reaches this many.

    Returns:
        How many tar files there are.

    Raises:
        ValueError: no shards in the folder, the same folder twice, or a full disk.
    """
    if folder.resolve() == output.resolve():
        raise ValueError(f"got {folder} for both folders: give another one for the tar files")
    reader = ShardReader(folder, prefix)
    labels = {name: reader.labels(name) for name in reader.label_names}
    count = 0
    for count, rows in enumerate(_groups(reader, num_samples), start=1):
        path = output / f"{prefix}-{count - 1:06d}.tar"
        if not path.exists():
            _write(reader, labels, rows, path)
            log.info("%s: %d samples", path, len(rows))
    return count


def _groups(reader: ShardReader, num_samples: int) -> Iterator[range]:
    """Runs of samples that end where shards of the folder end: a clip has one shard."""
    start = 0
    for end in accumulate(reader.shard_sizes):
        if end - start >= num_samples or end == len(reader):
            yield range(start, end)
            start = end


def _write(
    reader: ShardReader, labels: Mapping[str, Sequence[str]], rows: range, path: Path
) -> None:
    """One tar and its index; the index first, so that no tar is there without one."""
    with appearing(path) as temporary:
        with temporary.open("wb") as file:
            write_members(file, ((f"{row:09d}", _members(reader, labels, row)) for row in rows))
        with appearing(index_path(path)) as index:
            save_index(scan_tar(temporary), index)


def _members(
    reader: ShardReader, labels: Mapping[str, Sequence[str]], row: int
) -> dict[str, bytes]:
    sample = reader.sample(row)
    own = {name: values[row] for name, values in labels.items()}
    return members_of(sample.pictures, sample.arrays, own)


def main() -> None:
    """Command line; see the module docstring."""
    parser = argparse.ArgumentParser(prog="python -m difffae.data.pack", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of shards")
    parser.add_argument("output", type=Path, help="folder for the tar files")
    parser.add_argument("--prefix", default="frames", help="frames (default) or pairs")
    parser.add_argument(
        "--samples",
        type=int,
        default=SAMPLES_PER_SHARD,
        help=f"samples a tar, at least, where there are as many (default {SAMPLES_PER_SHARD})",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        count = pack(arguments.folder, arguments.output, arguments.prefix, arguments.samples)
    except ValueError as error:
        parser.error(str(error))
    log.info("%d tar files in %s", count, arguments.output)


if __name__ == "__main__":
    main()
