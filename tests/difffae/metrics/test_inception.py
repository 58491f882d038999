from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from difffae.checkpoint import WeightsError, save_tensors
from difffae.metrics.embedding import InceptionEmbedding
from difffae.metrics.inception import FidInception, load_fid_inception

NUM_PARAMETERS = 23_850_960  # of pytorch-fid's network, its 1008 classes included
# Of pytorch-fid 0.3.0's InceptionV3 with these weights: one feature at least of each last branch.
FEATURES = (100, 500, 900, 1300, 1700, 1900)
PYTORCH_FID = (63.65168, 5.087101, 0.370068, 5.678277, 2.64645, 469.118622)


def formula(name: str, like: Tensor) -> Tensor:
    """Weights that need no file: a sine, scaled so that activations neither vanish nor burst."""
    wave = torch.sin(torch.arange(like.numel(), dtype=torch.float64) * 0.7 + len(name))
    if name.endswith(("running_var", "bn.weight")):
        values = 1 + 0.2 * wave
    elif like.ndim == 4:
        values = wave * (2.0 / like[0].numel()) ** 0.5 * 1.2
    else:
        values = 0.1 * wave
    return values.reshape(like.shape).float()


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    state = FidInception().state_dict()
    return {
        name: formula(name, tensor) for name, tensor in state.items() if "num_batches" not in name
    }


@pytest.fixture(scope="module")
def weights_file(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inception") / "pt_inception.safetensors"
    save_tensors(path, weights, {})
    return path


def test_it_has_as_many_parameters_as_pytorch_fids() -> None:
    assert sum(p.numel() for p in FidInception().parameters()) == NUM_PARAMETERS


def test_features_are_pytorch_fids_for_the_same_weights(weights_file: Path) -> None:
    network = load_fid_inception(weights_file)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
    waves = [torch.sin(x / 5 + y / 9), torch.cos(y / 7), torch.sin(x * y / 200)]
    features = network(torch.stack(waves)[None])
    assert features.shape == (1, 2048)
    assert features[0, list(FEATURES)].tolist() == pytest.approx(PYTORCH_FID, rel=1e-3, abs=1e-3)
    grey = InceptionEmbedding(network).embed(np.full((40, 40, 3), 255, np.uint8))
    assert grey == pytest.approx(network(torch.ones(1, 3, 299, 299))[0].numpy(), rel=1e-3, abs=1e-3)


def test_files_of_other_networks_are_refused_by_their_first_difference(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "torchvision.safetensors"
    other = {**weights, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    save_tensors(path, {k: v[:0] if v.ndim == 4 else v for k, v in other.items()}, {})
    with pytest.raises(WeightsError, match=r"not FID's Inception-v3: \d+ tensors differ"):
        load_fid_inception(path)


def test_the_published_file_is_read_as_torch_saved_it(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    got = load_fid_inception(path).state_dict()["Mixed_7c.branch1x1.conv.weight"]
    assert torch.equal(got, weights["Mixed_7c.branch1x1.conv.weight"])


def test_a_pickle_that_would_run_code_or_ends_early_is_refused(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"fc.bias": weights["fc.bias"], "call": print}, path)
    with pytest.raises(WeightsError, match="is damaged, or"):
        load_fid_inception(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(WeightsError, match="is damaged, or"):
        load_fid_inception(path)
    with pytest.raises(WeightsError, match=r"no file at .*gone\.pth"):
        load_fid_inception(tmp_path / "gone.pth")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights at .*gone\.safetensors"):
        load_fid_inception(tmp_path / "gone.safetensors")
