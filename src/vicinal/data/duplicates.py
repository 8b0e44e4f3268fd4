"""Rows that are the same: they belong on one side of a split, and are told to the user."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

CHUNK = 1024
DIGEST = 16  # bytes: two of a billion different rows agree with a chance below 1e-20


def row_groups(x: Tensor) -> Tensor:
    """Numbers the distinct rows, by their contents.

    Args:
        x: (N, ...) of any type. Missing values (NaN) are equal to each other, and 0 equals -0.

    Returns:
        (N,) int64; rows with the same number are identical, value for value.
    """
    digests = b"".join(digest for chunk in torch.split(x, CHUNK) for digest in digests_of(chunk))
    _, first, groups = np.unique(
        np.frombuffer(digests, f"S{DIGEST}"), return_index=True, return_inverse=True
    )
    # In the order of their first rows, so that the numbers mean the same on every machine.
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return torch.from_numpy(rank[groups])


def canonical(rows: Tensor) -> Tensor:
    """The same values with one bit pattern each: NaN has many, and zero has two."""
    if not rows.is_floating_point():
        return rows
    return torch.where(rows.isnan(), torch.nan, rows) + 0.0


def digests_of(rows: Tensor) -> Iterator[bytes]:
    """A hash of each row."""
    for row in canonical(rows).contiguous().numpy():
        yield hashlib.blake2b(row.tobytes(), digest_size=DIGEST).digest()


def duplicate_notes(groups: Tensor, y: Tensor, test: Tensor | None) -> Iterator[str]:
    """One line for each kind of duplicate that a user should know of.

    Args:
        groups: (N,) int64, as `row_groups` gives.
        y: (N,) labels.
        test: (N,) bool, or None.
    """
    count = int(groups.max()) + 1
    train = torch.ones_like(groups, dtype=torch.bool) if test is None else ~test
    in_train = torch.zeros(count, dtype=torch.bool).index_fill_(0, groups[train], True)
    if copies := int(train.sum()) - int(in_train.sum()):
        yield f"exact copies among the training rows: {copies:,}; a split keeps them on one side"
    if test is not None and (shared := int(in_train[groups[test]].sum())):
        yield (
            f"warning: exact copies of training rows in the test part: {shared:,} of "
            f"{int(test.sum()):,}; the test score looks better than it is"
        )
    smallest = torch.full((count,), torch.inf).scatter_reduce(0, groups, y.float(), "amin")
    largest = torch.full((count,), -torch.inf).scatter_reduce(0, groups, y.float(), "amax")
    if not y.is_floating_point() and (unlike := int((smallest < largest)[groups].sum())):
        yield f"rows that are equal but have different labels: {unlike:,}"
