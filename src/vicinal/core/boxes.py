"""Where boxes along the axes of space or time are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
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


def need_boxes_inside(start: Tensor, stop: Tensor, sizes: Sequence[int]) -> None:
    """Raise ValueError unless all boxes lie within the space, and none ends before it begins.

    On an accelerator the device asserts it instead, so that the host need not wait.

    Args:
        start: (B, R) int64, where the boxes begin.
        stop: (B, R) int64, where they end, exclusive.
        sizes: of the R axes.
    """
    if start.shape[1] != len(sizes):
        raise ValueError(f"boxes have {start.shape[1]} axes, and the sample {len(sizes)}")
    if torch.compiler.is_compiling() or start.device.type != "cpu":
        # By numbers, not by a tensor of them, which the host would copy to the device and wait for.
        ends = [(stop[:, axis] <= size).all() for axis, size in enumerate(sizes)]
        inside = ((start >= 0) & (start <= stop)).all() & torch.stack(ends).all()
        torch._assert_async(inside, "a box is not in its sample")
        return
    if start.shape[0] > 1 and start.stride(0) == stop.stride(0) == 0:  # one box for all rows
        start, stop = start[:1], stop[:1]
    if start.shape[0] == 1:
        sides = zip(start[0].tolist(), stop[0].tolist(), sizes, strict=True)
        if all(0 <= first <= end <= size for first, end, size in sides):
            return
    # In NumPy: this comes before every box that is pasted.
    first, end = start.numpy(), stop.numpy()
    outside = ((first < 0) | (first > end) | (end > np.array(sizes))).any(axis=1)
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(
            f"the box of row {row}, from {first[row].tolist()} to {end[row].tolist()}, does not "
            f"lie in its sample of size {list(sizes)}"
        )


def nearest_places(step: Tensor, size: Tensor, source_size: Tensor) -> Tensor:
    """The place of a source that each place of a box shows, once the source is resized to the box.

    As `torch.nn.functional.interpolate` has it by `nearest`.

    Args:
        step: (B, N) int64, from the box's first place on; outside of it anything.
        size: (B, 1) int64, of the box.
        source_size: (B, 1) int64, of the source.

    Returns:
        (B, N) int64, in the source; outside of the box its first or last place.
    """
    # In float32, in which torch decides which one is nearest.
    place = (step * (source_size.float() / size.float())).floor().long()
    return place.clamp(min=0).minimum(source_size - 1)
