"""What the tests of metrics and evaluate share: a film of a turning face, a fake pipeline.

The fake pipeline has no networks: its outputs are the driver's frames, some known levels off.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
from skimage.data import astronaut

from difffae.arrays import ImageU8
from difffae.controls import Controls
from difffae.face.crop import CropBox


def portrait_256() -> ImageU8:
    """The head of skimage's astronaut, 256x256."""
    return np.ascontiguousarray(astronaut()[0:256, 96:352])


def turned(image: ImageU8, clockwise_deg: float) -> ImageU8:
    """The picture turned about its middle."""
    matrix = cv2.getRotationMatrix2D((128, 128), -clockwise_deg, 1)
    return cv2.warpAffine(image, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)


def mirrored(frames: Sequence[ImageU8]) -> list[ImageU8]:
    """Each frame with left and right exchanged."""
    return [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]


def write_video(path: Path, frames: Sequence[ImageU8]) -> Path:
    """A 256x256 video of the frames, nearly lossless."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 256, 256, "yuv420p"
        stream.options = {"crf": "6"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_clips(folder: Path, frames: Sequence[ImageU8]) -> Path:
    """Two people's clips (the second mirrored) under clips/, and their clips.csv."""
    (folder / "clips").mkdir()
    write_video(folder / "clips" / "anna#1.mp4", frames)
    write_video(folder / "clips" / "bea#1.mp4", mirrored(frames))
    count = len(frames)
    rows = [f"anna#1.mp4,anna,val,{count}", f"bea#1.mp4,bea,val,{count}", "c.mp4,carl,train,9"]
    (folder / "clips.csv").write_text(
        "\n".join(["file,person,split,frames", *rows]) + "\n", "utf-8"
    )
    return folder


WHOLE = CropBox(left=0, top=0, size=256)


@dataclass
class FakePipeline:
    """Composite: 40 levels off, generated: 20 / steps, ceiling: 1. Keeps what it was told."""

    box: CropBox = WHOLE
    plain: SimpleNamespace | None = None
    log: list[str] = field(default_factory=list)
    motions: list[str] = field(default_factory=list)
    config: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(image_size=256))

    def encode_source(self, image: ImageU8, *, face: int | None = None) -> SimpleNamespace:
        return SimpleNamespace(image=image, crop_box=self.box)

    def open_stream(self, source: SimpleNamespace, controls: Controls) -> int:
        self.motions.append(controls.motion)
        return 0

    def skip(self, frame: ImageU8, source: SimpleNamespace, state: int, controls: Controls) -> int:
        self.log.append(f"skip {state}")
        return state + 1

    def condition(
        self, frame: ImageU8, source: SimpleNamespace, state: int, controls: Controls
    ) -> tuple[SimpleNamespace, int]:
        self.log.append(f"condition {state}")
        return SimpleNamespace(composite=off(frame, 40), frame=frame), state + 1

    def floor(
        self, source: SimpleNamespace, state: int, controls: Controls
    ) -> SimpleNamespace | None:
        return self.plain

    def generate(
        self, condition: SimpleNamespace, source: SimpleNamespace, controls: Controls
    ) -> ImageU8:
        return off(condition.frame, 20 // controls.num_steps)

    def reconstruct(
        self, image: ImageU8, condition: SimpleNamespace, source: SimpleNamespace
    ) -> ImageU8:
        return off(image, 1)


def off(image: ImageU8, levels: int) -> ImageU8:
    """Every pixel that many levels away, never past black or white."""
    return np.where(image < 128, image + levels, image - levels).astype(np.uint8)
