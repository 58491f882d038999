"""FLAME on a synthetic model of the published layout, against plain skinning in loops."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import expm

from difffae.face.flame import FlameModel, head_yaw, load_embedding, load_flame, main
from difffae.face.licensed import LICENSED, LicensedFileError
from licensed_head import (
    COLUMNS,
    CROWN,
    EYE_CENTRES,
    NUM_VERTICES,
    ROWS,
    synthetic_flame,
)
from licensed_media import contour_points, write_flame, write_landmarks

Array = NDArray[np.float64]
LEFT_EYE, RIGHT_EYE = np.split(np.arange(CROWN + 1, NUM_VERTICES), 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the head model's file and the landmarks' are."""
    folder = tmp_path_factory.mktemp("flame")
    write_flame(folder / "generic_model.pkl")
    write_landmarks(folder / "landmark_embedding.npy")
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> FlameModel:
    """The synthetic head model, with landmarks."""
    return load_flame(folder / "generic_model.pkl", folder / "landmark_embedding.npy")


def codes(count: int, seed: int) -> NDArray[np.float32]:
    """Plausible coefficients."""
    return np.random.default_rng(seed).normal(size=count).astype(np.float32)


def no_pose() -> NDArray[np.float32]:
    return np.zeros((5, 3), np.float32)


def turn(axis_angle: NDArray[np.float32]) -> Array:
    """A rotation as the exponential of its cross-product matrix."""
    x, y, z = (float(part) for part in axis_angle)
    return np.asarray(expm(np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])))


def skin_in_loops(shape: Array, expression: Array, pose: NDArray[np.float32]) -> Array:
    """Li et al. (2017), equations 2 to 4, one vertex and joint at a time, in doubles."""
    flame = synthetic_flame()
    rest = flame.v_template.copy()
    for index, value in enumerate(shape):
        rest += value * flame.shapedirs[:, :, index]
    for index, value in enumerate(expression):
        rest += value * flame.shapedirs[:, :, 300 + index]
    joints = [sum(w * rest[v] for v, w in enumerate(row) if w) for row in flame.J_regressor]
    for joint in range(1, 5):
        difference = turn(pose[joint]) - np.eye(3)
        for row in range(3):
            for column in range(3):
                direction = flame.posedirs[:, :, 9 * (joint - 1) + 3 * row + column]
                rest += difference[row, column] * direction
    chain = [np.eye(4) for _ in range(5)]
    for joint, parent in enumerate([-1, 0, 1, 1, 1]):
        local = np.eye(4)
        local[:3, :3] = turn(pose[joint])
        local[:3, 3] = joints[joint] - (joints[parent] if joint else 0)
        chain[joint] = chain[parent] @ local if joint else local
    posed = np.zeros_like(rest)
    for vertex, point in enumerate(rest):
        for joint, weight in enumerate(flame.weights[vertex]):
            if weight:
                posed[vertex] += weight * (chain[joint] @ [*(point - joints[joint]), 1])[:3]
    return posed


@pytest.mark.parametrize("counts", [(100, 50), (300, 100), (10, 0)])
def test_vertices_are_those_of_plain_skinning(model: FlameModel, counts: tuple[int, int]) -> None:
    shape, expression = codes(counts[0], 1), codes(counts[1], 2)
    pose = 0.4 * codes(15, 3).reshape(5, 3)
    got = model.vertices(shape, expression, pose)
    expected = skin_in_loops(shape.astype(float), expression.astype(float), pose)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=2e-7)


def test_zero_codes_give_the_template(model: FlameModel) -> None:
    got = model.vertices(np.zeros(100, np.float32), np.zeros(50, np.float32), no_pose())
    np.testing.assert_allclose(got, synthetic_flame().v_template, atol=1e-7)
    np.testing.assert_array_equal(model.faces, synthetic_flame().f)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_quarter_turn_about_y_moves_the_nose_to_the_side(model: FlameModel, sign: int) -> None:
    pose = no_pose()
    pose[0, 1] = sign * np.pi / 2
    neutral = model.template
    nose = int(np.argmax(neutral[:, 2]))
    turned = model.vertices(np.zeros(100, np.float32), np.zeros(50, np.float32), pose)
    root = synthetic_flame().J_regressor[0] @ synthetic_flame().v_template
    np.testing.assert_allclose(turned[nose, 0], sign * (neutral[nose, 2] - root[2]), atol=1e-6)
    assert int(np.argmax(sign * turned[:, 0])) == nose


