"""Inputs that are no numbers any more, told by their rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from vicinal.core.batch import Batch
from vicinal.core.ragged import Ragged

#: So many rows are named in a message.
NAMED = 5


def need_finite(batch: Batch) -> None:
    """Raise ValueError if inputs hold NaN or infinity, saying how many values of which row.

    It reads all of the inputs, and a host waits for its device.
    """
    lost = torch.zeros(len(batch), dtype=torch.int64, device=batch.index.device)
    for leaf in pytree.tree_leaves(batch.x):
        lost += _lost(leaf)
    rows = lost.nonzero()[:, 0]
    if not len(rows):
        return
    first = rows[:NAMED]
    found = zip(batch.index[first].tolist(), lost[first].tolist(), strict=True)
    told = [f"{count} of row {row}" for row, count in found]
    more = len(rows) - len(first)
    rest = f", and some of {more} more" if more else ""
    raise ValueError(f"x has values that are not finite: {', '.join(told)}{rest}")


def _lost(leaf: Tensor | Ragged) -> Tensor:
    """How many values of each row are not finite. Returns (B,) int64."""
    values = leaf.values if isinstance(leaf, Ragged) else leaf
    counts = values.isfinite().logical_not().reshape(len(values), -1).sum(dim=1)
    if not isinstance(leaf, Ragged):
        return counts
    return counts.new_zeros(len(leaf)).index_add(0, leaf.row, counts)
