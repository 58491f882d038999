"""Layers over one another: what goes on past the portrait's edges."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.face.layers import Layers, compose
from plain_warp import plain_warp

SIZE = 256


def test_hair_that_the_upper_edge_cuts_ends_round_above_it() -> None:
    rows, columns = np.indices((SIZE, SIZE), np.float32)
    head = ((columns - 128) ** 2 + (rows - 60) ** 2 < 70**2).astype(np.float32)
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    layers = Layers(
        portrait=picture, person=head, plate=picture, skin_colour=np.zeros(3, np.float32)
    )
    lower = np.stack([columns, rows - 40], -1)
    _, person = compose(layers, plain_warp(lower))
    whole = (columns - 128) ** 2 + (rows - 100) ** 2 < 70**2
    assert ((person > 0.5) != whole).mean() < 0.005


def test_background_that_moves_along_with_a_head_keeps_its_light() -> None:
    rows, columns = np.indices((SIZE, SIZE), np.float32)
    head = ((columns - 128) ** 2 + (rows - 128) ** 2 < 50**2).astype(np.float32)
    grey = np.full((SIZE, SIZE, 3), 60, np.uint8)
    layers = Layers(portrait=grey, person=head, plate=grey, skin_colour=np.zeros(3, np.float32))
    lit = replace(
        plain_warp(np.stack([columns, rows], -1)),
        head_relight=np.full((SIZE, SIZE, 3), 2, np.float32),
        person_change=np.full((SIZE, SIZE), 0.5, np.float32),
    )
    picture, person = compose(layers, lit)
    assert person.min() == 0.5
    assert (picture[head > 0] == 120).all()
    assert (picture[head == 0] == 60).all()


@pytest.mark.parametrize("is_right", [False, True])
def test_hair_goes_on_past_the_edge_that_cuts_it(is_right: bool) -> None:
    rows, columns = np.indices((SIZE, SIZE), np.float32)
    hair = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    everywhere, black = np.ones((SIZE, SIZE), np.float32), np.zeros_like(hair)
    layers = Layers(
        portrait=hair, person=everywhere, plate=black, skin_colour=np.zeros(3, np.float32)
    )
    shift = 20 if is_right else -20
    picture, _ = compose(layers, plain_warp(np.stack([columns + shift, rows], -1)))
    shown, known = (picture[:, ::-1], hair[:, ::-1]) if is_right else (picture, hair)
    np.testing.assert_array_equal(shown[:, 20:], known[:, :-20])
    np.testing.assert_array_equal(shown[:, :20], known[:, 20:0:-1])


def test_a_shoulder_that_an_edge_cuts_goes_straight_on_past_it() -> None:
    rows, columns = np.indices((SIZE, SIZE), np.float32)
    falling = (rows > 100 + columns / 2).astype(np.float32)  # from left to right
    grey = np.full((SIZE, SIZE, 3), 60, np.uint8)
    layers = Layers(portrait=grey, person=falling, plate=grey, skin_colour=np.zeros(3, np.float32))
    _, person = compose(layers, plain_warp(np.stack([columns + 40, rows], -1)))
    assert (person[:, -40:] == falling[:, -1:]).all()
