"""What the user's files make of a run's instruments, and how these are named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from difffae.arrays import ImageU8, Points3
from difffae.checkpoint import WeightsError, save_tensors
from difffae.metrics.identity import ARCFACE_PACKS, ArcFaceEmbedder, load_embedder
from difffae.metrics.inception import FidInception
from difffae.metrics.instruments import load_measurement, load_parameter_meter
from difffae.metrics.lpips import Lpips
from difffae.metrics.perceptual import FeatureDistance
from difffae.metrics.settings import EvaluateConfig


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the right names and shapes, untrained."""
    folder = tmp_path_factory.mktemp("weights")
    save_tensors(folder / "squeezenet.safetensors", FeatureDistance().state_dict(), {})
    save_tensors(folder / "inception.safetensors", FidInception().state_dict(), {})
    lpips = Lpips("alexnet")
    trunk = {f"features.{k}": v for k, v in lpips.features.state_dict().items()}
    learned = {f"lin{i}.model.1.weight": w.detach() for i, w in enumerate(lpips.linear)}
    save_tensors(folder / "lpips.safetensors", {**trunk, **learned}, {})
    return folder


@pytest.fixture
def config(tmp_path: Path) -> EvaluateConfig:
    return EvaluateConfig(clips=tmp_path, csv=tmp_path / "clips.csv")


def test_without_any_file_only_the_tracker_is_named(config: EvaluateConfig) -> None:
    measurement = load_measurement(config)
    names = measurement.names
    assert names.tracker is not None
    assert "facemesh rig (stand-in" in names.tracker
    assert (names.embedder, names.realism, names.perceptual) == (None, None, None)
    assert names.temporal == "tFD"
    assert measurement.realism is None
    assert names.cross == "motion relative to the driver's first frame, the source's own light"


def test_squeezenet_stands_in_under_its_own_name(config: EvaluateConfig, files: Path) -> None:
    chosen = replace(
        config, weights_features=files / "squeezenet.safetensors", motion="absolute", light="driver"
    )
    names = load_measurement(chosen).names
    assert names.realism_columns == ("FD-SqueezeNet", "KD-SqueezeNet x1000")
    assert names.cross == "motion absolute, the driver's light"


def test_the_users_files_give_fid_and_tlp(config: EvaluateConfig, files: Path) -> None:
    chosen = replace(
        config,
        weights_features=files / "squeezenet.safetensors",
        weights_inception=files / "inception.safetensors",
        weights_lpips=files / "lpips.safetensors",
    )
    measurement = load_measurement(chosen)
    names = measurement.names
    assert names.realism_columns == ("FID", "KID x1000")
    assert names.perceptual == "LPIPS 0.1 (alexnet)"
    assert names.temporal == "tLP"
    looks = measurement.instruments.look(np.zeros((64, 64, 3), np.uint8))
    assert looks.realism is not None
    assert looks.realism.shape == (2048,)
    assert measurement.instruments.lpips(looks, looks) == 0


def test_damaged_weights_are_told_at_the_first_picture(config: EvaluateConfig, files: Path) -> None:
    network = FeatureDistance()
    network.fire9.expand1x1.bias.fill_(torch.nan)
    save_tensors(files / "nan.safetensors", network.state_dict(), {})
    measurement = load_measurement(replace(config, weights_features=files / "nan.safetensors"))
    looks = measurement.instruments.look(np.zeros((64, 64, 3), np.uint8))
    assert measurement.realism is not None
    assert looks.realism is not None
    with pytest.raises(ValueError, match="not finite from SqueezeNet"):
        measurement.realism.add("self", "row", looks.realism)


def test_another_models_rig_may_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.yaml"):
        load_parameter_meter(str(tmp_path / "nowhere.yaml"))
    config = tmp_path / "config.yaml"
    config.write_text("model: {}\n", "utf-8")
    with pytest.raises(WeightsError, match=r"head_model\.safetensors"):
        load_parameter_meter(str(config))


def test_flame_without_its_files_is_one_sentence_that_names_the_key(tmp_path: Path) -> None:
    config = tmp_path / "flame.yaml"
    config.write_text("model:\n  face:\n    rig: flame\n    background: black\n", "utf-8")
    with pytest.raises(ValueError, match=r"model\.face\.licensed"):
        load_parameter_meter(str(config))


def test_arcface_gets_the_aligned_face_in_plus_minus_one(
    monkeypatch: pytest.MonkeyPatch, portrait: ImageU8, face_points: Points3
) -> None:
    seen: list[torch.Tensor] = []

    def encoder(faces: torch.Tensor) -> torch.Tensor:
        seen.append(faces)
        return torch.tensor([[3.0, 4.0]])

    monkeypatch.setattr("difffae.metrics.identity.load_arcface", lambda pack: encoder)
    embedder = ArcFaceEmbedder("buffalo_l")
    assert embedder.embed(portrait, face_points) == pytest.approx((0.6, 0.8))
    assert seen[0].shape == (1, 3, 112, 112)
    assert -1 <= float(seen[0].min()) < float(seen[0].max()) <= 1
    assert embedder.name == "ArcFace, insightface buffalo_l (w600k_r50)"


@pytest.mark.parametrize("pack", sorted(ARCFACE_PACKS))
def test_a_pack_that_is_not_there_is_asked_for(
    pack: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match=pack):
        load_embedder(pack)
