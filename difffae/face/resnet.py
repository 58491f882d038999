"""ResNet-50 as torchvision lays it out, without its classifier: a picture in, 2048 features out.

He et al. 2016, in torchvision's form: the stride of a stage sits in the 3x3 convolution. The names
of the weights are torchvision's too, so that checkpoints made with it can be read.
"""

from jaxtyping import Float
from torch import Tensor, nn

from difffae.arrays import Images

NUM_FEATURES = 2048
INPUT_SIZE_PX = 224
_BLOCKS = (3, 4, 6, 3)
_EXPANSION = 4
_POOL = 7  # side of the last map of a 224-pixel picture


class Bottleneck(nn.Module):
    """Two 1x1 convolutions around a 3x3 one, added to what came in.

    Args:
        in_channels: of the input.
        width: of the 3x3 convolution; the output has four times as many channels.
        stride: of the 3x3 convolution.
    """

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * _EXPANSION
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out out_h out_w"]:
        """Features to features, at half the size where the stride is 2."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        out: Tensor = self.relu(self.bn3(self.conv3(y)) + self.downsample(x))
        return out


class ResNet50(nn.Module):
    """The trunk of DECA's encoders (model.md 3.1): 23.5 M parameters, 4.1 G multiplications."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        stages = [_stage(level, count) for level, count in enumerate(_BLOCKS)]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AvgPool2d(_POOL, 1)

    def forward(self, images: Images) -> Float[Tensor, "b 2048"]:
        """Features of 224-pixel pictures.

        Raises:
            ValueError: the pictures are of another size.
        """
        if images.shape[2:] != (INPUT_SIZE_PX, INPUT_SIZE_PX):
            raise ValueError(
                f"Got a picture of {tuple(images.shape[2:])} pixels but expected "
                f"{INPUT_SIZE_PX} x {INPUT_SIZE_PX}: crop the face first"
            )
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        features: Tensor = self.avgpool(x).flatten(1)
        return features


def _stage(level: int, num_blocks: int) -> nn.Sequential:
    """One stage; the first halves nothing, for the max pooling before it did."""
    width = 64 * 2**level
    out_channels = width * _EXPANSION
    in_channels, stride = (64, 1) if level == 0 else (out_channels // 2, 2)
    rest = [Bottleneck(out_channels, width, 1) for _ in range(num_blocks - 1)]
    return nn.Sequential(Bottleneck(in_channels, width, stride), *rest)
