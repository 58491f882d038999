"""DiffusionRig's layout: shapes, and its parameters against those published of its family."""

import pytest
import torch

from difffae.benchmark.diffusionrig import NUM_STEPS, PixelUNet, PixelUNetConfig, example_inputs
from difffae.sizes import network_sizes, num_parameters

ADM_512 = PixelUNetConfig(
    image_size=512,
    in_channels=3,
    out_channels=6,
    channels=256,
    widths=(128, 256, 256, 512, 512, 1024, 1024),
    attention_sizes=(32, 16, 8),
    head_width=64,
    code_width=0,
)
ADM_512_PARAMETERS = 559_000_000  # Dhariwal & Nichol 2021, table 10
CLASS_EMBEDDING = 1000 * 1024  # which ADM has and DiffusionRig has not


def test_the_prediction_is_a_picture_as_large_as_the_input() -> None:
    with torch.device("meta"):
        network = PixelUNet(PixelUNetConfig())
    sizes = network_sizes("U-Net", network, example_inputs("meta"))
    assert sizes.inputs == ((12, 256, 256), (), (64,))
    assert sizes.output == (3, 256, 256)
    assert NUM_STEPS == 20


def test_in_adms_sizes_it_has_adms_parameters() -> None:
    with torch.device("meta"):
        counted = num_parameters(PixelUNet(ADM_512)) + CLASS_EMBEDDING
    assert counted == pytest.approx(ADM_512_PARAMETERS, abs=500_000)


def test_the_code_adds_one_layer_to_each_residual_block() -> None:
    with torch.device("meta"):
        network, plain = PixelUNet(PixelUNetConfig()), PixelUNet(PixelUNetConfig(code_width=0))
    outputs = [
        module.conv2.out_channels for module in network.modules() if hasattr(module, "conv2")
    ]
    assert len(outputs) == 6 * 2 + 5 + 2 + 6 * 3 + 5
    layers = sum((64 + 1) * 2 * width for width in outputs)
    assert num_parameters(network) == num_parameters(plain) + layers


def test_time_and_code_change_the_prediction() -> None:
    torch.manual_seed(0)
    config = PixelUNetConfig(
        image_size=16, in_channels=4, channels=32, widths=(32, 64), attention_sizes=(8,)
    )
    network = PixelUNet(config).eval()
    noisy, time, code = torch.randn(1, 4, 16, 16), torch.tensor([3.0]), torch.randn(1, 64)
    with torch.no_grad():
        first = network(noisy, time, code)
        assert first.shape == (1, 3, 16, 16)
        assert not torch.allclose(first, network(noisy, time + 500, code))
        assert not torch.allclose(first, network(noisy, time, -code))
