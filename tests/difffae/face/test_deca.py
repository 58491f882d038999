"""DECA: names, shapes, order of the codes, what its networks see, which files are taken."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from deca_media import (
    NoFeatures,
    decoder_shapes,
    encoder_shapes,
    planted_deca,
    published_checkpoint,
)
from difffae.face.deca import CodeEncoder, Codes, DisplacementDecoder, load_deca
from difffae.face.licensed import LicensedFileError


def save(path: Path, content: object, **options: bool) -> Path:
    """Write a checkpoint as DECA's authors did."""
    torch.save(content, path, **options)
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the published layout."""
    return save(tmp_path_factory.mktemp("deca") / "deca_model.tar", published_checkpoint())


@pytest.fixture
def crop() -> np.ndarray:
    """Noise of the crop's size."""
    return np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)


def test_names_and_shapes_are_the_published_ones() -> None:
    with torch.device("meta"):
        networks = CodeEncoder(236), CodeEncoder(128), DisplacementDecoder()
    shapes = encoder_shapes(236), encoder_shapes(128), decoder_shapes()
    for network, expected in zip(networks, shapes, strict=True):
        got = {name: tuple(values.shape) for name, values in network.state_dict().items()}
        assert got == expected
    counts = [sum(values.numel() for values in network.parameters()) for network in networks]
    assert counts[0] == 23_508_032 + 2048 * 1024 + 1024 + 1024 * 236 + 236  # 25.85 M
    assert counts[1] == 25_737_408  # 25.74 M


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_codes_come_in_the_published_order(tmp_path: Path, crop: np.ndarray, is_zip: bool) -> None:
    path = save(
        tmp_path / "deca_model.tar", published_checkpoint(), _use_new_zipfile_serialization=is_zip
    )
    codes = load_deca(path).encode(crop)
    np.testing.assert_array_equal(codes.shape, np.arange(0, 100))
    np.testing.assert_array_equal(codes.albedo, np.arange(100, 150))
    np.testing.assert_array_equal(codes.expression, np.arange(150, 200))
    np.testing.assert_array_equal(codes.pose, np.arange(200, 206))
    np.testing.assert_array_equal(codes.camera, np.arange(206, 209))
    assert codes.lighting.shape == (9, 3)
    np.testing.assert_array_equal(codes.lighting[0], [209, 210, 211])  # red, green, blue
    np.testing.assert_array_equal(codes.lighting[8], [233, 234, 235])


def test_detail_codes_come_from_their_own_encoder(published: Path, crop: np.ndarray) -> None:
    np.testing.assert_array_equal(load_deca(published).encode_detail(crop), np.arange(128))


def test_networks_see_rgb_between_0_and_1_and_nothing_else_done(crop: np.ndarray) -> None:
    trunks = NoFeatures(), NoFeatures()
    deca = planted_deca({})
    coarse, detail = deca._coarse, deca._detail
    coarse.encoder, detail.encoder = trunks
    deca.encode(crop)
    deca.encode_detail(crop)
    for trunk in trunks:
        (seen,) = trunk.seen
        np.testing.assert_allclose(seen[0].permute(1, 2, 0).numpy(), crop / 255, atol=1e-7)


def reference_displacement(state: dict[str, Tensor], codes: Tensor) -> Tensor:
    """D_detail from its weights' names alone; all but the first norm have an epsilon of 0.8."""

    def norm(x: Tensor, name: str, epsilon: float) -> Tensor:
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, variance, weight, bias = (state[f"{name}.{k}"][:, None, None] for k in keys)
        return (x - mean) / torch.sqrt(variance + epsilon) * weight + bias

    x = F.linear(codes, state["l1.0.weight"], state["l1.0.bias"]).view(-1, 128, 8, 8)
    x = norm(x, "conv_blocks.0", 1e-5)
    for index in (2, 6, 10, 14, 18):
        size = 2 * x.shape[-1]
        x = F.interpolate(x, (size, size), mode="bilinear", align_corners=False)
        name = f"conv_blocks.{index}"
        x = F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)
        x = norm(x, f"conv_blocks.{index + 1}", 0.8)
        x = torch.where(x > 0, x, 0.2 * x)
    x = F.conv2d(x, state["conv_blocks.21.weight"], state["conv_blocks.21.bias"], padding=1)
    return torch.tanh(x) * 0.01


