"""What is measured on which clip: frames that stand for a clip, and pairs of strangers."""

import numpy as np

from difffae.data.split import Clip


def chosen_frames(num_frames: int, max_frames: int) -> list[int]:
    """Which frames of a clip to measure: neighbouring pairs spread evenly over it, frame 0 never.

    Frame 0 is the source (self) or the reference (cross). Pairs, so that frame-to-frame change is
    seen although frames are skipped.
    """
    if num_frames - 1 <= max_frames:
        return list(range(1, num_frames))
    starts = np.linspace(1, num_frames - 2, max(max_frames // 2, 1)).astype(int)
    return sorted({int(index) for start in starts for index in (start, start + 1)})


def cross_pairs(clips: list[Clip], seed: int) -> list[tuple[Clip, Clip]]:
    """For each clip as the driver a clip of another person as the source, drawn by the seed.

    People are drawn before clips, so that one with many clips is no likelier a source.

    Returns:
        (source, driver) pairs in the order of `clips`.

    Raises:
        ValueError: all clips are of one person.
    """
    people = sorted({clip.person for clip in clips})
    if len(people) < 2:
        raise ValueError(f"Got clips of {people} only: pairs of different people need two or more")
    generator = np.random.default_rng(seed)
    pairs = []
    for driver in clips:
        other = str(generator.choice([person for person in people if person != driver.person]))
        candidates = [clip for clip in clips if clip.person == other]
        pairs.append((candidates[int(generator.integers(len(candidates)))], driver))
    return pairs
