from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.data import chelsea, coffee
from torch import Tensor

from difffae.checkpoint import WeightsError, save_tensors
from difffae.metrics.perceptual import FeatureDistance, load_feature_distance

# Of the Caffe weights on the astronaut, with this module once it told the cat and the coffee.
RECORDED_MEANS = [11.76236, 24.31748, 18.0484, 14.34874, 1.55584]
RECORDED_DISTANCES = [1.53278, 2.58858]
EGYPTIAN_CAT, ESPRESSO, TABBY, TIGER_CAT = 285, 967, 281, 282


@pytest.fixture(scope="session")
def distance(data_root: Path) -> FeatureDistance:
    path = data_root / "weights" / "squeezenet11.safetensors"
    if not path.is_file():
        pytest.skip(f"no SqueezeNet weights at {path}")
    return load_feature_distance(path)


@pytest.fixture(scope="module")
def untrained() -> FeatureDistance:
    torch.manual_seed(0)
    return FeatureDistance()


def as_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


def random_images(*, count: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_layers_have_squeezenets_shapes(untrained: FeatureDistance) -> None:
    shapes = [tuple(layer.shape) for layer in untrained.activations(torch.zeros(2, 3, 256, 256))]
    assert shapes == [
        (2, 64, 127, 127),
        (2, 128, 63, 63),
        (2, 256, 31, 31),
        (2, 384, 15, 15),
        (2, 512, 15, 15),
    ]


def test_equal_pictures_are_at_distance_zero_and_the_distance_is_symmetric(
    untrained: FeatureDistance,
) -> None:
    one, other = random_images(count=2, seed=1), random_images(count=2, seed=2)
    assert untrained(one, one).tolist() == [0, 0]
    assert torch.allclose(untrained(one, other), untrained(other, one))
    assert (untrained(one, other) > 0).all()


def test_distance_is_the_sum_over_layers_of_two_minus_two_cosines(
    untrained: FeatureDistance,
) -> None:
    one, other = random_images(seed=1), random_images(seed=2)
    pairs = zip(untrained.activations(one), untrained.activations(other), strict=True)
    wanted = sum((2 - 2 * F.cosine_similarity(a, b, dim=1)).mean() for a, b in pairs)
    assert untrained(one, other).item() == pytest.approx(float(wanted), abs=1e-4)


def test_gradient_reaches_the_picture_and_no_weight(untrained: FeatureDistance) -> None:
    images = random_images(seed=1).requires_grad_()
    untrained(images, random_images(seed=2)).sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in untrained.parameters())


def test_flat_pictures_give_finite_gradients(untrained: FeatureDistance) -> None:
    images = torch.zeros(1, 3, 64, 64, requires_grad=True)
    untrained(images, random_images()).sum().backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()


def test_training_a_parent_leaves_it_in_evaluation_mode(untrained: FeatureDistance) -> None:
    parent = torch.nn.ModuleList([untrained]).train()
    assert parent.training
    assert not untrained.training


def test_weights_classify_a_cat_and_a_coffee(distance: FeatureDistance) -> None:
    def best_class(image: np.ndarray) -> int:
        with torch.inference_mode():
            scores = F.relu(distance.conv10(distance.activations(as_tensor(image))[-1]))
        return int(scores.mean((2, 3)).argmax())

    assert best_class(chelsea()[:, 75:375]) in {EGYPTIAN_CAT, TABBY, TIGER_CAT}
    assert best_class(coffee()[:, 100:500]) == ESPRESSO


def test_activations_are_the_recorded_ones(distance: FeatureDistance, portrait: np.ndarray) -> None:
    with torch.inference_mode():
        means = [float(layer.mean()) for layer in distance.activations(as_tensor(portrait))]
    assert means == pytest.approx(RECORDED_MEANS, rel=1e-3)


def test_distance_of_real_pictures_is_the_recorded_one(
    distance: FeatureDistance, rolled: list[np.ndarray]
) -> None:
    with torch.inference_mode():
        measured = [distance(as_tensor(rolled[i]), as_tensor(rolled[0])).item() for i in (1, 2)]
    assert measured == pytest.approx(RECORDED_DISTANCES, rel=5e-3)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_tensors(path, {"conv1.weight": torch.zeros(64, 3, 3, 3)}, {})
    with pytest.raises(WeightsError):
        load_feature_distance(path)
