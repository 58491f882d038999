from pathlib import Path

import pytest

from difffae.data.split import Clip
from difffae.metrics.protocol import chosen_frames, cross_pairs


def clip(person: str, number: int = 0) -> Clip:
    return Clip(path=Path(f"{person}#{number}.mp4"), person=person, num_frames=50)


def test_a_short_clip_is_measured_whole_but_for_the_source() -> None:
    assert chosen_frames(6, 60) == [1, 2, 3, 4, 5]
    assert chosen_frames(61, 60) == list(range(1, 61))


def test_a_long_clip_is_measured_in_pairs_from_its_start_to_its_end() -> None:
    frames = chosen_frames(400, 20)
    assert len(frames) == 20
    assert frames[:2] == [1, 2]
    assert frames[-2:] == [398, 399]
    assert all(second == first + 1 for first, second in zip(frames[::2], frames[1::2], strict=True))
    gaps = [b - a for a, b in zip(frames[::2], frames[2::2], strict=False)]
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(("num_frames", "max_frames"), [(7, 5), (63, 60), (10, 2)])
def test_no_frame_is_chosen_twice_nor_beyond_the_end(num_frames: int, max_frames: int) -> None:
    frames = chosen_frames(num_frames, max_frames)
    assert frames == sorted(set(frames))
    assert frames[0] == 1
    assert frames[-1] < num_frames
    assert len(frames) <= max_frames


def test_pairs_join_each_driver_to_a_stranger_and_repeat_for_a_seed() -> None:
    clips = [clip("anna", n) for n in range(5)] + [clip("bea"), clip("carl")]
    pairs = cross_pairs(clips, seed=3)
    assert [driver for _, driver in pairs] == clips
    assert all(source.person != driver.person for source, driver in pairs)
    assert pairs == cross_pairs(clips, seed=3)
    assert any(pairs != cross_pairs(clips, seed=seed) for seed in range(4, 8))


def test_a_person_with_many_clips_is_no_likelier_a_source() -> None:
    clips = [clip("anna", n) for n in range(20)] + [clip("bea"), clip("carl")]
    sources = [cross_pairs(clips, seed)[-1][0].person for seed in range(300)]
    assert sources.count("anna") == pytest.approx(150, abs=45)


def test_one_person_alone_makes_no_pair() -> None:
    with pytest.raises(ValueError, match="two or more"):
        cross_pairs([clip("anna", 0), clip("anna", 1)], seed=0)
