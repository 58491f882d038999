"""How light the skin in a portrait looks: the individual typology angle, and its groups.

Chardon, Cretois & Hourseau 1991: ITA = arctan((L* - 50) / b*), in degrees, larger for lighter skin.
It is defined for skin under known light; here it is read from cheeks and forehead of photographs
under any light, and so tells groups apart only roughly.
"""

import cv2
import numpy as np

from difffae.arrays import ImageU8, Points3

_PATCHES = (50, 280, 205, 425, 117, 346, 151, 108, 337)  # cheeks and forehead
_SHARE = 0.04  # half a patch's side, of the face's width
# Chardon's classes, "very light" and "light" joined, and "brown" and "dark".
GROUPS = (("light", 41.0), ("intermediate", 28.0), ("tan", 10.0), ("brown or dark", -90.0))


def typology_angle(image: ImageU8, points: Points3) -> float:
    """The angle of a face's skin [degrees].

    Args:
        image: the picture.
        points: mesh points of the face [px].
    """
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    half = max(round(_SHARE * float(np.ptp(points[:, 0]))), 1)
    height, width = image.shape[:2]
    colours = []
    for x, y in np.rint(points[list(_PATCHES), :2]).astype(int):
        rows = slice(max(y - half, 0), min(y + half + 1, height))
        columns = slice(max(x - half, 0), min(x + half + 1, width))
        patch = lab[rows, columns].reshape(-1, 3)
        if len(patch):
            colours.append(np.median(patch, axis=0))
    lightness, _, blueness = np.median(np.stack(colours), axis=0)
    return float(np.degrees(np.arctan2(lightness - 50, max(float(blueness), 1e-3))))


def tone_group(angle: float) -> str:
    """The group of an angle [degrees]."""
    return next(name for name, least in GROUPS if angle >= least)
