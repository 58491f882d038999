"""ArcFace from ONNX files: small ones of the same contract, and a real embedder."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from difffae.arrays import AlignedU8
from difffae.face.arcface import ArcFaceEncoder, load_arcface
from difffae.face.identity import ARCFACE_TEMPLATE, align_face, five_points
from difffae.face.licensed import LicensedFileError
from face_media import TrackedPortrait

onnx = pytest.importorskip("onnx", reason="no onnx here to write networks with")

WIDTH = 512
STRIDE = 28


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a small embedder's file says: a strided convolution, then one linear layer."""

    batch: int | str = "None"
    side: int = 112
    width: int = WIDTH
    is_normalising: bool = False
    is_flat: bool = True
    num_outputs: int = 1


def weights(width: int, side: int = 112) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.RandomState(0)
    kernel = random.standard_normal((8, 3, STRIDE, STRIDE)) / STRIDE
    linear = random.standard_normal((width, 8 * (side // STRIDE) ** 2))
    return kernel.astype(np.float32), linear.astype(np.float32)


def write_onnx(path: Path, draft: Draft) -> Path:
    """A network with insightface's input and output, and the node names of its two exporters."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    kernel, linear = weights(draft.width, draft.side)
    constants = {"kernel": kernel, "linear": linear}
    nodes = []
    if draft.is_normalising:
        constants |= {"mean": np.float32([127.5]), "scale": np.float32([1 / 127.5])}
        nodes.append(helper.make_node("Sub", ["data", "mean"], ["a"], name="_minusscalar0"))
        nodes.append(helper.make_node("Mul", ["a", "scale"], ["b"], name="_mulscalar0"))
    start = "b" if draft.is_normalising else "data"
    strides = [STRIDE, STRIDE]
    nodes.append(helper.make_node("Conv", [start, "kernel"], ["c"], name="Conv_0", strides=strides))
    nodes.append(helper.make_node("Flatten", ["c"], ["d"], name="Flatten_1"))
    nodes.append(helper.make_node("Gemm", ["d", "linear"], ["e"], name="Gemm_2", transB=1))
    names = (["e"] if draft.is_flat else ["c"]) + ["d"] * (draft.num_outputs - 1)
    float_type = onnx.TensorProto.FLOAT
    shape = [draft.batch, 3, draft.side, draft.side]
    graph = helper.make_graph(
        nodes,
        "embedder",
        [helper.make_tensor_value_info("data", float_type, shape)],
        [helper.make_tensor_value_info(name, float_type, None) for name in names],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


def expected_tokens(faces: Tensor, width: int = WIDTH) -> Tensor:
    kernel, linear = (torch.from_numpy(each) for each in weights(width))
    embedded = F.conv2d(faces, kernel, stride=STRIDE).flatten(1) @ linear.T
    return embedded / embedded.norm(dim=1, keepdim=True) * width**0.5


def random_faces(count: int) -> tuple[list[AlignedU8], Tensor]:
    """Aligned faces, RGB, and the same as the networks get them."""
    drawn = np.random.default_rng(3).integers(0, 256, (count, 112, 112, 3), dtype=np.uint8)
    return list(drawn), torch.from_numpy(drawn / np.float32(127.5) - 1).permute(0, 3, 1, 2)


@pytest.mark.parametrize("is_normalising", [False, True])
def test_tokens_are_the_embeddings_at_length_sqrt_of_their_width(
    tmp_path: Path, is_normalising: bool
) -> None:
    path = write_onnx(tmp_path / "net.onnx", Draft(is_normalising=is_normalising))
    _, faces = random_faces(3)
    tokens = ArcFaceEncoder(path)(faces)
    torch.testing.assert_close(tokens, expected_tokens(faces), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tokens.norm(dim=1), torch.full((3,), WIDTH**0.5))


@pytest.mark.parametrize("is_normalising", [False, True])
def test_tokens_are_those_of_insightface(tmp_path: Path, is_normalising: bool) -> None:
    arcface_onnx = pytest.importorskip("insightface.model_zoo.arcface_onnx")
    path = write_onnx(tmp_path / "net.onnx", Draft(is_normalising=is_normalising))
    pictures, faces = random_faces(4)
    theirs = arcface_onnx.ArcFaceONNX(model_file=str(path)).get_feat(
        [picture[..., ::-1] for picture in pictures]
    )
    unit = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    ours = ArcFaceEncoder(path)(faces).numpy() / WIDTH**0.5
    np.testing.assert_allclose(ours, unit, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*estimate.*:FutureWarning")  # insightface calls skimage's old
def test_faces_are_aligned_as_insightface_aligns_them() -> None:
    face_align = pytest.importorskip("insightface.utils.face_align")
    random = np.random.default_rng(5)
    picture = random.integers(0, 256, (300, 260, 3), dtype=np.uint8)
    for _ in range(20):
        turn, size = random.uniform(-0.7, 0.7), random.uniform(0.4, 2.5)
        spin = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        five = ARCFACE_TEMPLATE @ spin.T + random.uniform(20, 120, 2) + random.normal(0, 3, (5, 2))
        points = five.astype(np.float32)
        theirs = face_align.norm_crop(picture, points).astype(int)
        difference = np.abs(align_face(picture, points).astype(int) - theirs)
        assert difference.max() <= 8  # a step of warpAffine's 1/32 pixel, on noise
        assert (difference > 0).mean() < 0.01


def test_points_on_the_template_leave_even_noise_alone() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    np.testing.assert_array_equal(align_face(picture, ARCFACE_TEMPLATE), picture)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_file_of_a_fixed_batch_takes_any_number_of_faces(tmp_path: Path, batch: int) -> None:
    _, faces = random_faces(5)
    encoder = ArcFaceEncoder(write_onnx(tmp_path / "net.onnx", Draft(batch=batch)))
    torch.testing.assert_close(encoder(faces), expected_tokens(faces), atol=1e-4, rtol=1e-4)


def test_red_and_blue_are_not_taken_for_one_another(tmp_path: Path) -> None:
    _, faces = random_faces(1)
    encoder = ArcFaceEncoder(write_onnx(tmp_path / "net.onnx", Draft()))
    cosine = F.cosine_similarity(encoder(faces), encoder(faces.flip(1)))
    assert cosine < 0.9


def test_a_copy_still_works_and_there_is_nothing_to_train_or_save(tmp_path: Path) -> None:
    _, faces = random_faces(2)
    encoder = ArcFaceEncoder(write_onnx(tmp_path / "net.onnx", Draft()))
    holder = torch.nn.ModuleDict({"identity": encoder, "other": torch.nn.Linear(2, 2)})
    copied = copy.deepcopy(holder)
    torch.testing.assert_close(copied["identity"](faces), encoder(faces))
    assert list(encoder.parameters()) == []
    assert encoder.state_dict() == {}


def test_no_gradient_passes_to_the_picture(tmp_path: Path) -> None:
    _, faces = random_faces(1)
    encoder = ArcFaceEncoder(write_onnx(tmp_path / "net.onnx", Draft()))
    assert not encoder(faces.requires_grad_()).requires_grad


@pytest.mark.parametrize(
    ("pack", "place"),
    [
        ("buffalo_l", "buffalo_l/w600k_r50.onnx"),
        ("antelopev2", "antelopev2/glintr100.onnx"),
        ("antelopev2", "antelopev2/antelopev2/glintr100.onnx"),
    ],
)
def test_a_pack_is_found_where_insightface_unpacks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: str, place: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".insightface" / "models" / place
    path.parent.mkdir(parents=True)
    write_onnx(path, Draft())
    assert load_arcface(pack, width=WIDTH).width == WIDTH


def test_a_pack_that_is_not_installed_is_named_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(LicensedFileError, match=r"buffalo_l.*insightface") as raised:
        load_arcface("buffalo_l")
    assert str(tmp_path / ".insightface" / "models" / "buffalo_l") in str(raised.value)


def text_file(path: Path) -> Path:
    path.write_text("this is text, not a network", "utf-8")
    return path


def truncated_file(path: Path) -> Path:
    content = write_onnx(path, Draft()).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path, "no such file"),
        (text_file, "no ONNX file"),
        (truncated_file, "no ONNX file"),
        (lambda path: path.write_bytes(b""), "no ONNX file"),
        (lambda path: write_onnx(path, Draft(side=224)), "not faces of 3x112x112"),
        (lambda path: write_onnx(path, Draft(num_outputs=2)), "2 outputs"),
        (lambda path: write_onnx(path, Draft(is_flat=False)), "not a vector"),
        (lambda path: write_onnx(path, Draft(width=128)), "model.identity.width is 512"),
    ],
)
def test_a_file_that_will_not_do_is_refused_by_its_key(
    tmp_path: Path, write: Callable[[Path], Any], said: str
) -> None:
    path = tmp_path / "net.onnx"
    write(path)
    with pytest.raises(LicensedFileError, match=said) as raised:
        load_arcface(str(path), width=WIDTH)
    assert str(path) in str(raised.value)
    assert "model.face.licensed.arcface" in str(raised.value)


def test_nothing_set_is_refused_by_its_key() -> None:
    with pytest.raises(LicensedFileError, match=r"model\.face\.licensed\.arcface is not set"):
        load_arcface(None)


@pytest.fixture(scope="module")
def real(data_root: Path) -> ArcFaceEncoder:
    path = data_root / "weights" / "MobileFaceNet.onnx"
    if not path.is_file():
        pytest.skip(f"no embedder at {path}")
    return ArcFaceEncoder(path)


def test_a_real_embedder_knows_a_face_and_its_colours(
    real: ArcFaceEncoder, tracked: TrackedPortrait
) -> None:
    aligned = align_face(tracked.image, five_points(tracked.points))
    face = torch.from_numpy(aligned / np.float32(127.5) - 1).permute(2, 0, 1)[None]
    shifted = five_points(tracked.points) + np.float32([1.5, -1])
    moved = align_face(tracked.image, shifted)
    again = torch.from_numpy(moved / np.float32(127.5) - 1).permute(2, 0, 1)[None]
    token, near, swapped = real(torch.cat([face, again, face.flip(1)]))
    assert real.width == 128
    assert float(token.norm()) == pytest.approx(128**0.5, rel=1e-5)
    assert F.cosine_similarity(token, near, dim=0) > 0.85
    assert F.cosine_similarity(token, swapped, dim=0) < F.cosine_similarity(token, near, dim=0)


def test_the_real_embedders_tokens_are_those_of_insightface(
    real: ArcFaceEncoder, tracked: TrackedPortrait, data_root: Path
) -> None:
    arcface_onnx = pytest.importorskip("insightface.model_zoo.arcface_onnx")
    path = data_root / "weights" / "MobileFaceNet.onnx"
    aligned = align_face(tracked.image, five_points(tracked.points))
    theirs = arcface_onnx.ArcFaceONNX(model_file=str(path)).get_feat(aligned[..., ::-1])[0]
    face = torch.from_numpy(aligned / np.float32(127.5) - 1).permute(2, 0, 1)[None]
    unit = theirs / np.linalg.norm(theirs)
    np.testing.assert_allclose(real(face)[0].numpy() / 128**0.5, unit, atol=1e-5)
