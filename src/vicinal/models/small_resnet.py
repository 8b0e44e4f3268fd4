"""A residual network for small images that trains on two CPU cores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from vicinal.core.card import Range
from vicinal.models.shapes import image_shape

#: The stem halves an image until its shorter side is at most this. With a first stage at 32 x 32,
#: an epoch of CIFAR-10 costs more than three times as much.
STAGE_SIDE = 16


class SmallResNet(nn.Module):
    """A stem, three stages of residual blocks, and a linear head over the mean of all places.

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2, with
    the shortcut of ResNet-D (He et al., Bag of Tricks for Image Classification, CVPR 2019). It is
    shallower and wider than theirs, and an image larger than 16 x 16 is halved by the stem. The
    second and third stage halve it again, unless less than 2 x 2 would be left: 32 x 32 and 16 x 16
    images end as 4 x 4, 8 x 8 ones as 2 x 2. With the defaults it has 0.17 million parameters.

    Args:
        input_shape: (C, H, W) of an image.
        outputs: classes, or numbers to predict.
        width: channels of the stem and of the first stage; the next two have two and four times as
            many.
        blocks: residual blocks in a stage, of two convolutions each.

    Raises:
        ValueError: the shape is not that of an image, or a setting is out of range.
    """

    settings: ClassVar[Mapping[str, Range]] = {
        "width": Range(8, 64, default=24, scale="log", valid="[1, inf)", integer=True),
        "blocks": Range(1, 4, default=1, valid="[1, inf)", integer=True),
    }
    #: Where hidden states may be mixed; after the third stage only the head is left.
    mixable_layers: ClassVar[tuple[str, ...]] = ("stem", "stage1", "stage2")

    def __init__(
        self, input_shape: tuple[int, ...], outputs: int, *, width: int = 24, blocks: int = 1
    ) -> None:
        super().__init__()
        for name, value in {"width": width, "blocks": blocks}.items():
            self.settings[name].check(name, value)
        channels, *sides = image_shape(input_shape)
        halvings = 0
        while min(sides) > STAGE_SIDE << halvings:
            halvings += 1
        side = -(-min(sides) >> halvings)  # rounded up, as padded convolutions do
        self.stem = stem(channels, width, halvings=halvings)
        self.stage1 = stage(width, width, blocks=blocks, stride=1)
        stride = 2 if side > 2 else 1
        self.stage2 = stage(width, 2 * width, blocks=blocks, stride=stride)
        stride = 2 if -(-side // stride) > 2 else 1
        self.stage3 = stage(2 * width, 4 * width, blocks=blocks, stride=stride)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, outputs)
        )
        # Convolutions on a CPU, and in half precision on a GPU, are faster with channels last.
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs for images. x: (B, C, H, W) float. Returns (B, outputs)."""
        output: Tensor = self.head(self.stage3(self.stage2(self.stage1(self.stem(x)))))
        return output


class ResidualBlock(nn.Module):
    """Two normalised convolutions, added to a shortcut.

    Args:
        channels: of the input.
        widened: channels of the output.
        stride: 2 to halve height and width, else 1.
    """

    def __init__(self, channels: int, widened: int, *, stride: int) -> None:
        super().__init__()
        self.first = convolution(channels, widened, stride=stride)
        self.second = convolution(widened, widened, stride=1)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != widened:
            # The mean of all four places, where a strided convolution would see one of them.
            pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
            project = nn.Conv2d(channels, widened, 1, bias=False)
            self.shortcut = nn.Sequential(pool, project, nn.BatchNorm2d(widened))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) float. Returns (B, widened, H / stride, W / stride), rounded up."""
        inner = functional.relu(self.first(x))
        return functional.relu(self.second(inner) + self.shortcut(x))


def stem(channels: int, width: int, *, halvings: int) -> nn.Sequential:
    """A convolution that halves the image, and a max pooling for each halving after the first."""
    return nn.Sequential(
        *convolution(channels, width, stride=2 if halvings else 1),
        nn.ReLU(),
        *(nn.MaxPool2d(3, stride=2, padding=1) for _ in range(halvings - 1)),
    )


def stage(channels: int, widened: int, *, blocks: int, stride: int) -> nn.Sequential:
    """Residual blocks in a row, the first of which widens and strides."""
    first = ResidualBlock(channels, widened, stride=stride)
    others = (ResidualBlock(widened, widened, stride=1) for _ in range(blocks - 1))
    return nn.Sequential(first, *others)


def convolution(channels: int, widened: int, *, stride: int) -> nn.Sequential:
    """A 3 x 3 convolution and its normalisation, whose shift stands for the bias."""
    return nn.Sequential(
        nn.Conv2d(channels, widened, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(widened),
    )
