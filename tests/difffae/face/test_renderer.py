"""The rendered condition: what moves, what stays, and what the light does."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from difffae.arrays import ImageU8, Points3
from difffae.face.facemesh import EYE_RINGS, LOWER_LIP, UPPER_LIP, FaceMeshModel
from difffae.face.layers import Layers, compose
from difffae.face.lighting import uniform_lighting
from difffae.face.morphable import FittedFace
from difffae.face.mouth import tint
from difffae.face.normals import vertex_normals
from difffae.face.parameters import FaceParameters, axis_angle, matrix, retarget
from difffae.face.renderer import Condition, Renderer, blurred, warm_up
from difffae.face.source_face import SourceFace
from difffae.face.surroundings import SurroundingsConfig
from difffae.face.warp import Box, enlarge
from face_media import TrackedPortrait
from plain_warp import plain_warp

UPWARDS, ASIDE = np.float32([0, -0.05, 0, -0.05]), np.float32([0.07, 0, 0.07, 0])


@pytest.fixture(scope="module")
def renderer(head_model: FaceMeshModel) -> Renderer:
    return Renderer(head_model, SurroundingsConfig(), 256)


def rendered(renderer: Renderer, face: SourceFace, target: FaceParameters) -> Condition:
    light = (face.appearance.lighting, face.appearance.lighting)
    return renderer.condition(face.fitted, face.layers, target, light)


@pytest.fixture(scope="module")
def still(renderer: Renderer, source_face: SourceFace) -> Condition:
    """The condition of the portrait that does not move."""
    return rendered(renderer, source_face, source_face.fitted.parameters)


def difference(one: ImageU8, other: ImageU8) -> np.ndarray:
    """Largest change over the channels, (h, w)."""
    return np.asarray(np.abs(one.astype(int) - other).max(-1))


def region(points: Points3, indices: list[int], margin: int) -> np.ndarray:
    """True in the hull of these points, grown by a margin."""
    hull = cv2.convexHull(np.rint(points[indices, :2]).astype(np.int32))
    mask = cv2.fillConvexPoly(np.zeros((256, 256), np.uint8), hull, 1)
    grown = cv2.dilate(mask, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))
    return np.asarray(grown > 0)


def eyes(points: Points3, margin: int = 4) -> np.ndarray:
    left, right = (region(points, list(ring), margin) for ring in EYE_RINGS)
    return np.asarray(left | right)


def opened_mouth(fitted: FittedFace, head_model: FaceMeshModel) -> FaceParameters:
    """The face with its mouth opened by the model's own expressions."""
    gap = head_model.expression_basis[:, 14, 1] - head_model.expression_basis[:, 13, 1]
    step = (2.5 * gap / np.linalg.norm(gap)).astype(np.float32)
    return replace(fitted.parameters, expression=fitted.parameters.expression + step)


def test_a_face_that_does_not_move_is_the_portrait(
    still: Condition, tracked: TrackedPortrait, head_model: FaceMeshModel
) -> None:
    mouth = region(tracked.points, list(UPPER_LIP + LOWER_LIP), 3)
    is_face = (still.face_mask > 0.999) & ~mouth
    change = difference(still.composite, tracked.image)
    assert is_face.mean() > 0.1
    assert change[is_face].max() <= 1
    assert change[is_face].mean() < 0.05
    assert np.abs(change[~mouth]).mean() < 2


def test_a_driver_at_its_reference_renders_the_very_same_condition(
    renderer: Renderer, source_face: SourceFace, still: Condition
) -> None:
    reference = replace(
        source_face.fitted.parameters,
        expression=source_face.fitted.parameters.expression + np.float32(0.7),
        rotation=np.float32([0.2, -0.1, 0.3]),
        scale=31.0,
        translation=np.float32([40, 200]),
    )
    target = retarget(
        source_face.fitted.parameters,
        reference,
        reference,
        motion="relative",
        strength=1.0,
        is_framed_alike=False,
    )
    again = rendered(renderer, source_face, target)
    assert difference(again.composite, still.composite).max() <= 1
    assert (again.composite == still.composite).mean() > 0.999


@pytest.mark.parametrize("gaze", [UPWARDS, ASIDE])
def test_gaze_changes_the_eyes_and_nothing_else(
    renderer: Renderer,
    source_face: SourceFace,
    still: Condition,
    tracked: TrackedPortrait,
    gaze: np.ndarray,
) -> None:
    parameters = source_face.fitted.parameters
    looking = rendered(renderer, source_face, replace(parameters, gaze=parameters.gaze + gaze))
    change = difference(looking.composite, still.composite)
    assert (change[eyes(tracked.points, 0)] > 20).mean() > 0.04
    assert change[~eyes(tracked.points)].max() == 0


