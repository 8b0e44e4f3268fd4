"""Affine warps of images, a matrix a sample, in the arithmetic of torchvision's tensor kernels.

A matrix maps a place of the output to the place of the input it shows, in pixels from the centre of
the image. Arguments are (B,); matrices are worked out in float64 and rounded once, in torchvision's
order of operations, so that a place half way between two pixels goes to the same side.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.transforms.image.colour import to_levels

Interpolation = Literal["nearest", "bilinear"]

_RADIANS = math.pi / 180


def shear_x_matrix(slope: Tensor, height: int, width: int) -> Tensor:
    """Rows move sideways in proportion to their distance from the top.

    Args:
        slope: (B,), the tangent of the angle; positive moves the lower rows to the left.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Returns:
        (B, 2, 3) float64.
    """
    angle = torch.atan(slope.double()) * (180 / math.pi) * _RADIANS
    return _inverse(shear_x=angle, pivot=(-width * 0.5, -height * 0.5))


def shear_y_matrix(slope: Tensor, height: int, width: int) -> Tensor:
    """Columns move up in proportion to their distance from the left; see `shear_x_matrix`."""
    angle = torch.atan(slope.double()) * (180 / math.pi) * _RADIANS
    return _inverse(shear_y=angle, pivot=(-width * 0.5, -height * 0.5))


def translate_x_matrix(pixels: Tensor, height: int, width: int) -> Tensor:
    """Move to the right. pixels: (B,). Returns (B, 2, 3) float64."""
    return _inverse(translate_x=pixels.double())


def translate_y_matrix(pixels: Tensor, height: int, width: int) -> Tensor:
    """Move down. pixels: (B,). Returns (B, 2, 3) float64."""
    return _inverse(translate_y=pixels.double())


def rotate_matrix(degrees: Tensor, height: int, width: int) -> Tensor:
    """Turn counter-clockwise about the centre. degrees: (B,). Returns (B, 2, 3) float64."""
    return _inverse(rotation=-torch.remainder(degrees.double(), 360) * _RADIANS)


def _inverse(
    *,
    rotation: Tensor | None = None,
    shear_x: Tensor | None = None,
    shear_y: Tensor | None = None,
    translate_x: Tensor | None = None,
    translate_y: Tensor | None = None,
    pivot: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """The inverse of translate . pivot . rotate . shear y . shear x . -pivot. Returns (B, 2, 3).

    The sums are written as torchvision writes them: in another order the last bit differs.
    """
    given = (rotation, shear_x, shear_y, translate_x, translate_y)
    zero = next(torch.zeros_like(angle) for angle in given if angle is not None)
    turn, slant, rise, right, down = (zero if angle is None else angle for angle in given)
    x, y = pivot
    a = torch.cos(turn - rise) / torch.cos(rise)
    b = -(a * torch.tan(slant) + torch.sin(turn))
    c = torch.sin(turn - rise) / torch.cos(rise)
    d = torch.cos(turn) - c * torch.tan(slant)
    offset_x = x - d * (x + right) + b * (y + down)
    offset_y = y + c * (x + right) - a * (y + down)
    return torch.stack([d, -b, offset_x, -c, a, offset_y], dim=1).view(-1, 2, 3)


def warp(images: Tensor, matrix: Tensor, interpolation: Interpolation = "nearest") -> Tensor:
    """Show each image through its matrix; what lies outside is black.

    With `nearest`, every pixel is that of torchvision's tensor kernels. With `bilinear` the
    conventions are Pillow's: places near the border of the image take its colour and do not fade
    into black, and 8-bit results are cut off, not rounded.

    Args:
        images: (B, C, H, W), uint8 or floating.
        matrix: (B, 2, 3), from the functions above.
        interpolation: how to read between pixels.

    Returns:
        (B, C, H, W), dtype as `images`.
    """
    height, width = images.shape[-2:]
    dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
    size = torch.tensor([[0.5 * width], [0.5 * height]], dtype=dtype, device=images.device)
    places = _places(height, width, dtype=dtype, device=images.device)
    # One product a sample, as torchvision has it: images of less than 67 pixels take another
    # routine in torch, which rounds otherwise.
    grid = (matrix.to(dtype) / size).bmm(places.expand(len(images), -1, -1))
    grid = grid.view(-1, 2, height, width).permute(0, 2, 3, 1)  # (B, H, W, 2)
    source = images.to(dtype)
    if interpolation == "nearest":
        seen = F.grid_sample(
            source, grid, mode="nearest", padding_mode="zeros", align_corners=False
        )
    else:
        inside = ((grid >= -1) & (grid < 1)).all(dim=-1)[:, None]
        seen = F.grid_sample(
            source, grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        seen = seen * inside
    return to_levels(seen) if images.dtype == torch.uint8 else seen.to(images.dtype)


def _places(height: int, width: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Where the pixels lie: x and y from the centre, and 1. Returns (3, H * W)."""
    x = torch.linspace((1 - width) * 0.5, (width - 1) * 0.5, width, dtype=dtype, device=device)
    y = torch.linspace((1 - height) * 0.5, (height - 1) * 0.5, height, dtype=dtype, device=device)
    places = torch.ones(3, height, width, dtype=dtype, device=device)
    places[0] = x
    places[1] = y[:, None]
    return places.view(3, -1)
