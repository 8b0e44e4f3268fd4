"""Which rows come in which batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vicinal.core.draws import Draws


def epoch_batches(rows: Tensor, size: int, *, seed: int, epoch: int) -> tuple[Tensor, ...]:
    """All rows in a random order that depends on seed and epoch, in batches of equal size.

    Rows that do not fill a last batch are left out of this epoch; a part smaller than one batch is
    one.

    Args:
        rows: (N,) int64, rows of the dataset.
        size: of a batch, > 0.
        seed: of the trial.
        epoch: >= 0.
    """
    order = rows[Draws(seed, rows, epoch).within("sampler").permutation("order")]
    full = len(rows) - len(rows) % size
    return torch.split(order[:full], size) if full else (order,)


def endless_batches(rows: Tensor, size: int, *, seed: int) -> Iterator[tuple[int, Tensor]]:
    """The epochs one after the other, without end. Yields the epoch and the rows of each batch."""
    epoch = 0
    while True:
        for batch in epoch_batches(rows, size, seed=seed, epoch=epoch):
            yield epoch, batch
        epoch += 1


def set_apart(
    rows: Tensor, share: float, *, seed: int, labels: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Take a share of the rows away, from every class alike; every class keeps a row.

    Args:
        rows: (N,) int64.
        share: in [0, 1).
        seed: of the trial.
        labels: (N,) int64, the class of each row, or None.

    Returns:
        The rows that stay and the rows taken, both in ascending order.
    """
    order = Draws(seed, rows).within("set apart").permutation("order")
    classes = torch.zeros_like(order) if labels is None else labels[order]
    sizes = classes.bincount()
    taken = _rank(classes) < (sizes * share).round().long().minimum(sizes - 1)[classes]
    shuffled = rows[order]
    return shuffled[~taken].sort().values, shuffled[taken].sort().values


def known_labels(
    rows: Tensor, per_class: int, *, seed: int, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Choose the rows of each class whose labels are known to training.

    Args:
        rows: (N,) int64.
        per_class: how many of each class, > 0; all of a class that has fewer.
        seed: of the trial.
        labels: (N,) int64, the class of each row.

    Returns:
        The rows with labels and the rows without, both in ascending order.
    """
    order = Draws(seed, rows).within("known labels").keys("order").argsort(stable=True)
    known = _rank(labels[order]) < per_class
    shuffled = rows[order]
    return shuffled[known].sort().values, shuffled[~known].sort().values


def _rank(classes: Tensor) -> Tensor:
    """How many of its class come before each row. classes: (N,) int64. Returns (N,) int64."""
    by_class = classes.argsort(stable=True)
    sizes = classes.bincount()
    first = (sizes.cumsum(0) - sizes)[classes[by_class]]
    rank = torch.empty_like(classes)
    rank[by_class] = torch.arange(len(classes)) - first
    return rank