def test_an_opened_mouth_shows_in_the_mouth(
    renderer: Renderer,
    source_face: SourceFace,
    still: Condition,
    head_model: FaceMeshModel,
) -> None:
    target = opened_mouth(source_face.fitted, head_model)
    speaking = rendered(renderer, source_face, target)
    points = head_model.pose(target, source_face.fitted.residual)
    mouth = region(points, list(UPPER_LIP + LOWER_LIP), 0)
    assert (difference(speaking.composite, still.composite)[mouth] > 20).mean() > 0.3
    assert speaking.inside_mask[mouth].mean() > 0.5
    assert speaking.inside_mask.sum() > still.inside_mask.sum() + 50


def test_an_inside_never_seen_is_painted_from_what_the_head_model_has_learned(
    renderer: Renderer, source_face: SourceFace, head_model: FaceMeshModel
) -> None:
    target = opened_mouth(source_face.fitted, head_model)
    speaking = rendered(renderer, source_face, target)
    points = head_model.pose(target, source_face.fitted.residual)
    column, row = np.rint((points[13, :2] + points[14, :2]) / 2).astype(int)
    paint = speaking.warp.paint[row, column]
    if paint[0] < 0.9:
        pytest.skip("this portrait's own mouth is open: its inside is reused")
    wanted = tint(source_face.layers.skin_colour) @ paint[1:]
    np.testing.assert_allclose(speaking.composite[row, column], wanted, atol=12)


def test_the_inside_mask_is_one_in_eyes_and_mouth_alone(
    still: Condition, tracked: TrackedPortrait
) -> None:
    inside = still.inside_mask
    assert set(np.unique(inside)) == {0, 1}
    lips = region(tracked.points, list(UPPER_LIP + LOWER_LIP), 3)
    assert inside[~(eyes(tracked.points) | lips)].max() == 0
    for iris in (468, 473):
        column, row = tracked.points[iris, :2].astype(int)
        assert inside[row, column] == 1


def test_light_from_the_other_side_brightens_the_other_cheek(
    renderer: Renderer, source_face: SourceFace, tracked: TrackedPortrait
) -> None:
    def lit(x: float) -> np.ndarray:
        lighting = uniform_lighting()
        lighting[1] = 0.3 * x
        given = source_face.fitted
        lights = (uniform_lighting(), lighting)
        shown = renderer.condition(given, source_face.layers, given.parameters, lights)
        return np.asarray(shown.composite.astype(float).mean(-1))

    left, right = (tracked.points[k, :2].astype(int) for k in (50, 280))
    from_left, from_right = lit(-1), lit(1)
    around = [(slice(y - 4, y + 5), slice(x - 4, x + 5)) for x, y in (left, right)]
    assert from_left[around[0]].mean() > 1.1 * from_right[around[0]].mean()
    assert from_right[around[1]].mean() > 1.1 * from_left[around[1]].mean()
    corner = (slice(0, 20), slice(0, 20))
    np.testing.assert_array_equal(from_left[corner], from_right[corner])


def test_a_shifted_head_is_the_portrait_shifted(
    renderer: Renderer, source_face: SourceFace, tracked: TrackedPortrait
) -> None:
    parameters = source_face.fitted.parameters
    target = replace(parameters, translation=parameters.translation + np.float32([8, -6]))
    shown = rendered(renderer, source_face, target)
    nose_x, nose_y = tracked.points[1, :2].astype(int)
    for x, y in ((nose_x, nose_y), (nose_x, nose_y - 40), (nose_x - 20, nose_y - 15)):
        before = tracked.image[y - 5 : y + 6, x - 5 : x + 6].astype(int)
        after = shown.composite[y - 11 : y, x + 3 : x + 14].astype(int)
        assert np.abs(before - after).mean() < 3


def test_the_background_stays_where_the_person_never_is(
    renderer: Renderer, source_face: SourceFace, tracked: TrackedPortrait
) -> None:
    parameters = source_face.fitted.parameters
    turn = matrix(np.float32([0, 0.25, 0.1]))
    target = replace(parameters, rotation=axis_angle(turn @ matrix(parameters.rotation)))
    shown = rendered(renderer, source_face, target)
    is_free = (shown.person_mask == 0) & (tracked.person == 0) & (shown.face_mask == 0)
    kept = difference(shown.composite, source_face.layers.plate)[is_free]
    assert is_free.mean() > 0.1
    assert kept.max() <= 1


