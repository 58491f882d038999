"""LPIPS against its definition, computed here layer by layer from the file's own tensors."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from difffae.checkpoint import WeightsError
from difffae.metrics.lpips import Lpips, load_lpips

# By torchvision's numbers: (in, out, kernel, stride, padding) of each convolution.
ALEXNET = {
    0: (3, 64, 11, 4, 2),
    3: (64, 192, 5, 1, 2),
    6: (192, 384, 3, 1, 1),
    8: (384, 256, 3, 1, 1),
    10: (256, 256, 3, 1, 1),
}
_VGG = ((0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256))
_VGG_END = ((14, 256, 256), (17, 256, 512), *((n, 512, 512) for n in (19, 21, 24, 26, 28)))
VGG16 = {number: (before, after, 3, 1, 1) for number, before, after in (*_VGG, *_VGG_END)}
POOL = {"alexnet": {2: 3, 5: 3}, "vgg16": {4: 2, 9: 2, 16: 2, 23: 2}}
READ = {"alexnet": (1, 4, 7, 9, 11), "vgg16": (3, 8, 15, 22, 29)}
CONVOLUTIONS = {"alexnet": ALEXNET, "vgg16": VGG16}
Given = dict[str, Tensor]


def random_tensors(trunk: str) -> Given:
    random = np.random.default_rng(0)
    tensors: Given = {}
    for number, (before, after, side, _, _) in CONVOLUTIONS[trunk].items():
        spread = (2 / (before * side * side)) ** 0.5
        values = random.standard_normal((after, before, side, side), np.float32) * spread
        tensors[f"features.{number}.weight"] = torch.from_numpy(values)
        tensors[f"features.{number}.bias"] = torch.from_numpy(
            random.standard_normal(after, np.float32) * 0.1
        )
    for layer, number in enumerate(READ[trunk]):
        width = CONVOLUTIONS[trunk][number - 1][1]
        tensors[f"lin{layer}.model.1.weight"] = torch.from_numpy(
            random.random((1, width, 1, 1), np.float32)
        )
    return tensors


def by_hand(trunk: str, tensors: Given, image: Tensor, target: Tensor) -> float:
    """Equation 1, one layer after the other, for one pair."""
    pools = POOL[trunk]
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    pair = [
        torch.from_numpy((x.numpy() - shift[:, None, None]) / scale[:, None, None])[None].float()
        for x in (image, target)
    ]
    total = 0.0
    for number in range(READ[trunk][-1] + 1):
        if number in CONVOLUTIONS[trunk]:
            weight, bias = (tensors[f"features.{number}.{kind}"] for kind in ("weight", "bias"))
            _, _, _, stride, padding = CONVOLUTIONS[trunk][number]
            pair = [F.conv2d(x, weight, bias, stride, padding) for x in pair]
        elif number in pools:
            pair = [F.max_pool2d(x, pools[number], 2) for x in pair]
        else:
            pair = [x.clamp_min(0) for x in pair]
        if number in READ[trunk]:
            layer = READ[trunk].index(number)
            a, b = (x[0].numpy().astype(np.float64) for x in pair)
            a, b = (x / (np.sqrt((x**2).sum(0)) + 1e-10) for x in (a, b))
            learned = tensors[f"lin{layer}.model.1.weight"].numpy()[0]
            total += float((learned * (a - b) ** 2).sum(0).mean())
    return total


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Given]]:
    folder = tmp_path_factory.mktemp("lpips")

    def written(trunk: str) -> tuple[Path, Given]:
        tensors = random_tensors(trunk)
        path = folder / f"{trunk}.safetensors"
        save_file(tensors, path)
        return path, tensors

    return written


def pair(side: int = 64) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, side, side, generator=draw) * 2 - 1
    noise = torch.randn(2, 3, side, side, generator=draw)
    return image, (image + 0.2 * noise).clamp(-1, 1)


@pytest.mark.parametrize("trunk", ["alexnet", "vgg16"])
def test_the_distance_is_the_definitions(
    trunk: str, weights: Callable[[str], tuple[Path, Given]]
) -> None:
    path, tensors = weights(trunk)
    distance = load_lpips(path)
    assert distance.name == f"LPIPS 0.1 ({trunk})"
    image, target = pair()
    given = distance(image, target)
    wanted = [by_hand(trunk, tensors, image[k], target[k]) for k in range(2)]
    assert wanted[0] > 0.01
    assert given.tolist() == pytest.approx(wanted, rel=1e-4)
    assert distance(image, image).tolist() == [0, 0]


def test_lpips_own_names_and_more_are_understood(
    tmp_path: Path, weights: Callable[[str], tuple[Path, Given]]
) -> None:
    path, tensors = weights("alexnet")
    slices = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}
    renamed = {"scaling_layer.shift": torch.zeros(3), "classifier.1.weight": torch.zeros(2)}
    for name, tensor in tensors.items():
        if name.startswith("features."):
            number, kind = name.split(".")[1:]
            name = f"net.slice{slices[int(number)]}.{number}.{kind}"
        renamed[name] = tensor
    save_file(renamed, tmp_path / "own.safetensors")
    image, target = pair()
    assert torch.equal(
        load_lpips(tmp_path / "own.safetensors")(image, target), load_lpips(path)(image, target)
    )


def test_gradient_reaches_the_images_alone_and_black_features_do_not_break_it() -> None:
    distance = Lpips("alexnet")
    for layer in distance.features:
        if hasattr(layer, "bias"):
            torch.nn.init.constant_(layer.bias, -10.0)  # every activation is zero
    image, target = pair()
    image.requires_grad_()
    target.requires_grad_()
    distance(image, target).sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert target.grad is None
    alive = Lpips("alexnet")
    image.grad = None
    alive(image, target).sum().backward()
    assert image.grad.abs().max() > 0
    assert not any(weight.requires_grad for weight in alive.parameters())
    assert not alive.train().features.training


def test_without_a_file_the_error_says_what_it_is_and_where_to_name_it(tmp_path: Path) -> None:
    for path in (None, tmp_path / "none.safetensors"):
        with pytest.raises(WeightsError, match="no file") as caught:
            load_lpips(path)
        for said in ("torchvision", "pip install lpips", "training.loss.lpips_weights"):
            assert said in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("features.0.weight", "is not LPIPS: got"),
        ("lin3.model.1.weight", "4 learned layers of 5"),
        ("features.8.bias", "is not LPIPS on alexnet"),
    ],
)
def test_a_file_that_lacks_a_tensor_is_refused(
    missing: str, reason: str, tmp_path: Path, weights: Callable[[str], tuple[Path, Given]]
) -> None:
    _, tensors = weights("alexnet")
    del tensors[missing]
    save_file(tensors, tmp_path / "less.safetensors")
    with pytest.raises(WeightsError, match=reason):
        load_lpips(tmp_path / "less.safetensors")


def test_learned_layers_of_the_other_trunk_are_refused(
    tmp_path: Path, weights: Callable[[str], tuple[Path, Given]]
) -> None:
    _, tensors = weights("alexnet")
    tensors["lin1.model.1.weight"] = torch.ones(1, 128, 1, 1)
    save_file(tensors, tmp_path / "mixed.safetensors")
    with pytest.raises(WeightsError, match="other shapes"):
        load_lpips(tmp_path / "mixed.safetensors")
