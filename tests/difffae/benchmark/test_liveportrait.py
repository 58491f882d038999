"""LivePortrait's layout: shapes, and parameters against those that its authors publish."""

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from difffae.benchmark.liveportrait import (
    PUBLISHED_PARAMETERS,
    WarpingModule,
    build_networks,
    example_inputs,
    retargeting,
)
from difffae.sizes import NetworkSizes, network_sizes, num_parameters


@pytest.fixture(scope="module")
def networks() -> Mapping[str, nn.Module]:
    with torch.device("meta"):
        return build_networks()


@pytest.fixture(scope="module")
def sizes(networks: Mapping[str, nn.Module]) -> Mapping[str, NetworkSizes]:
    inputs = example_inputs("meta")
    return {name: network_sizes(name, networks[name], inputs[name]) for name in networks}


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("appearance extractor", (32, 16, 64, 64)),
        ("motion extractor", (328,)),
        ("stitching", (65,)),
        ("warping module", (256, 64, 64)),
        ("generator", (3, 512, 512)),
    ],
)
def test_each_network_gives_the_next_ones_input(
    sizes: Mapping[str, NetworkSizes], name: str, output: tuple[int, ...]
) -> None:
    assert sizes[name].output == output
    if name == "appearance extractor":
        assert sizes["warping module"].inputs[0] == output
    if name == "warping module":
        assert sizes["generator"].inputs == (output,)


def test_parameters_are_those_published(sizes: Mapping[str, NetworkSizes]) -> None:
    counted = {name: size.parameters for name, size in sizes.items()}
    with torch.device("meta"):
        counted["stitching and retargeting"] = counted.pop("stitching") + num_parameters(
            retargeting()
        )
    assert counted.keys() == PUBLISHED_PARAMETERS.keys()
    for name, published in PUBLISHED_PARAMETERS.items():
        assert abs(counted[name] - published) <= 5_000, name  # half of the last digit published


def test_the_two_largest_convolutions_over_volumes_cost_what_their_kernels_say(
    sizes: Mapping[str, NetworkSizes],
) -> None:
    layers = {layer.name: layer for layer in sizes["warping module"].layers}
    voxels = 16 * 64 * 64
    assert layers["motion.choose"].flops == 2 * voxels * 142 * 22 * 7**3
    assert layers["motion.hourglass.leave.0"].flops == 2 * voxels * 142 * 142 * 3**3


def test_a_volume_that_nothing_moves_is_sampled_in_place() -> None:
    module = WarpingModule().motion.eval()
    volume, keypoints = torch.randn(1, 32, 16, 8, 8), torch.rand(1, 21, 3)
    with torch.no_grad():
        small = nn.functional.interpolate(volume, size=(16, 32, 32))
        flow, visible = module(small, keypoints, keypoints)
    assert flow.shape == (1, 16, 32, 32, 3)
    corners = [flow[0, 0, 0, 0].tolist(), flow[0, -1, 0, -1].tolist()]
    assert corners == [pytest.approx([-1, -1, -1]), pytest.approx([1, -1, 1])]
    assert visible.shape == (1, 1, 32, 32)