def test_the_face_mask_covers_the_mesh_and_fades_inwards(
    still: Condition, tracked: TrackedPortrait
) -> None:
    hull = region(tracked.points, list(range(468)), 0)
    assert still.face_mask[~region(tracked.points, list(range(468)), 2)].max() == 0
    assert still.face_mask[hull].mean() > 0.85
    column, row = tracked.points[1, :2].astype(int)
    assert still.face_mask[row, column] == pytest.approx(1)
    assert ((still.face_mask > 0.1) & (still.face_mask < 0.9)).sum() > 100


def test_composing_larger_and_shrinking_is_composing_small(
    renderer: Renderer, source_face: SourceFace
) -> None:
    parameters = source_face.fitted.parameters
    target = replace(parameters, translation=parameters.translation + np.float32([5, 3]))
    shown = rendered(renderer, source_face, target)
    size = (768, 768)
    layers = source_face.layers
    large = replace(
        layers,
        portrait=np.asarray(cv2.resize(layers.portrait, size, interpolation=cv2.INTER_LINEAR)),
        person=np.asarray(cv2.resize(layers.person, size, interpolation=cv2.INTER_LINEAR)),
        plate=np.asarray(cv2.resize(layers.plate, size, interpolation=cv2.INTER_LINEAR)),
    )
    composite, person = compose(large, shown.warp)
    assert composite.shape == (768, 768, 3)
    back = np.asarray(cv2.resize(composite, (256, 256), interpolation=cv2.INTER_AREA))
    change = difference(back, shown.composite)
    assert change.mean() < 2
    assert np.quantile(change, 0.99) < 16
    small = np.asarray(cv2.resize(person, (256, 256), interpolation=cv2.INTER_AREA))
    assert np.abs(small - shown.person_mask).mean() < 0.01


def test_an_enlarged_map_points_to_the_same_places(still: Condition) -> None:
    large = enlarge(still.warp, 512, Box(top=0, left=0, height=512, width=512))
    middle = large.head_map[255:257, 101:103].mean((0, 1))
    small = still.warp.head_map[127:129, 50:52]
    np.testing.assert_allclose((middle + 0.5) / 2 - 0.5, small.mean((0, 1)), atol=0.3)


def test_normals_of_a_real_face_look_at_the_camera(
    tracked: TrackedPortrait, head_model: FaceMeshModel
) -> None:
    normals = vertex_normals(tracked.points, head_model.skin_triangles)
    assert normals[1, 2] < -0.8  # the tip of the nose
    assert normals[50, 0] < 0 < normals[280, 0]  # both cheeks
    assert (normals[:468, 2] < 0.1).mean() > 0.95


def test_a_normal_is_the_mean_of_its_triangles_by_area() -> None:
    points = np.float32([(0, 0, 0), (0, 2, 0), (2, 0, 0), (0, 0, 4)])
    two = np.array([(0, 1, 2), (0, 2, 3)], np.int32)
    normals = vertex_normals(points, two)
    first, second = np.cross([0, 2, 0], [2, 0, 0]), np.cross([2, 0, 0], [0, 0, 4])
    expected = (first + second) / np.linalg.norm(first + second)
    np.testing.assert_allclose(normals[0], expected, atol=1e-6)
    np.testing.assert_allclose(normals[1], first / np.linalg.norm(first), atol=1e-6)


def test_a_renderer_uses_the_rasterizer_it_is_given(
    head_model: FaceMeshModel, source_face: SourceFace
) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError("asked")

    renderer = Renderer(head_model, SurroundingsConfig(), 256, refuse)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="asked"):
        rendered(renderer, source_face, source_face.fitted.parameters)


def test_warming_up_renders_without_a_picture(head_model: FaceMeshModel) -> None:
    warm_up(Renderer(head_model, SurroundingsConfig(), 64), head_model, 64)


def test_a_larger_warp_reads_no_strangers_pixels_at_the_faces_border() -> None:
    size, factor = 64, 3
    y, x = np.mgrid[:size, :size].astype(np.float32)
    is_face = np.hypot(x - 30, y - 34) < 20
    own = np.stack([x, y], -1)
    warp = replace(
        plain_warp(own),
        face_map=np.where(is_face[..., None], own, 0).astype(np.float32),
        face_weight=is_face.astype(np.float32),
    )
    side = factor * size
    large = enlarge(warp, side, Box(top=0, left=0, height=side, width=side))
    is_shown = large.face_weight > 0
    assert is_shown.sum() > factor**2 * is_face.sum()
    off = np.abs(large.face_map - large.head_map)[is_shown]
    assert off.max() < 1.5 * factor


