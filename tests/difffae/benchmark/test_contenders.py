"""What is compared: parts that run, with the counts of the models they are of."""

from pathlib import Path

import pytest
import torch
from torch import nn

from difffae.benchmark.contenders import eager, run_eagerly, shipped
from difffae.benchmark.liveportrait import Generator, WarpingModule
from difffae.describe import describe
from difffae.generator import Generated, Placement


def test_a_shipped_models_frame_is_a_picture_and_counts_every_step(model_folder: Path) -> None:
    one, two = shipped(model_folder, (1, 2), Placement(runtime="eager"))
    (frame,), (longer,) = one.parts, two.parts
    pictures = frame.run(), longer.run()
    assert all(isinstance(each, Generated) for each in pictures)
    networks = {each.name: each for each in describe(model_folder / "config.yaml").networks}
    assert longer.flops - frame.flops == networks["denoiser"].flops
    names = ("encoder", "denoiser", "decoder")
    assert frame.flops == sum(networks[name].flops for name in names)
    assert frame.parameters == sum(networks[name].parameters for name in names)
    assert [one.name, two.name] == [f"{model_folder.name}, 1 step", f"{model_folder.name}, 2 steps"]


def test_dense_motion_is_part_of_a_frame_and_counted(moving_folder: Path) -> None:
    (contender,) = shipped(moving_folder, (1,), Placement(runtime="eager"))
    networks = {each.name: each for each in describe(moving_folder / "config.yaml").networks}
    motion, _ = contender.parts
    assert (motion.name, motion.times_a_frame) == ("dense motion", 1)
    assert motion.flops == networks["dense_motion"].flops > 10**6
    assert motion.parameters == networks["dense_motion"].parameters
    assert isinstance(motion.run(), torch.Tensor)


def test_an_eager_model_times_one_step_and_says_how_often_a_frame_runs_it(
    repository: Path,
) -> None:
    contender = eager("toy", repository / "configs" / "tiny-paper.yaml", 50)
    assert contender.name == "toy, 50 steps"
    assert {part.name: part.times_a_frame for part in contender.parts} == {
        "encoder": 1,
        "denoiser": 50,
        "decoder": 1,
        "region_encoder": 0,
    }
    assert all(part.run() is not None for part in contender.parts)


def test_networks_run_eagerly_give_what_they_gave_before() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Flatten(1, 2))
    network.append(nn.Conv2d(12, 3, 1)).eval()
    volume = torch.randn(1, 2, 3, 8, 8)
    with torch.no_grad():
        expected = network(volume)
    got = run_eagerly(network, (volume,))()
    assert isinstance(got, torch.Tensor)
    assert torch.allclose(got.float(), expected, atol=0.05)  # bf16 where the machine has it
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_other_peoples_networks_run_eagerly_on_small_maps() -> None:
    torch.manual_seed(0)
    volume, keypoints = torch.randn(1, 32, 16, 32, 32), torch.rand(1, 21, 3)
    features = run_eagerly(WarpingModule(), (volume, keypoints, -keypoints))()
    assert isinstance(features, torch.Tensor)
    assert features.shape == (1, 256, 32, 32)
    picture = run_eagerly(Generator(), (features[..., :8, :8].float().clone(),))()
    assert isinstance(picture, torch.Tensor)
    assert picture.shape == (1, 3, 64, 64)
    assert picture.isfinite().all()


def test_a_missing_configuration_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be described"):
        eager("none", tmp_path / "none.yaml", 1)
