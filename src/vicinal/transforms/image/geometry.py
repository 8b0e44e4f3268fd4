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


#: The motions, in the order of the columns that `matrices` takes.
MOTIONS = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")


def matrices(amount: Tensor, height: int, width: int) -> Tensor:
    """The matrix of a motion, one a sample.

    Args:
        amount: (B, 5), in the order of `MOTIONS`, zero but for one a row: the tangent of the angle
            for shears, whose pivot is the top left corner and which move to the left, or up; pixels
            to the right, or down, for translations; degrees counter-clockwise, about the centre,
            for rotations.
        height: of the images, in pixels.
        width: of the images, in pixels.

    Returns:
        (B, 2, 3) float64.
    """
    slope_x, slope_y, right, down, degrees = amount.double().unbind(1)
    slant, rise = (torch.atan(slope) * (180 / math.pi) * _RADIANS for slope in (slope_x, slope_y))
    turn = -torch.remainder(degrees, 360) * _RADIANS
    sheared = (slope_x != 0) | (slope_y != 0)
    x, y = (-0.5 * side * sheared for side in (width, height))
    # The inverse of: pivot, shear, rotate, back, translate. Its sums are in torchvision's order:
    # in another one the last bit differs.
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
        matrix: (B, 2, 3), from `matrices`.
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
    planes = (matrix.to(dtype) / size).bmm(places.expand(len(images), -1, -1))
    planes = planes.view(-1, 2, height, width)  # from -1 to 1 inside the image
    seen = F.grid_sample(
        images.to(dtype),
        planes.permute(0, 2, 3, 1),
        mode=interpolation,
        padding_mode="zeros" if interpolation == "nearest" else "border",
        align_corners=False,
    )
    if interpolation == "bilinear":
        seen *= planes.abs().amax(dim=1, keepdim=True) <= 1
        if images.dtype == torch.uint8:
            # What is cut off must not take a level from a whole number that came out a little low.
            seen += 1 / 512
    return to_levels(seen) if images.dtype == torch.uint8 else seen.to(images.dtype)


def _places(height: int, width: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Where the pixels lie: x and y from the centre, and 1. Returns (3, H * W)."""
    x = torch.linspace((1 - width) * 0.5, (width - 1) * 0.5, width, dtype=dtype, device=device)
    y = torch.linspace((1 - height) * 0.5, (height - 1) * 0.5, height, dtype=dtype, device=device)
    places = torch.ones(3, height, width, dtype=dtype, device=device)
    places[0] = x
    places[1] = y[:, None]
    return places.view(3, -1)