def test_what_is_kept_of_a_portrait_is_not_shown_for_another(
    renderer: Renderer, source_face: SourceFace, head_model: FaceMeshModel
) -> None:
    fitted, person = source_face.fitted, source_face.fitted.parameters
    smaller = replace(fitted, parameters=replace(person, scale=0.9 * person.scale))
    dimmed = np.float32(0.7) * source_face.appearance.lighting
    faces = [
        source_face,
        replace(source_face, fitted=smaller),
        replace(source_face, appearance=replace(source_face.appearance, lighting=dimmed)),
    ]
    for face in (*faces, *faces):
        fresh = Renderer(head_model, SurroundingsConfig(), 256)
        wanted = rendered(fresh, face, person)
        got = rendered(renderer, face, person)
        np.testing.assert_array_equal(got.composite, wanted.composite)
        np.testing.assert_array_equal(got.person_mask, wanted.person_mask)


@pytest.mark.parametrize("corner", [(20, 30), (0, 0), (41, 44)])
def test_a_part_blurred_by_itself_is_as_in_the_whole(corner: tuple[int, int]) -> None:
    mask = np.zeros((64, 64), np.float32)
    row, column = corner
    mask[row : row + 23, column : column + 20] = np.random.default_rng(0).random((23, 20)) > 0.3
    soft, part = blurred(mask, 1.6)
    np.testing.assert_allclose(soft, cv2.GaussianBlur(mask, (0, 0), 1.6), rtol=0, atol=1e-6)
    outside = soft.copy()
    outside[part] = 0
    assert not outside.any()


def test_a_mask_that_covers_nothing_stays_so_when_blurred() -> None:
    soft, _ = blurred(np.zeros((16, 16), np.float32), 1.6)
    assert not soft.any()


def test_the_person_moves_with_the_portrait_and_lies_on_the_plate(still: Condition) -> None:
    warp = still.warp
    assert warp is not None
    nothing = np.zeros_like(warp.face_weight)
    random = np.random.default_rng(0)
    portrait, plate = random.integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    layers = Layers(
        portrait=portrait,
        person=random.random((256, 256), np.float32),
        plate=plate,
        skin_colour=np.zeros(3, np.float32),
    )
    rows, columns = np.indices((256, 256), np.float32)
    shifted = np.stack([columns + 3.25, rows + 2.5], -1)
    composite, person = compose(layers, replace(warp, head_map=shifted, face_weight=nothing))
    none, linear = np.empty(0, np.float32), cv2.INTER_LINEAR
    seen, wanted = (
        np.asarray(cv2.remap(x, shifted, none, linear, borderMode=past), float)
        for x, past in (
            (portrait, cv2.BORDER_REFLECT_101),
            (layers.person, cv2.BORDER_REPLICATE),
        )
    )
    np.testing.assert_allclose(person, wanted, rtol=0, atol=1 / 255)
    mixed = seen * wanted[..., None] + plate * (1 - wanted[..., None])
    np.testing.assert_allclose(composite, mixed, rtol=0, atol=1.6)  # rounded twice


def test_the_lit_face_is_multiplied_mixed_with_the_mouth_and_rounded(still: Condition) -> None:
    assert still.warp is not None
    random = np.random.default_rng(0)
    mouth, relight = random.random((256, 256), np.float32), random.random((256, 256, 3), np.float32)
    rows, columns = np.indices((256, 256), np.float32)
    warp = replace(
        still.warp,
        face_map=np.stack([columns, rows], -1),
        face_weight=np.ones((256, 256), np.float32),
        paint=np.dstack([mouth, mouth[..., None] * np.float32([0.5, 0.25, 0.125])]),
        relight=2 * relight,
    )
    portrait = random.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    colour = np.float32([40, 20, 10])
    layers = Layers(portrait=portrait, person=mouth, plate=portrait, skin_colour=colour)
    composite, _ = compose(layers, warp)
    painted = tint(colour) @ np.float32([0.5, 0.25, 0.125])
    mixed = portrait + mouth[..., None] * (painted - portrait)
    wanted = np.clip(np.rint(mixed * warp.relight), 0, 255)
    np.testing.assert_allclose(composite, wanted, atol=1)
    assert (composite == wanted).mean() > 0.999


def test_masks_are_one_above_the_other(still: Condition) -> None:
    for mask, wanted in zip(
        still.masks, (still.face_mask, still.inside_mask, still.person_mask), strict=True
    ):
        np.testing.assert_array_equal(mask, wanted)
