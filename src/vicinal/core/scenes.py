"""What there is to ask of a batch of scenes of points."""

from __future__ import annotations

from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.ragged import Ragged


def positions(batch: Batch) -> Ragged:
    """Where the points of a batch of scenes lie.

    Raises:
        TypeError: the batch has none.
    """
    position = batch.x.get("position") if isinstance(batch.x, dict) else None
    if not isinstance(position, Ragged) or position.values.shape[1:] != (3,):
        raise TypeError("x must be a dict with `position`, rows of (N, 3) points")
    return position


def extent(position: Ragged) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, lowest and highest of each row's points; 0 where a row has none. Each (B, 3) float32.

    Args:
        position: rows of (N, 3).
    """
    values, row = position.values.float(), position.row[:, None].expand(-1, 3)
    empty = values.new_zeros(len(position), 3)
    mean, low, high = (
        empty.scatter_reduce(0, row, values, reduce=how, include_self=False)
        for how in ("mean", "amin", "amax")
    )
    return mean, low, high
