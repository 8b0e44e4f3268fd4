"""Inputs and quantities on one scale, by statistics of the training rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

CHUNK = 256
# A column whose spread is this small beside its values is constant but for rounding.
ROUNDING = 1e-7


@dataclass(frozen=True, eq=False)
class Standardise:
    """Takes the training mean away and divides by the training deviation; fills missing values.

    mean, scale: (C, 1, 1) float32 for images, by channel; (D,) for tables, by column. The scale is
        one over the deviation, or 1 where that is zero.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, x: Tensor, rows: Tensor | None = None) -> Self:
        """The statistics of the training rows.

        Args:
            x: (N, C, H, W) uint8, read in pieces since it may be larger than the memory; or (N, D)
                float, where NaN is a missing value and is not counted.
            rows: (M,) int64, the training rows; all by default.

        Raises:
            TypeError: x is neither.
        """
        rows = torch.arange(len(x)) if rows is None else rows
        if x.dim() == 4 and x.dtype == torch.uint8:
            mean, deviation = pixel_moments(x, rows)
        elif x.dim() == 2 and x.is_floating_point():
            mean, deviation = column_moments(x[rows])
        else:
            raise TypeError(
                f"x must be (N, C, H, W) uint8 or (N, D) float, got {x.dtype} {tuple(x.shape)}"
            )
        shape = (-1,) + (1,) * (x.dim() - 2)
        scale = torch.where(deviation > 0, deviation.reciprocal(), 1.0)
        return cls(mean.float().view(shape), scale.float().view(shape))

    def __call__(self, x: Tensor) -> Tensor:
        """A batch as the model takes it: float32, about zero mean and unit deviation.

        One new tensor, worked on in place; x is not changed.

        Args:
            x: (B, C, H, W) uint8 or float on the same scale of 0 to 255, or (B, D) float. Missing
                values become the training mean, which is zero.
        """
        # Bytes are converted first: arithmetic on mixed types takes twice as long.
        out = torch.sub(x, self.mean) if x.is_floating_point() else x.float().sub_(self.mean)
        out.mul_(self.scale)
        if self.mean.dim() == 1:
            out.nan_to_num_(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
        return out

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        return type(self)(self.mean.to(device), self.scale.to(device))


@dataclass(frozen=True, eq=False)
class Scale:
    """Takes the targets of a regression to zero mean and unit deviation, and back.

    mean, deviation: scalars, float32.
    """

    mean: Tensor
    deviation: Tensor

    @classmethod
    def fit(cls, y: Tensor) -> Self:
        """The statistics of (N,) training targets."""
        values = y.double()
        deviation = values.std(correction=0)
        return cls(values.mean().float(), torch.where(deviation > 0, deviation, 1.0).float())

    def apply(self, y: Tensor) -> Tensor:
        """Targets of any shape, as the model learns them."""
        return (y - self.mean) / self.deviation

    def invert(self, y: Tensor) -> Tensor:
        """A model's output, in the units of the targets."""
        return y * self.deviation + self.mean

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        return type(self)(self.mean.to(device), self.deviation.to(device))


def pixel_moments(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel, from how often each of the 256 values occurs.

    Args:
        x: (N, C, H, W) uint8.
        rows: (M,) int64.

    Returns:
        (C,) and (C,) float64, exact but for the last rounding.
    """
    counts = torch.zeros(x.shape[1], 256, dtype=torch.int64)
    for piece in torch.split(rows, CHUNK):
        for channel, pixels in enumerate(x[piece].unbind(1)):
            counts[channel] += pixels.flatten().bincount(minlength=256)
    weights = counts.double() / counts.sum(dim=1, keepdim=True)
    values = torch.arange(256, dtype=torch.float64)
    mean = weights @ values  # (C,)
    variance = (weights * (values - mean[:, None]).square()).sum(dim=1)
    return mean, variance.sqrt()


def column_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each column without its missing values; 0 for a column that has none.

    Args:
        x: (M, D) float.

    Returns:
        (D,) and (D,) float64; the deviation of a column is 0 where it is rounding.
    """
    values = x.double()
    mean = values.nanmean(dim=0)
    deviation = (values - mean).square().nanmean(dim=0).sqrt()
    deviation = torch.where(deviation > ROUNDING * mean.abs(), deviation, 0.0)
    return mean.nan_to_num(), deviation.nan_to_num()
