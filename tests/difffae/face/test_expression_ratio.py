"""Folds of skin, from a driver to a portrait."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.face.expression_ratio import (
    SkinChange,
    SkinDetail,
    SkinMemory,
    add_folds,
    alike,
    folds,
    skin_detail,
)
from difffae.face.facemesh import NUM_MESH_POINTS, FaceMeshModel
from difffae.face.normals import vertex_normals
from difffae.face.parameters import matrix
from difffae.face.rasterizer import rasterize
from difffae.face.regions import Regions

SIDE = 256
SCALE = 45.0
CHEEK, FOREHEAD, UPPER_LIP = 50, 151, 13
ALL = np.ones(NUM_MESH_POINTS, np.float32)


def standing(head_model: FaceMeshModel, *, yaw: float = 0, scale: float = SCALE) -> np.ndarray:
    """The mean face [px], turned [rad]."""
    turned = head_model.mean @ matrix(np.array([0, yaw, 0], np.float32)).T
    return np.asarray(turned * scale + np.array([SIDE / 2, SIDE / 2, 0]), np.float32)


def pictured(points: np.ndarray, spots: dict[int, float], grey: float = 140) -> np.ndarray:
    """Plain skin with soft spots at points of the mesh, each so much of its luma."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    image = np.full((SIDE, SIDE), float(grey))
    for point, share in spots.items():
        apart = np.hypot(x - points[point, 0], y - points[point, 1]) / 4
        image *= 1 + (share - 1) * np.exp(-0.5 * apart**2)
    return np.repeat(np.rint(image)[..., None], 3, 2).astype(np.uint8)


def detail(
    head_model: FaceMeshModel, points: np.ndarray, spots: dict[int, float], grey: float = 140
) -> SkinDetail:
    normals = vertex_normals(points, head_model.skin_triangles)
    return skin_detail(pictured(points, spots, grey), points, normals)


def lit(
    head_model: FaceMeshModel, change: SkinChange, points: np.ndarray, moving: np.ndarray = ALL
) -> dict[int, float]:
    """What a face's light is multiplied with, at some of its points."""
    fragments = rasterize(points, head_model.skin_triangles, SIDE)
    relight = np.ones((SIDE, SIDE, 3), np.float32)
    add_folds(relight, folds(change, moving), fragments, head_model.skin_triangles)
    places = {point: points[point, :2].astype(int) for point in (CHEEK, FOREHEAD, UPPER_LIP)}
    return {point: float(relight[row, column, 0]) for point, (column, row) in places.items()}


@pytest.fixture(scope="module")
def before(head_model: FaceMeshModel) -> SkinDetail:
    return detail(head_model, standing(head_model), {})


def changed(head_model: FaceMeshModel, before: SkinDetail, spots: dict[int, float]) -> SkinChange:
    now = detail(head_model, standing(head_model), spots)
    change = SkinMemory(now=now, before=before).change(1.0, Regions())
    assert change is not None
    return change


def test_a_fold_darkens_the_same_place_of_another_face(
    head_model: FaceMeshModel, before: SkinDetail
) -> None:
    change = changed(head_model, before, {CHEEK: 0.7})
    other = standing(head_model, yaw=0.3, scale=55)
    light = lit(head_model, change, other)
    assert 0.68 < light[CHEEK] < 0.85
    assert light[FOREHEAD] == pytest.approx(1, abs=0.02)


def test_what_is_no_skin_or_does_not_move_keeps_its_light(
    head_model: FaceMeshModel, before: SkinDetail
) -> None:
    change = changed(head_model, before, {CHEEK: 0.7, FOREHEAD: 0.7, UPPER_LIP: 0.5})
    points = standing(head_model)
    assert lit(head_model, change, points)[UPPER_LIP] == 1
    moving = ALL.copy()
    moving[head_model.mean[:, 1] > head_model.mean[[CHEEK, FOREHEAD], 1].mean()] = 0
    light = lit(head_model, change, points, moving)
    assert light[CHEEK] == 1
    assert light[FOREHEAD] < 0.85


def test_a_rooms_light_and_a_cameras_noise_are_no_folds(
    head_model: FaceMeshModel, before: SkinDetail
) -> None:
    points = standing(head_model)
    dimmed = detail(head_model, points, {}, grey=90)
    noise = np.random.default_rng(0).normal(0, 3, (SIDE, SIDE, 3))
    noisy = np.clip(pictured(points, {}) + noise, 0, 255).astype(np.uint8)
    normals = vertex_normals(points, head_model.skin_triangles)
    for now in (dimmed, skin_detail(noisy, points, normals)):
        light = lit(head_model, SkinChange(now=now, before=before), points)
        assert set(light.values()) == {1.0}


def test_a_lamps_or_a_hands_edge_is_no_fold(head_model: FaceMeshModel, before: SkinDetail) -> None:
    light = lit(head_model, changed(head_model, before, {CHEEK: 0.05}), standing(head_model))
    assert light[CHEEK] > 0.8


def test_a_turned_head_shows_fewer_folds_and_then_none(
    head_model: FaceMeshModel, before: SkinDetail
) -> None:
    amounts = []
    for degrees in (0, 10, 25):
        points = standing(head_model, yaw=np.deg2rad(degrees))
        memory = SkinMemory(now=detail(head_model, points, {CHEEK: 0.7}), before=before)
        change = memory.change(1.0, Regions())
        amounts.append(0.0 if change is None else change.amount)
    assert amounts[0] == 1
    assert 0 < amounts[1] < 1
    assert amounts[2] == 0


def test_nothing_is_shown_of_what_is_not_known_or_not_asked_for(before: SkinDetail) -> None:
    assert SkinMemory().change(1.0, Regions()) is None
    assert SkinMemory(now=before, before=before).change(1.0, Regions()) is None
    assert SkinMemory(now=replace(before), before=before).change(0.0, Regions()) is None


def test_a_face_at_the_pictures_edge_is_read_as_far_as_it_is_there(
    head_model: FaceMeshModel,
) -> None:
    for shift in (SIDE / 2, 3 * SIDE):
        points = standing(head_model, scale=200) - np.array([shift, 0, 0], np.float32)
        assert np.isfinite(detail(head_model, points, {}).levels).all()


def test_expressions_are_alike_until_they_differ() -> None:
    neutral = np.zeros(64, np.float32)
    assert alike(neutral, neutral + 0.1) == 1
    assert 0 < alike(neutral, neutral + 0.5) < 1
    assert alike(neutral, neutral + 1) == 0