def test_expression_begins_at_column_300(model: FlameModel) -> None:
    for column in (0, 1, 49):
        expression = np.zeros(50, np.float32)
        expression[column] = 2
        got = model.vertices(np.zeros(100, np.float32), expression, no_pose())
        offset = 2 * synthetic_flame().shapedirs[:, :, 300 + column]
        np.testing.assert_allclose(got - model.template, offset, atol=1e-7)
        assert np.abs(offset).max() > 1e-4


def test_the_jaw_moves_only_what_is_weighted_to_it(model: FlameModel) -> None:
    flame = synthetic_flame()
    arrays = {
        **{name: getattr(flame, name) for name in ("f", "v_template", "shapedirs", "weights")},
        "posedirs": np.zeros_like(flame.posedirs),
        "J_regressor": flame.J_regressor,
        "kintree_table": flame.kintree_table,
    }
    pose = no_pose()
    pose[2, 0] = 0.3
    still = np.zeros(0, np.float32)
    moved = FlameModel(arrays).vertices(still, still, pose) - flame.v_template
    is_jaw = flame.weights[:, 2] > 0
    assert 100 < is_jaw.sum() < 1000
    assert np.abs(moved[~is_jaw]).max() < 1e-7
    chin = int(np.argmin(np.where(flame.weights[:, 2] > 0.9, flame.v_template[:, 1], 1)))
    assert moved[chin, 1] < -0.01  # a positive turn about x opens the mouth
    corrected = model.vertices(still, still, pose) - flame.v_template
    assert np.abs(corrected[~is_jaw]).max() > 1e-5  # its correction reaches further


def test_eyes_turn_about_their_own_centres(model: FlameModel) -> None:
    pose = no_pose()
    pose[3, 1], pose[4, 0] = 0.5, -0.4
    moved = model.vertices(np.zeros(0, np.float32), np.zeros(0, np.float32), pose)
    flame = synthetic_flame()
    correction = flame.posedirs @ np.concatenate(
        [(turn(row) - np.eye(3)).ravel() for row in pose[1:]]
    )
    unposed = flame.v_template + correction
    for part, centre, row in ((LEFT_EYE, EYE_CENTRES[0], 3), (RIGHT_EYE, EYE_CENTRES[1], 4)):
        expected = (unposed[part] - centre) @ turn(pose[row]).T + centre
        np.testing.assert_allclose(moved[part], expected, atol=1e-6)


def test_a_person_is_worked_out_once_and_serves_every_frame(model: FlameModel) -> None:
    shape = codes(100, 5)
    person = model.with_shape(shape)
    assert model.with_shape(shape.copy()) is person
    assert model.with_shape(-shape) is not person
    expression, pose = codes(50, 6), 0.2 * codes(15, 7).reshape(5, 3)
    first = person.vertices(expression, pose)
    np.testing.assert_array_equal(first, model.vertices(shape, expression, pose))
    np.testing.assert_array_equal(first, person.vertices(expression, pose))


def test_too_many_codes_are_named(model: FlameModel) -> None:
    with pytest.raises(ValueError, match="got 301 shape coefficients, expected at most 300"):
        model.with_shape(np.zeros(301, np.float32))
    with pytest.raises(ValueError, match="got 101 expression coefficients, expected at most 100"):
        model.vertices(np.zeros(0, np.float32), np.zeros(101, np.float32), no_pose())


def outline_error(model: FlameModel, yaw: float) -> float:
    """How far the outline's landmarks are from where they belong on a turned head [m]."""
    rotation = np.array([0, yaw, 0], np.float32)
    pose = no_pose()
    pose[0] = rotation
    vertices = model.vertices(np.zeros(0, np.float32), np.zeros(0, np.float32), pose)
    found = model.landmarks(vertices, rotation)[:17]
    flame = synthetic_flame()
    root = flame.J_regressor[0] @ flame.v_template
    belongs = flame.v_template[flame.f[flame.nearest_faces(contour_points(yaw))]].mean(1)
    return float(np.abs(found - ((belongs - root) @ turn(rotation).T + root)).max())


@pytest.mark.parametrize("bin_sign", [1, -1])
def test_the_outline_follows_a_turn_whichever_sense_the_file_has(
    tmp_path: Path, bin_sign: int
) -> None:
    landmarks = write_landmarks(tmp_path / "landmarks.npy", bin_sign)
    flame = synthetic_flame()
    arrays = {"f": flame.f, "v_template": flame.v_template}
    embedding = load_embedding(landmarks, arrays)
    assert embedding.sign == bin_sign
    fields = {name: getattr(flame, name) for name in ("shapedirs", "posedirs", "weights")}
    fields |= {"J_regressor": flame.J_regressor, "kintree_table": flame.kintree_table}
    model = FlameModel(arrays | fields, embedding)
    for degrees in (-39, -20, -1, 0, 1, 20, 39):
        assert outline_error(model, np.deg2rad(degrees)) < 1e-6


