"""Whether a stretch of tracked frames is worth training on: its figures, and the limits on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from difffae.arrays import ImageU8, Points3
from difffae.data.boxes import Box, cut_out

_PATCH_PX = 128  # faces are judged at one size, so that figures compare between videos
_BLACK, _WHITE = 8, 247  # values beyond these are clipped
_RIGHT_EDGE, _LEFT_EDGE = 234, 454  # mesh points before the subject's right and left ear


@dataclass(frozen=True, kw_only=True)
class ClipLimits:
    """What a clip has to hold to; the first eight are of FOMM's kind, the others judge the picture.

    Attributes:
        min_frames: shortest clip [frames at 25 a second].
        max_frames: longest clip; longer stretches become several.
        min_overlap: a clip ends where the face's box overlaps its first one by less (IoU).
        growth: the boxes around all of a clip's faces and heads grow by this share on each end.
        min_box_px: smallest side of a clip's box in the video.
        max_outside: largest share of the faces' grown box that lies beyond the frame.
        max_gap_frames: longest time without the face within a clip.
        min_tracked: smallest share of looked-at frames with the face.
        min_face_px: smallest median face in the video.
        min_sharpness: smallest median variance of the face's Laplacian, relative to its contrast.
        min_brightness: smallest median grey level of the face, 0 to 255.
        max_brightness: largest median grey level of the face.
        max_clipped: largest median share of the face that is black or white.
        max_yaw_deg: how far a head may be turned aside before half of the face is hidden.
        max_turned: largest share of frames with a head turned farther.
    """

    min_frames: int = 64
    max_frames: int = 1024
    min_overlap: float = 0.25
    growth: float = 0.1
    min_box_px: int = 128
    max_outside: float = 0.05
    max_gap_frames: int = 12
    min_tracked: float = 0.9
    min_face_px: float = 64
    min_sharpness: float = 0.02
    min_brightness: float = 35
    max_brightness: float = 225
    max_clipped: float = 0.25
    max_yaw_deg: float = 60
    max_turned: float = 0.2

    def __post_init__(self) -> None:
        if not 1 <= self.min_frames <= self.max_frames:
            raise ValueError(
                f"got clips of {self.min_frames} to {self.max_frames} frames: give --min-frames "
                "of at least 1 and --max-frames no smaller"
            )


@dataclass(frozen=True, kw_only=True)
class FaceFigures:
    """What one frame shows of a face.

    Attributes:
        side_px: larger side of the face mesh.
        sharpness: variance of the Laplacian over the variance of the grey levels, at one size.
        brightness: mean grey level, 0 to 255.
        clipped: share of pixels that are black or white.
        yaw_deg: how far the head is turned, positive to the subject's left.
    """

    side_px: float
    sharpness: float
    brightness: float
    clipped: float
    yaw_deg: float


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """A limit that was not held."""

    reason: str
    value: float
    limit: float


def face_box(points: Points3) -> Box:
    """The box of a face mesh."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    return Box(left=float(low[0]), top=float(low[1]), right=float(high[0]), bottom=float(high[1]))


def measure_face(image: ImageU8, points: Points3) -> FaceFigures | None:
    """The figures of a face in a frame; None where it lies outside the frame."""
    box = face_box(points)
    try:
        patch = cut_out(image, box.square(0), _PATCH_PX)
    except ValueError:
        return None
    grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY)
    spread = float(grey.var())
    edges = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    return FaceFigures(
        side_px=max(box.width, box.height),
        sharpness=edges / spread if spread > 0 else 0.0,
        brightness=float(grey.mean()),
        clipped=float(((grey < _BLACK) | (grey > _WHITE)).mean()),
        yaw_deg=yaw_deg(points),
    )


def yaw_deg(points: Points3) -> float:
    """How far a head is turned aside, from the line between the ears of its mesh [degrees]."""
    across = points[_LEFT_EDGE] - points[_RIGHT_EDGE]
    return float(np.degrees(np.arctan2(across[2], across[0])))


def first_shortfall(
    figures: Sequence[FaceFigures], num_looked_at: int, limits: ClipLimits
) -> Shortfall | None:
    """The first limit that a clip does not hold, or None.

    Args:
        figures: of the frames with the face.
        num_looked_at: how many frames were searched for it.
        limits: what to hold to.
    """
    if not figures:
        return Shortfall(reason="no face", value=0, limit=limits.min_tracked)
    turned = float(np.mean([abs(figure.yaw_deg) > limits.max_yaw_deg for figure in figures]))
    sharpness, brightness, clipped, side = (
        float(np.median([getattr(figure, name) for figure in figures]))
        for name in ("sharpness", "brightness", "clipped", "side_px")
    )
    least = (
        ("the face is not seen throughout", len(figures) / num_looked_at, limits.min_tracked),
        ("the face is too small [px]", side, limits.min_face_px),
        ("the face is blurred", sharpness, limits.min_sharpness),
        ("the face is too dark", brightness, limits.min_brightness),
    )
    most = (
        ("the face is too bright", brightness, limits.max_brightness),
        ("the face is over- or underexposed", clipped, limits.max_clipped),
        ("the head is turned away", turned, limits.max_turned),
    )
    failed = [one for one in least if one[1] < one[2]] + [one for one in most if one[1] > one[2]]
    if not failed:
        return None
    reason, value, limit = failed[0]
    return Shortfall(reason=reason, value=value, limit=limit)
