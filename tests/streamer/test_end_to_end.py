"""The whole command with the bundled model on real media."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from streamer.engine import find_model
from streamer.errors import ModelError
from streamer.offline import main
from streamer.video_file import VideoReader
from streamer_media import read_video, write_video

pytestmark = pytest.mark.computes

NUM_FRAMES = 6
SIDE_PX = 361


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, carphone: Path, portrait: Path) -> Path:
    """A driver of real frames with a black one among them, a portrait, and the command's result."""
    try:
        find_model("lite-256")
    except ModelError as error:
        pytest.skip(f"no bundled model yet: {error}")
    made = tmp_path_factory.mktemp("end_to_end")
    with VideoReader(carphone) as reader:
        frames = [frame.image for frame in islice(reader.frames(), 0, 120, 120 // NUM_FRAMES)]
    frames = [np.asarray(PillowImage.fromarray(image).resize((384, 288))) for image in frames]
    frames[3] = np.zeros_like(frames[3])
    write_video(made / "clip.mp4", frames)
    PillowImage.open(portrait).resize((SIDE_PX, SIDE_PX)).save(made / "person.png")
    assert run(made, "first.mp4", "--mask-out", str(made / "mask.mp4")) == 0
    return made


def run(folder: Path, output: str, *options: str) -> int:
    files = [str(folder / "clip.mp4"), str(folder / "person.png"), "--output", str(folder / output)]
    return main([*files, "--seed", "3", "--runtime", "eager", "--quiet", *options])


def test_the_portrait_moves_and_its_surroundings_do_not(folder: Path) -> None:
    images, times = read_video(folder / "first.mp4")
    masks, _ = read_video(folder / "mask.mp4")
    own = np.asarray(PillowImage.open(folder / "person.png")).astype(int)
    assert len(images) == NUM_FRAMES
    assert times == read_video(folder / "clip.mp4")[1]
    for image, mask in zip(images, masks, strict=True):
        untouched = mask[:SIDE_PX, :SIDE_PX, 0] < 8
        assert untouched.mean() > 0.02
        assert np.abs(image[:SIDE_PX, :SIDE_PX].astype(int) - own)[untouched].mean() < 4
    moved = [np.abs(image.astype(int) - images[0]).mean() for image in images[1:]]
    assert max(moved) > 1


def test_a_seed_gives_the_same_video_twice(folder: Path) -> None:
    assert run(folder, "second.mp4") == 0
    first, _ = read_video(folder / "first.mp4")
    second, _ = read_video(folder / "second.mp4")
    np.testing.assert_array_equal(np.stack(first), np.stack(second))
