"""Small networks of the kinds the runtimes must carry, and a cache folder of the test's own."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn


class TwoHeads(nn.Module):
    """Convolutions, group norm, attention over tokens and a timestep; gives a tuple."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Conv2d(6, width, 3, stride=2, padding=1)
        self.time = nn.Linear(1, width)
        self.norm = nn.GroupNorm(8, width)
        self.query = nn.Linear(width, width)
        self.last = nn.Conv2d(width, 16, 3, padding=1)

    def forward(self, image: Tensor, t: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        features = self.first(image) + self.time(t.float()[:, None] / 1000)[:, :, None, None]
        features = features + torch.nn.functional.silu(self.norm(features))
        batch, width, rows, columns = features.shape
        queries = self.query(features.flatten(2).transpose(1, 2))
        attended = nn.functional.scaled_dot_product_attention(queries, tokens, tokens)
        features = features + attended.transpose(1, 2).reshape(batch, width, rows, columns)
        output = self.last(features)
        return output[:, :4], torch.sigmoid(nn.functional.pixel_shuffle(output, 2))


class OneHead(nn.Module):
    """A convolution and a non-linearity; gives a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        output: Tensor = torch.tanh(self.conv(image))
        return output


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty cache folder that this test alone uses."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("DIFFFAE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that lives as long as the tests run."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def warm_cache(common_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cache folder that tests share, so that a network common to them is compiled once."""
    monkeypatch.setenv("DIFFFAE_CACHE", str(common_folder))
    return common_folder


@pytest.fixture
def two_heads() -> nn.Module:
    torch.manual_seed(0)
    return TwoHeads().eval()


@pytest.fixture
def one_head() -> nn.Module:
    torch.manual_seed(0)
    return OneHead().eval()


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Image, integer timestep and tokens for ``two_heads``."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(1, 6, 32, 32, generator=generator)
    return image, torch.tensor([749]), torch.randn(1, 4, 32, generator=generator)


@pytest.fixture
def image() -> Tensor:
    """Image for ``one_head``."""
    return torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
