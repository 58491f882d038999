"""Dense motion: what the network says moves what is read, never where the head is at rest."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from difffae.face.dense_motion import (
    NUM_POSE,
    NUM_SEEN,
    DenseMotion,
    DenseMotionConfig,
    DenseMotionNetwork,
    grid,
    pose_of,
    what_is_seen,
)
from difffae.face.facemesh import FaceMeshModel
from difffae.face.layers import SMALL, compose
from difffae.face.lighting import uniform_lighting
from difffae.face.parameters import FaceParameters, axis_angle, matrix
from difffae.face.renderer import Renderer
from difffae.face.source_face import SourceFace
from difffae.face.surroundings import SurroundingsConfig
from difffae.face.warp import Warp

SIZE = 256
SAID = ("head x", "head y", "face x", "face y", "person", "weight")


def shaken(config: DenseMotionConfig, spread: float = 0.3) -> DenseMotionNetwork:
    """A network of random weights that says something."""
    torch.manual_seed(0)
    network = DenseMotionNetwork(config, SIZE)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=spread)
    return network.eval().requires_grad_(False)


def saying(values: dict[str, float]) -> Callable[..., Tensor]:
    """A network that says the same everywhere; by default nothing."""
    said = {**dict.fromkeys(SAID, 0.0), "weight": 1.0, **values}
    planes = torch.tensor([said[name] for name in SAID])[None, :, None, None]
    return lambda *_: planes.expand(1, -1, SMALL, SMALL)


def some_inputs(motion: float) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    seen = torch.rand(1, NUM_SEEN, SMALL, SMALL, generator=generator)
    offsets = motion * torch.randn(1, 2, SMALL, SMALL, generator=generator)
    poses = torch.rand(1, 2, NUM_POSE, generator=generator)
    poses[..., 9] = 60
    return seen, offsets, poses


def turned(face: FaceParameters, degrees: float) -> FaceParameters:
    angle = np.radians(degrees)
    turn = matrix(np.float32([0, angle, 0])) @ matrix(face.rotation)
    return replace(face, rotation=axis_angle(turn))


def warp_of(face: SourceFace, head_model: FaceMeshModel, degrees: float) -> Warp:
    lighting = face.appearance.lighting
    renderer = Renderer(head_model, SurroundingsConfig(), SIZE)
    shown = turned(face.fitted.parameters, degrees)
    return renderer.warp(face.fitted, face.layers, shown, (lighting, lighting))


def corrected(face: SourceFace, warp: Warp, network: Callable[..., Tensor]) -> Warp:
    pose = face.fitted.parameters
    return DenseMotion(network).correct(face.layers, warp, pose, pose)


def test_a_head_at_rest_is_left_as_it_is_by_any_weights() -> None:
    said = shaken(DenseMotionConfig(channels=16))(*some_inputs(motion=0))
    assert not said[:, :5].any()
    assert (said[:, 5] == 1).all()


def test_an_untrained_network_moves_nothing() -> None:
    said = DenseMotionNetwork(DenseMotionConfig(channels=16), SIZE)(*some_inputs(motion=20))
    assert not said[:, :5].any()
    assert said[:, 5].min() > 0.97


def test_no_layer_is_read_further_away_than_the_configuration_allows() -> None:
    config = DenseMotionConfig(channels=16, reach=0.5, face_reach=0.1)
    said = shaken(config, spread=3)(*some_inputs(motion=20))
    head, face = said[:, :2].abs().max(), said[:, 2:4].abs().max()
    assert 0.4 * 60 < head <= 0.5 * 60
    assert 0.08 * 60 < face <= 0.1 * 60
    assert said[:, 4].abs().max() <= 1
    assert 0 <= said[:, 5].min() <= said[:, 5].max() <= 1


def test_the_face_gives_way_near_its_border_alone() -> None:
    seen, offsets, poses = some_inputs(motion=20)
    seen[:, 3] = 0
    seen[:, 3, 16:48, 16:48] = 1
    network = shaken(DenseMotionConfig(channels=16), spread=0)
    network.out.bias[5] = -100  # give way wherever possible
    weight = network(seen, offsets, poses)[0, 5]
    assert (weight[21:43, 21:43] == 1).all()
    assert weight[16:48, 16:48].min() < 0.5
    assert (weight[17:20, 30] < weight[18:21, 30]).all()


def test_what_is_behind_the_person_stays_behind() -> None:
    seen, offsets, poses = some_inputs(motion=20)
    seen[:, 4, :, 20:] = 0
    changed = shaken(DenseMotionConfig())(seen, offsets, poses)[:, 4]
    assert changed[..., 20 + 8 :].abs().max() == 0
    assert changed[..., :20].abs().max() > 0.1


def test_a_person_gives_way_at_the_outline_alone() -> None:
    seen, offsets, poses = some_inputs(motion=20)
    seen[:, 4, :, 20:] = 0
    seen[:, 4, :, :20] = 1
    network = shaken(DenseMotionConfig(channels=16), spread=0)
    network.out.bias[4] = -100  # shrink wherever possible
    change = network(seen, offsets, poses)[0, 4]
    assert change[..., : 20 - 8].abs().max() == 0
    assert (change[8:-8, 17:19] < -0.5).all()


def test_heads_of_any_size_are_moved_by_the_same_share_of_it() -> None:
    network = shaken(DenseMotionConfig(channels=16), spread=0.1)
    half = DenseMotionNetwork(DenseMotionConfig(channels=16), SIZE // 2)
    half.load_state_dict(network.state_dict())
    seen, offsets, poses = some_inputs(motion=20)
    smaller = poses.clone()
    smaller[..., 9:] /= 2
    large, small = network(seen, offsets, poses), half(seen, offsets / 2, smaller)
    assert large[:, :4].abs().mean() > 1
    torch.testing.assert_close(small[:, :4], large[:, :4] / 2, atol=0.1, rtol=0.02)
    torch.testing.assert_close(small[:, 4:], large[:, 4:], atol=0.02, rtol=0)


def test_the_head_is_read_where_the_network_says(
    source_face: SourceFace, head_model: FaceMeshModel
) -> None:
    warp = warp_of(source_face, head_model, 15)
    moved = corrected(source_face, warp, saying({"head x": 8.0, "face y": -3.0}))
    far, up = np.float32([8, 0]), np.float32([0, -3])
    np.testing.assert_allclose(
        moved.head_map - warp.head_map, np.broadcast_to(far, (256, 256, 2)), atol=1e-4
    )
    np.testing.assert_allclose(
        moved.face_map - warp.face_map, np.broadcast_to(up, (256, 256, 2)), atol=1e-4
    )
    np.testing.assert_array_equal(moved.relight, warp.relight)


def test_a_network_that_says_nothing_changes_no_pixel(
    source_face: SourceFace, head_model: FaceMeshModel
) -> None:
    warp = warp_of(source_face, head_model, 15)
    same = corrected(source_face, warp, saying({}))
    for before, after in zip(
        compose(source_face.layers, warp), compose(source_face.layers, same), strict=True
    ):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("change", [0.25, -0.25])
def test_the_person_grows_or_shrinks_by_what_is_added(
    source_face: SourceFace, head_model: FaceMeshModel, change: float
) -> None:
    warp = warp_of(source_face, head_model, 15)
    moved = corrected(source_face, warp, saying({"person": change}))
    _, before = compose(source_face.layers, warp)
    _, after = compose(source_face.layers, moved)
    np.testing.assert_allclose(after, np.clip(before + change, 0, 1), atol=1e-6)


def test_where_the_face_weighs_nothing_the_head_is_seen(
    source_face: SourceFace, head_model: FaceMeshModel
) -> None:
    warp = warp_of(source_face, head_model, 15)
    moved = corrected(source_face, warp, saying({"weight": 0.0}))
    bare = replace(warp, face_weight=np.zeros_like(warp.face_weight))
    picture, _ = compose(source_face.layers, moved)
    expected, _ = compose(source_face.layers, bare)
    np.testing.assert_array_equal(picture, expected)


def test_light_plays_no_part(source_face: SourceFace, head_model: FaceMeshModel) -> None:
    renderer = Renderer(head_model, SurroundingsConfig(), SIZE)
    lighting, other = source_face.appearance.lighting, uniform_lighting() * np.float32(0.4)
    shown = turned(source_face.fitted.parameters, 15)
    seen = [
        what_is_seen(
            source_face.layers, renderer.warp(source_face.fitted, source_face.layers, shown, lights)
        )
        for lights in ((lighting, lighting), (lighting, other))
    ]
    for first, second in zip(*seen, strict=True):
        np.testing.assert_array_equal(first, second)


def test_what_is_seen_is_the_composite_made_small(
    source_face: SourceFace, head_model: FaceMeshModel
) -> None:
    warp = replace(
        warp_of(source_face, head_model, 0), relight=np.ones((SIZE, SIZE, 3), np.float32)
    )
    seen, offsets = what_is_seen(source_face.layers, warp)
    composite, person = compose(source_face.layers, warp)
    assert seen.shape == (SMALL, SMALL, NUM_SEEN)
    blocks = composite.reshape(SMALL, 4, SMALL, 4, 3).mean((1, 3)) / 255
    assert np.abs(seen[..., :3] - blocks).mean() < 0.02
    assert np.abs(seen[..., 4] - person.reshape(SMALL, 4, SMALL, 4).mean((1, 3))).mean() < 0.02
    assert np.abs(offsets).max() < 0.5


def test_places_count_as_maps_do() -> None:
    places = grid(SIZE)
    np.testing.assert_allclose(places[0, :3, 0], [1.5, 5.5, 9.5])
    np.testing.assert_allclose(places[:3, 0, 1], [1.5, 5.5, 9.5])


def test_a_pose_is_rotation_scale_and_place(source_face: SourceFace) -> None:
    face = source_face.fitted.parameters
    pose = pose_of(face)
    np.testing.assert_allclose(pose[:9].reshape(3, 3), matrix(face.rotation))
    np.testing.assert_allclose(pose[9:], [face.scale, *face.translation], rtol=1e-6)


def test_the_renderer_corrects_what_it_composes(
    source_face: SourceFace, head_model: FaceMeshModel
) -> None:
    lighting = source_face.appearance.lighting
    shown = turned(source_face.fitted.parameters, 15)
    plain, moved = (
        Renderer(head_model, SurroundingsConfig(), SIZE, dense_motion=motion).condition(
            source_face.fitted, source_face.layers, shown, (lighting, lighting)
        )
        for motion in (None, DenseMotion(saying({"head x": 8.0})))
    )
    assert plain.warp is not None
    assert moved.warp is not None
    change = moved.warp.head_map - plain.warp.head_map
    np.testing.assert_allclose(change[..., 0], 8, atol=1e-4)
    changed = np.abs(moved.composite.astype(int) - plain.composite).mean(-1)
    assert changed[plain.face_mask > 0.999].max() == 0
    assert changed[plain.face_mask < 0.001].mean() > 1


@pytest.mark.parametrize("sizes", [{"channels": 20, "groups": 8}, {"channels": 0}, {"groups": 0}])
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="channels must be a multiple of groups"):
        DenseMotionConfig(**sizes)
