"""A clip in, a driver of any length out: the clip forth and back, so that no frame jumps."""

from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

import av
from av.video.frame import PictureType

from streamer.errors import UsageError

_OPTIONS = {"preset": "ultrafast", "crf": "16"}


def write_looped(clip: Path, output: Path, num_frames: int) -> None:
    """Write a video of so many frames, of the clip's size and rate, without sound.

    Args:
        clip: is held in memory, decoded.
        output: its ending names the container.
        num_frames: at least 1.

    Raises:
        UsageError: no frame is asked for, or the clip has none.
    """
    if num_frames < 1:
        raise UsageError(f"a driver has at least one frame, got {num_frames}")
    with av.open(str(clip)) as source:
        rate = source.streams.video[0].average_rate or Fraction(25)
        frames = [frame.reformat(format="yuv420p") for frame in source.decode(video=0)]
    if not frames:
        raise UsageError(f"{clip} has no frames; name a video")
    with av.open(str(output), "w") as target:
        stream = target.add_stream("libx264", rate=rate, options=_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        for number, frame in enumerate(islice(cycle([*frames, *frames[-2:0:-1]]), num_frames)):
            frame.pts, frame.time_base = number, 1 / rate
            frame.pict_type = PictureType.NONE  # the clip's key frames are not this one's
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
