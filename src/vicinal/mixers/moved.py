"""Pasting a box of another image in a different place."""

from __future__ import annotations

import torch
from torch import Tensor

from vicinal.core.boxes import box_mask
from vicinal.mixers.blocks import fresh_like, may_be_written


def paste_moved(
    x: Tensor, pool: Tensor, at: Tensor, *, start: Tensor, stop: Tensor, source_start: Tensor
) -> Tensor:
    """Replace a box of each image by a box of the same size, elsewhere in an image of the pool.

    Args:
        x: (B, C, H, W).
        pool: (P, C, H, W), of x's type.
        at: (B,) int64, positions in the pool.
        start: (B, 2) int64, first row and column of the own box.
        stop: (B, 2) int64, one after the last; an empty box leaves the image as it is.
        source_start: (B, 2) int64, first row and column of the other; it lies within the image.

    Returns:
        (B, C, H, W), new memory in x's memory format.
    """
    if not may_be_written(x, pool):
        return _gathered(x, pool, at, start=start, stop=stop, source_start=source_start)
    out = fresh_like(x).copy_(x)
    # As in `paste`: on a CPU a loop over views touches the boxes alone.
    whole = x.dtype == torch.bfloat16  # which NumPy lacks: it sees whole numbers of that size
    into, source = (
        (one.detach().view(torch.int16) if whole else one.detach()).numpy() for one in (out, pool)
    )
    places = zip(start.tolist(), stop.tolist(), source_start.tolist(), at.tolist(), strict=True)
    for row, ((top, left), (bottom, right), (first, begin), partner) in enumerate(places):
        into[row, :, top:bottom, left:right] = source[
            partner, :, first : first + bottom - top, begin : begin + right - left
        ]
    return out


def _gathered(
    x: Tensor, pool: Tensor, at: Tensor, *, start: Tensor, stop: Tensor, source_start: Tensor
) -> Tensor:
    height, width = x.shape[2:]
    row, column = (
        (torch.arange(size, device=x.device) + (source_start - start)[:, axis, None]).clamp(
            0, size - 1
        )
        for axis, size in enumerate((height, width))
    )  # (B, H) and (B, W)
    moved = pool[at[:, None, None], :, row[:, :, None], column[:, None, :]]  # (B, H, W, C)
    inside = box_mask(start, stop, (height, width))[:, None]
    return torch.where(inside, moved.movedim(3, 1), x)