def test_the_outline_is_the_silhouettes_on_the_side_a_head_turns_to(model: FlameModel) -> None:
    for degrees in (-30, 30):
        rotation = np.array([0, np.deg2rad(degrees), 0], np.float32)
        pose = no_pose()
        pose[0] = rotation
        vertices = model.vertices(np.zeros(0, np.float32), np.zeros(0, np.float32), pose)
        end = 16 if degrees > 0 else 0
        near = model.landmarks(vertices, rotation)[end]
        stale = model.landmarks(vertices, np.zeros(3, np.float32))[end]
        head = vertices[: ROWS * COLUMNS]
        row = head[np.abs(head[:, 1] - near[1]) < 0.008]
        edge = np.abs(row[:, 0] - near[0])[np.argmax(np.sign(degrees) * row[:, 0])]
        assert edge < 0.005
        assert near[2] > stale[2] + 0.03  # which has turned out of sight


def test_turns_beyond_39_degrees_use_the_last_outline(model: FlameModel) -> None:
    vertices = model.template
    for sign in (1, -1):
        last, beyond = (np.array([0, np.deg2rad(sign * d), 0], np.float32) for d in (39, 80))
        np.testing.assert_array_equal(
            model.landmarks(vertices, last), model.landmarks(vertices, beyond)
        )
    nearly = np.array([0, np.deg2rad(30), 0], np.float32)
    assert not np.array_equal(model.landmarks(vertices, nearly), model.landmarks(vertices, beyond))


def test_static_landmarks_lie_on_the_face_in_their_order(model: FlameModel) -> None:
    points = model.landmarks(model.template, np.zeros(3, np.float32))
    assert points[36:42, 0].mean() < -0.02 < 0.02 < points[42:48, 0].mean()  # eyes
    assert points[33, 1] > points[51, 1] > points[57, 1] > points[8, 1]  # nose, lips, chin
    assert (points[17:, 2] > 0).all()


def test_yaw_is_positive_about_y() -> None:
    assert head_yaw(np.array([0, 0.5, 0], np.float32)) == pytest.approx(0.5)
    assert head_yaw(np.array([0, -0.5, 0], np.float32)) == pytest.approx(-0.5)
    assert head_yaw(np.array([0.7, 0, 0], np.float32)) == pytest.approx(0, abs=1e-7)
    assert head_yaw(np.array([0, 0, 0.7], np.float32)) == pytest.approx(0, abs=1e-7)


def test_landmarks_without_their_file_say_which_key_to_set(folder: Path) -> None:
    model = load_flame(folder / "generic_model.pkl")
    with pytest.raises(LicensedFileError, match=r"model\.face\.licensed\.landmarks"):
        model.landmarks(model.template, np.zeros(3, np.float32))


@pytest.mark.parametrize("version", ["2020", "2023", "2023-open"])
def test_every_publication_and_its_conversion_give_the_same_head(
    version: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, converted = tmp_path / "some.pkl", tmp_path / "flame.safetensors"
    write_flame(path, version)  # type: ignore[arg-type]
    assert main([str(path), str(converted)]) == 0
    archive = tmp_path / "flame.npz"
    flame = synthetic_flame()
    names = ("f", "v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights")
    np.savez(archive, **{name: getattr(flame, name) for name in names})
    pose = 0.3 * codes(15, 3).reshape(5, 3)
    expected = skin_in_loops(np.ones(3), np.ones(2), pose)
    with caplog.at_level(logging.WARNING):
        for file in (path, converted, archive):
            got = load_flame(file).vertices(np.ones(3, np.float32), np.ones(2, np.float32), pose)
            np.testing.assert_allclose(got, expected, atol=2e-7)
    assert "some.pkl has the unknown SHA-256" in caplog.text
    assert "flame.safetensors" not in caplog.text


def test_the_model_says_which_publication_it_is_also_once_converted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, converted = folder / "generic_model.pkl", tmp_path / "flame.safetensors"
    main([str(path), str(converted)])
    assert load_flame(path).version is load_flame(converted).version is None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known = {"flame": replace(LICENSED["flame"], sha256={digest[:8]: "2020"})}
    monkeypatch.setattr("difffae.face.licensed.LICENSED", known)
    assert load_flame(path).version == "2020"
    main([str(path), str(converted)])
    assert load_flame(converted).version == "2020"


def test_conversion_of_another_file_fails_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.pkl").write_bytes(b"N.")
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "x.pkl"), str(tmp_path / "y.safetensors")])
    assert "it holds a NoneType" in capsys.readouterr().err
    assert not (tmp_path / "y.safetensors").exists()
