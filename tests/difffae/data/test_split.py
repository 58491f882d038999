from pathlib import Path

import av
import numpy as np
import pytest

from difffae.data.split import first_frame, read_clips, read_frames

TABLE = "file,person,split,frames\na#1.mp4,anna,val,3\nb.mp4,bea,train,5\n"


def video(path: Path, levels: list[int]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for level in levels:
            frame = np.full((64, 64, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_clips_of_the_split_alone_are_read(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text(TABLE, "utf-8")
    video(tmp_path / "a#1.mp4", [10, 20, 30])
    (clip,) = read_clips(tmp_path, tmp_path / "clips.csv", "val")
    assert (clip.person, clip.num_frames, clip.stem) == ("anna", 3, "a#1")
    assert clip.path == tmp_path / "a#1.mp4"


def test_frames_come_in_order(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", [10, 120, 230])
    levels = [float(frame.mean()) for frame in read_frames(path)]
    assert levels == pytest.approx([10, 120, 230], abs=3)
    assert first_frame(path).mean() == pytest.approx(10, abs=3)


def test_a_missing_table_split_or_clip_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    with pytest.raises(ValueError, match="--csv"):
        read_clips(tmp_path, table, "val")
    table.write_text(TABLE, "utf-8")
    with pytest.raises(ValueError, match="split 'test'"):
        read_clips(tmp_path, table, "test")
    with pytest.raises(ValueError, match=r"1 clips .* not in .*a#1\.mp4"):
        read_clips(tmp_path, table, "val")


def test_a_file_that_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("not a video", "utf-8")
    with pytest.raises(ValueError, match=r"not a readable video: .*text\.mp4"):
        first_frame(path)
