"""Layers over one another: what goes on past the portrait's edges."""

import numpy as np

from difffae.face.layers import Layers, compose
from difffae.face.warp import Warp

SIZE = 256


def test_hair_that_the_upper_edge_cuts_ends_round_above_it() -> None:
    rows, columns = np.indices((SIZE, SIZE), np.float32)
    head = ((columns - 128) ** 2 + (rows - 60) ** 2 < 70**2).astype(np.float32)
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    layers = Layers(
        portrait=picture, person=head, plate=picture, skin_colour=np.zeros(3, np.float32)
    )
    lower = np.stack([columns, rows - 40], -1)
    no_face = np.zeros((SIZE, SIZE), np.float32)
    warp = Warp(
        face_map=lower,
        head_map=lower,
        face_weight=no_face,
        inside_mask=no_face,
        mouth_paint=np.zeros((SIZE, SIZE, 4), np.float32),
        relight=np.ones((SIZE, SIZE, 3), np.float32),
    )
    _, person = compose(layers, warp)
    whole = (columns - 128) ** 2 + (rows - 100) ** 2 < 70**2
    assert ((person > 0.5) != whole).mean() < 0.005
