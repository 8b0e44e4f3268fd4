"""Where boxes along the axes of space or time are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def box_mask(start: Tensor, stop: Tensor, sizes: Sequence[int]) -> Tensor:
    """True inside each box.

    Args:
        start: (B, R) int64, where the boxes begin.
        stop: (B, R) int64, where they end, exclusive.
        sizes: of the R axes.

    Returns:
        (B, *sizes) bool.

    Raises:
        ValueError: there is no axis.
    """
    return inside_boxes(start, stop, [torch.arange(size, device=start.device) for size in sizes])


def inside_boxes(start: Tensor, stop: Tensor, places: Sequence[Tensor]) -> Tensor:
    """Whether single places are in each box.

    Args:
        start: (B, R) int64, where the boxes begin.
        stop: (B, R) int64, where they end, exclusive.
        places: for each of the R axes, (N,) int64 positions along it.

    Returns:
        (B, N1, N2, ...) bool, for each combination of the positions.

    Raises:
        ValueError: there is no axis.
    """
    if not places:
        raise ValueError("a box needs at least one axis")
    count = len(start)
    along = [
        (place >= start[:, axis, None]) & (place < stop[:, axis, None])  # (B, N)
        for axis, place in enumerate(places)
    ]
    if len(along) == 1:
        return along[0]
    outer = along[0]
    for other in along[1:-1]:
        outer = outer[..., None] & other.view(count, *[1] * (outer.dim() - 1), -1)
    # Along the last axis every row is the box's own pattern, or empty. Copying whole rows takes a
    # fraction of the time of comparing place by place.
    patterns = torch.cat([along[-1], along[-1].new_zeros(1, along[-1].shape[1])])
    own = torch.arange(count, device=start.device).view(-1, *[1] * (outer.dim() - 1))
    pattern = torch.where(outer, own, count)
    along_last = patterns.index_select(0, pattern.reshape(-1))
    return along_last.view(*outer.shape, patterns.shape[1])
