"""How well a classifier does where it does worst."""

from __future__ import annotations

import torch
from torch import Tensor


def group_accuracies(predicted: Tensor, labels: Tensor, groups: Tensor) -> dict[int, float]:
    """The accuracy on the rows of each group: of each pair of class and background, say.

    Source: Sagawa et al., Distributionally Robust Neural Networks for Group Shifts, ICLR 2020,
    whose measure on Waterbirds is the smallest of them.

    Args:
        predicted: (N,) int64.
        labels: (N,) int64.
        groups: (N,) int64, any numbers.

    Returns:
        By the numbers of the groups that there are.

    Raises:
        ValueError: shapes differ, or there is no row.
    """
    if not predicted.shape == labels.shape == groups.shape or not len(labels):
        raise ValueError(
            f"predicted, labels and groups must be (N,) with N > 0, got {tuple(predicted.shape)}, "
            f"{tuple(labels.shape)} and {tuple(groups.shape)}"
        )
    names, member = torch.unique(groups, return_inverse=True)
    right = torch.bincount(member, (predicted == labels).double())
    return dict(zip(names.tolist(), (right / member.bincount()).tolist(), strict=True))


def worst_group_accuracy(predicted: Tensor, labels: Tensor, groups: Tensor) -> float:
    """The smallest accuracy of any group. See `group_accuracies`."""
    return min(group_accuracies(predicted, labels, groups).values())
