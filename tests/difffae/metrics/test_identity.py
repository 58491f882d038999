from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from difffae.arrays import ImageU8, Points3
from difffae.metrics.identity import TEMPLATE, Embedder, align, alignment, cosine, five_points
from difffae.metrics.landmarks import LandmarkMeter


@pytest.fixture(scope="session")
def embedder(data_root: Path) -> Embedder:
    path = data_root / "weights" / "MobileFaceNet.onnx"
    if not path.is_file():
        pytest.skip(f"no embedder at {path}")
    return Embedder(path)


def test_the_template_itself_is_aligned_by_the_identity() -> None:
    matrix = alignment(np.array(TEMPLATE, np.float32))
    np.testing.assert_allclose(matrix, np.eye(3)[:2], atol=1e-4)


def test_alignment_undoes_a_similarity() -> None:
    angle, scale, shift = np.radians(30), 2.5, np.array([40, -7])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (np.array(TEMPLATE) @ turn.T + shift).astype(np.float32)
    matrix = alignment(points)
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=1e-3)
    np.testing.assert_allclose(matrix[:, :2] @ turn, np.eye(2), atol=1e-5)


def test_alignment_never_mirrors_a_face() -> None:
    mirrored = (np.array(TEMPLATE) * [-1, 1]).astype(np.float32)
    assert np.linalg.det(alignment(mirrored)[:, :2]) > 0


def test_five_points_are_in_the_templates_order(face_points: Points3) -> None:
    points = five_points(face_points)
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_aligned_face_has_its_features_near_the_template(
    portrait: ImageU8, landmarks: LandmarkMeter
) -> None:
    points = landmarks.points(portrait)
    assert points is not None
    matrix = alignment(five_points(points))
    expected = five_points(points) @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(expected - np.array(TEMPLATE)).mean() < 4
    aligned = align(portrait, points)
    assert aligned.shape == (112, 112, 3)
    again = landmarks.points(cv2.resize(aligned, (224, 224)))
    assert again is not None
    assert np.abs(five_points(again) / 2 - expected).max() < 3


def test_embedding_has_unit_length_and_knows_red_from_blue(
    embedder: Embedder, portrait: ImageU8, face_points: Points3
) -> None:
    embedding = embedder.embed(portrait, face_points)
    swapped = embedder.embed(np.ascontiguousarray(portrait[..., ::-1]), face_points)
    assert embedding.shape == (128,)
    assert float(np.linalg.norm(embedding)) == pytest.approx(1, abs=1e-5)
    assert cosine(embedding, embedding) == pytest.approx(1, abs=1e-5)
    assert cosine(embedding, swapped) < 0.99


def test_one_person_is_near_and_strangers_are_far(
    embedder: Embedder, landmarks: LandmarkMeter, data_root: Path
) -> None:
    files = sorted((data_root / "stills" / "london").glob("*.jpg"), key=number)
    pairs = [(a, b) for a, b in pairwise(files) if number(a) == number(b)][:8]
    if len(pairs) < 8:
        pytest.skip("no London portraits")
    people = [[embed(embedder, landmarks, path) for path in pair] for pair in pairs]
    same = [cosine(first, second) for first, second in people]
    strangers = [cosine(a[0], b[0]) for a, b in pairwise(people)]
    assert np.mean(same) > 0.85
    assert abs(np.mean(strangers)) < 0.2


def number(portrait: Path) -> str:
    """Of the person: neutral and smiling portraits share it."""
    return portrait.stem.split("_front_")[1].split("_")[0]


def embed(embedder: Embedder, landmarks: LandmarkMeter, path: Path) -> np.ndarray:
    image = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
    points = landmarks.points(image)
    assert points is not None
    return embedder.embed(image, points)


def test_a_missing_file_and_one_that_is_no_onnx_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no embedder at"):
        Embedder(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("this is text, not a network", "utf-8")
    with pytest.raises(ValueError, match="not an ONNX model"):
        Embedder(tmp_path / "text.onnx")