def test_displacement_is_decoded_from_jaw_then_expression_then_detail() -> None:
    torch.manual_seed(3)
    decoder = DisplacementDecoder().eval()
    for name, values in decoder.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            values.uniform_(0.2, 2)
        elif name.endswith("weight"):
            values.mul_(1.8)  # so that codes count for more than biases
    jaw, expression, detail = torch.randn(181).split([3, 50, 128])
    deca = planted_deca({})
    deca._displacement = decoder
    got = deca.displacement(jaw.numpy(), expression.numpy(), detail.numpy())
    with torch.inference_mode():
        expected = reference_displacement(
            decoder.state_dict(), torch.cat([jaw, expression, detail])[None]
        )
    assert got.shape == (256, 256)
    spread = float(expected.std())
    assert spread > 1e-3
    np.testing.assert_allclose(got, expected[0, 0].numpy(), atol=1e-3 * spread)


def test_displacement_stays_within_a_centimetre() -> None:
    decoder = DisplacementDecoder().eval()
    with torch.no_grad():
        decoder.conv_blocks[-2].bias.fill_(100)
        assert float(decoder(torch.zeros(1, 181)).max()) == pytest.approx(0.01)


def test_safetensors_with_prefixes_are_read_too(tmp_path: Path, crop: np.ndarray) -> None:
    tensors = {
        f"{network}.{name}": values.half().contiguous()
        for network, state in published_checkpoint().items()
        for name, values in state.items()
        if not name.endswith("num_batches_tracked")  # as torch wrote none before 0.4.1
    }
    save_file(tensors, tmp_path / "deca.safetensors")
    deca = load_deca(tmp_path / "deca.safetensors")
    codes = deca.encode(crop)
    np.testing.assert_array_equal(codes.camera, [206, 207, 208])
    assert codes.camera.dtype == np.float32


def without(network: str, key: str | None = None) -> Callable[[dict[str, Any]], None]:
    """Take a network, or one tensor of it, out of a checkpoint."""

    def change(checkpoint: dict[str, Any]) -> None:
        if key is None:
            del checkpoint[network]
        else:
            del checkpoint[network][key]

    return change


def of_another_texture_space(checkpoint: dict[str, Any]) -> None:
    """A checkpoint of a model with other codes."""
    checkpoint["E_flame"]["layers.2.bias"] = torch.zeros(334)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("E_detail"), "it has no network E_detail"),
        (
            without("E_flame", "encoder.layer3.5.bn2.running_var"),
            r"it has no tensor E_flame.encoder.layer3.5.bn2.running_var",
        ),
        (of_another_texture_space, r"its E_flame.layers.2.bias is \(334,\), expected \(236,\)"),
    ],
    ids=["no network", "no tensor", "other codes"],
)
def test_a_checkpoint_of_another_model_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    checkpoint: dict[str, Any] = published_checkpoint()
    change(checkpoint)
    path = save(tmp_path / "deca_model.tar", checkpoint)
    with pytest.raises(LicensedFileError, match=reason):
        load_deca(path)


def test_what_else_a_checkpoint_holds_is_left_alone(tmp_path: Path, crop: np.ndarray) -> None:
    checkpoint: dict[str, Any] = published_checkpoint() | {"global_step": 7, "opt": {"state": {}}}
    checkpoint["E_flame"]["encoder.fc.weight"] = torch.zeros(3)
    path = save(tmp_path / "deca_model.tar", checkpoint)
    assert load_deca(path).encode(crop).camera[0] == 206


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_named_with_the_key_to_set(
    tmp_path: Path, share: float, is_zip: bool
) -> None:
    path = save(
        tmp_path / "deca_model.tar", published_checkpoint(), _use_new_zipfile_serialization=is_zip
    )
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(LicensedFileError, match=r"deca_model.tar.*model\.face\.licensed\.deca"):
        load_deca(path)


def test_a_missing_file_and_a_stranger_are_named(tmp_path: Path) -> None:
    with pytest.raises(LicensedFileError, match="there is no such file"):
        load_deca(tmp_path / "deca_model.tar")
    for name, content in (("page.tar", b"<html>sign in</html>"), ("x.safetensors", b"PK\x03\x04")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LicensedFileError, match=name):
            load_deca(tmp_path / name)
    with pytest.raises(LicensedFileError, match="it holds a list"):
        load_deca(save(tmp_path / "list.tar", [1, 2]))


class Intruder:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """What pickle would call."""
        return Path.touch, (self.path,)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(
    tmp_path: Path, is_zip: bool
) -> None:
    content = published_checkpoint() | {"opt": Intruder(tmp_path / "was here")}
    path = save(tmp_path / "deca_model.tar", content, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(LicensedFileError, match="damaged or no torch checkpoint"):
        load_deca(path)
    assert not (tmp_path / "was here").exists()


def test_codes_of_the_wrong_length_are_no_codes() -> None:
    with pytest.raises(Exception, match="236"):
        Codes.from_vector(np.zeros(235, np.float32))
