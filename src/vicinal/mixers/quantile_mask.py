"""Masks that show as many places as they are told to: those with the largest scores."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def quantile_mask(score: Tensor, count: Tensor) -> Tensor:
    """True at the places with the largest scores of each row.

    Of equal scores the first ones are taken, so that the count is exact.

    Args:
        score: (B, ...) float.
        count: (B,) int64, how many places, from 0 to all of them.

    Returns:
        (B, ...) bool.

    Raises:
        ValueError: there is not one count for each row.
    """
    flat = _flat(score, count)
    if score.device.type != "cpu" or torch.compiler.is_compiling():
        order = flat.argsort(dim=1, descending=True, stable=True)
        shown = torch.arange(flat.shape[1], device=flat.device) < count[:, None]
        return torch.zeros_like(shown).scatter_(1, order, shown).view(score.shape)
    # NumPy sorts numbers several at once where the processor can: for 64 rows of 224 x 224 in a
    # tenth of the time of torch, which finds the order with them.
    values, wanted = flat.detach().numpy(), count.numpy()[:, None]
    ordered = np.sort(values, axis=1)
    last = np.minimum(values.shape[1] - wanted, values.shape[1] - 1)
    edge = np.where(wanted > 0, np.take_along_axis(ordered, last, axis=1), np.inf)
    shown_too = values >= edge
    surplus = np.count_nonzero(shown_too, axis=1, keepdims=True) - wanted
    rows = surplus[:, 0].nonzero()[0]
    if len(rows):
        equal = values[rows] == edge[rows]
        left = np.cumsum(equal[:, ::-1], axis=1)[:, ::-1]  # of the equal ones, from here on
        shown_too[rows] &= ~equal | (left > surplus[rows])
    return torch.from_numpy(shown_too).view(score.shape)


def soft_quantile_mask(score: Tensor, count: Tensor, reach: Tensor) -> Tensor:
    """The same with an edge that falls from 1 to 0 in even steps, from rank to rank.

    Args:
        score: (B, ...) float.
        count: (B,) int64, the sum of each mask.
        reach: (B,) int64, how many ranks on either side of the edge lie on the slope; at most
            `count`, and at most the number of the other places. 0 is a hard edge.

    Returns:
        (B, ...) float32 in [0, 1].

    Raises:
        ValueError: there is not one count and reach for each row.
    """
    flat = _flat(score, count)
    _flat(score, reach)
    if score.device.type != "cpu" or torch.compiler.is_compiling():
        order = flat.argsort(dim=1, descending=True, stable=True)
    else:
        order = torch.from_numpy(np.argsort(-flat.detach().numpy(), axis=1))
    rank = torch.arange(flat.shape[1], device=flat.device)
    step = (rank - (count - reach)[:, None]) / (2 * reach - 1).clamp(min=1)[:, None]
    hard = (rank < count[:, None]).float()
    value = torch.where(reach[:, None] > 0, (1 - step).clamp(0, 1), hard)
    return torch.empty_like(value).scatter_(1, order, value).view(score.shape)


def _flat(score: Tensor, count: Tensor) -> Tensor:
    """(B, N), of a type that NumPy has, if there is a count for each row."""
    if count.shape != score.shape[:1]:
        raise ValueError(
            f"scores {tuple(score.shape)} need counts ({len(score)},), got {tuple(count.shape)}"
        )
    flat = score.flatten(1)
    return flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat
