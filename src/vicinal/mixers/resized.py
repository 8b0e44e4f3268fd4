"""Pasting a box of another image, resized, into a box of the own."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.boxes import box_mask

Interpolation = Literal["nearest", "bilinear"]


def paste_resized(
    x: Tensor,
    pool: Tensor,
    at: Tensor,
    *,
    start: Tensor,
    stop: Tensor,
    source_start: Tensor,
    source_stop: Tensor,
    interpolation: Interpolation = "bilinear",
) -> Tensor:
    """Replace a box of each image by a box of an image of the pool, resized to its size.

    The numbers are those of `torch.nn.functional.interpolate`, with the corners of both boxes
    aligned where it is bilinear.

    Args:
        x: (B, C, H, W) floats.
        pool: (P, C, h, w), of x's type.
        at: (B,) int64, positions in the pool.
        start: (B, 2) int64, first row and column of the own box.
        stop: (B, 2) int64, one after the last; an empty box leaves the image as it is.
        source_start: (B, 2) int64, of the box that is pasted; not empty where the own one is not.
        source_stop: (B, 2) int64.
        interpolation: of the values between pixels.

    Returns:
        (B, C, H, W), new memory in x's memory format.
    """
    height, width = x.shape[2:]
    # Places take more digits than half precision has.
    exact = x.dtype if x.dtype == torch.float64 else torch.float32
    grid = []
    for axis in (1, 0):  # columns come first
        place = _place(
            x.shape[2 + axis],
            start=start[:, axis, None],
            size=(stop - start)[:, axis, None],
            source_start=source_start[:, axis, None],
            source_size=(source_stop - source_start)[:, axis, None],
            nearest=interpolation == "nearest",
        )
        # From 0 .. size - 1 to -1 .. 1.
        place = (place * (2 / max(1, pool.shape[2 + axis] - 1)) - 1).to(exact)
        grid.append((place[:, None, :] if axis else place[:, :, None]).expand(-1, height, width))
    resized = F.grid_sample(
        pool[at].to(exact),
        torch.stack(grid, dim=3),  # (B, H, W, 2)
        mode=interpolation,
        padding_mode="border",
        align_corners=True,
    )
    inside = box_mask(start, stop, (height, width))[:, None]  # (B, 1, H, W)
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.where(inside, resized.to(x.dtype), x).contiguous(memory_format=layout)


def _place(
    length: int,
    *,
    start: Tensor,
    size: Tensor,
    source_start: Tensor,
    source_size: Tensor,
    nearest: bool,
) -> Tensor:
    """Where each pixel along an axis is taken from; outside of its box anywhere.

    Args:
        length: of the axis.
        start: (B, 1) int64, first pixel of the own box.
        size: (B, 1) int64, its pixels.
        source_start: (B, 1) int64, first pixel of the other box.
        source_size: (B, 1) int64, its pixels.
        nearest: whether whole pixels are taken.

    Returns:
        (B, length) float64.
    """
    step = torch.arange(length, device=start.device) - start  # (B, length)
    if nearest:
        # In float32, in which torch decides which pixel is nearest.
        scale = source_size.float() / size.clamp(min=1).float()
        place = (step * scale).floor().minimum(source_size - 1.0)
    else:
        place = step * ((source_size - 1) / (size - 1).clamp(min=1)).double()
    return place.double() + source_start
