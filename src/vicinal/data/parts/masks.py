"""Where the object of an image is: masks that are given, and two that need no network."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 256


class MaskProvider(Protocol):
    """Says where the object of every image is.

    name: with all settings; a store that was begun with another is not gone on with.
    """

    @property
    def name(self) -> str: ...

    def __call__(self, images: Tensor, index: Tensor) -> Tensor:
        """The objects.

        Args:
            images: (B, C, H, W) uint8.
            index: (B,) int64, their rows in the dataset.

        Returns:
            (B, H, W) bool, true on the object.
        """
        ...


class GivenMasks:
    """Masks that come with the data.

    Args:
        masks: (N, H, W) bool, one for every row of the dataset.

    Raises:
        TypeError: they are of another type or shape.
    """

    name = "given"

    def __init__(self, masks: Tensor) -> None:
        if masks.dim() != 3 or masks.dtype != torch.bool:
            raise TypeError(f"masks must be (N, H, W) bool, got {masks.dtype} {tuple(masks.shape)}")
        self.masks = masks

    def __call__(self, images: Tensor, index: Tensor) -> Tensor:
        return self.masks[index.to(self.masks.device)].to(images.device)


class ThresholdMasks:
    """What differs in colour from the border of the image.

    The distance of every pixel from the median colour of the border is divided in two by Otsu's
    threshold (A Threshold Selection Method from Gray-Level Histograms, 1979): for single objects on
    an even ground.
    """

    name = "threshold"

    def __call__(self, images: Tensor, index: Tensor) -> Tensor:
        wide = images.float()
        border = torch.cat(
            [wide[:, :, 0], wide[:, :, -1], wide[:, :, :, 0], wide[:, :, :, -1]], dim=2
        )
        ground = border.median(dim=2).values[:, :, None, None]  # (B, C, 1, 1)
        distance = (wide - ground).abs().amax(dim=1)  # (B, H, W) in 0 .. 255
        return distance > otsu(distance.round().long())[:, None, None]


class SaliencyMasks:
    """What stands out from the regularity of the image, by its spectral residual.

    Source: Hou and Zhang, Saliency Detection: A Spectral Residual Approach, CVPR 2007: what the
    logarithm of the amplitude spectrum has beyond its local mean, at 64 pixels a side, smoothed;
    objects are where it exceeds `factor` times its mean.

    Args:
        factor: > 0; the paper takes 3.

    Raises:
        ValueError: factor is not positive.
    """

    SIDE = 64

    def __init__(self, factor: float = 3.0) -> None:
        if not factor > 0:
            raise ValueError(f"factor must be positive, got {factor}")
        self.factor = factor
        self.name = f"saliency, factor {factor}"

    def __call__(self, images: Tensor, index: Tensor) -> Tensor:
        salient = spectral_residual(images, side=self.SIDE)
        return salient > self.factor * salient.mean(dim=(1, 2), keepdim=True)


def otsu(values: Tensor) -> Tensor:
    """The level that divides each image's values best in two: largest variance between them.

    Args:
        values: (B, H, W) int64 in 0 .. 255.

    Returns:
        (B,) int64: what is above belongs to the upper part; nothing does in an image of one value.
    """
    flat = values.flatten(1)
    one = torch.ones((), dtype=torch.float64, device=values.device)
    counts = torch.zeros(len(flat), LEVELS, dtype=torch.float64, device=values.device)
    counts.scatter_add_(1, flat, one.expand_as(flat))
    share = counts / flat.shape[1]
    below = share.cumsum(dim=1)
    mass = (share * torch.arange(LEVELS, device=values.device)).cumsum(dim=1)
    between = (mass[:, -1:] * below - mass).square() / (below * (1 - below)).clamp(min=1e-12)
    return torch.where(between.amax(dim=1) > 0, between.argmax(dim=1), LEVELS)


def spectral_residual(images: Tensor, *, side: int) -> Tensor:
    """How much each place stands out.

    Args:
        images: (B, C, H, W) uint8.
        side: of the square that it is found at, in pixels.

    Returns:
        (B, H, W) float32, at least 0.
    """
    grey = images.float().mean(dim=1, keepdim=True)
    grey = F.interpolate(grey, size=(side, side), mode="bilinear", antialias=True)[:, 0]
    spectrum = torch.fft.fft2(grey)
    amplitude = spectrum.abs().clamp(min=1e-6).log()
    around = F.pad(amplitude[:, None], (1, 1, 1, 1), mode="circular")
    residual = amplitude - F.avg_pool2d(around, 3, stride=1)[:, 0]
    found = torch.fft.ifft2(torch.polar(residual.exp(), spectrum.angle())).abs().square()
    steps = torch.arange(-8, 9, device=images.device)
    bell = (-0.5 * (steps / 2.5) ** 2).exp()
    bell = bell / bell.sum()
    smooth = F.pad(found[:, None], (8, 8, 8, 8), mode="replicate")
    smooth = F.conv2d(F.conv2d(smooth, bell.view(1, 1, 1, -1)), bell.view(1, 1, -1, 1))
    return F.interpolate(smooth, size=images.shape[2:], mode="bilinear")[:, 0]


def grown(masks: Tensor, pixels: int) -> Tensor:
    """Masks with all that is at most so many pixels away, diagonally too. masks: (B, H, W) bool."""
    size = 2 * pixels + 1
    return F.max_pool2d(masks.float()[:, None], size, stride=1, padding=pixels)[:, 0] > 0


def feathered(masks: Tensor) -> Tensor:
    """Opacity that falls from 1 to 0 within a pixel on either side of the edge.

    Args:
        masks: (B, H, W) bool.

    Returns:
        (B, H, W) float32 in [0, 1]; 1 and 0 exactly, but next to the edge.
    """
    around = F.pad(masks.float()[:, None], (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(around, 3, stride=1)[:, 0]
