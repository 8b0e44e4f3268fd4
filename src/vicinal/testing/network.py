"""A network for augmentations that must ask one, and for examples that train one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.ragged import Ragged
from vicinal.testing import samples

#: Channels of the feature map.
WIDTH = 8


class Network(nn.Module):
    """A convolution and a linear classifier that reads the mean of all places.

    It takes samples of any size and rank: whatever they have beside channels lies in one row, and
    images stay images. The weights are always the same, and none is drawn.

    Args:
        channels: of a sample; 1 for one that has no further axis.
        outputs: numbers for each sample.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(channels, WIDTH, 3, padding=1, device="meta")
        self.head = nn.Linear(WIDTH, outputs, device="meta")
        self.to_empty(device="cpu")
        with torch.no_grad():
            for parameter in self.parameters():
                numbers = torch.arange(parameter.numel()).mul(0.7).sin()
                parameter.copy_(numbers.view(parameter.shape))

    @staticmethod
    def of(batch: Batch) -> nn.Module:
        """A network for the samples and targets of a batch."""
        if isinstance(batch.x, dict):
            return PointNetwork()
        x = batch.tensor
        regression = batch.target is not None and batch.target.kind == "regression"
        return Network(1 if x.dim() == 2 else x.shape[1], 1 if regression else samples.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, F) or (B, C, ...) of any type of numbers. Returns (B, outputs) float32."""
        x = x.float()
        if x.dim() != 4:
            x = x.flatten(2)[..., None] if x.dim() > 2 else x[:, None, :, None]
        output: Tensor = self.head(self.features(x).relu().mean(dim=(2, 3)))
        return output


class PointNetwork(nn.Module):
    """A linear classifier of points by where they lie."""

    def __init__(self) -> None:
        super().__init__()
        numbers = torch.arange(3 * samples.CLASSES).mul(0.7).sin()
        self.weight = nn.Parameter(numbers.view(3, samples.CLASSES))

    def forward(self, x: dict[str, Ragged]) -> Tensor:
        """x: scenes with `position`. Returns (N, CLASSES) float32, a row for each point."""
        return x["position"].values.float() @ self.weight
