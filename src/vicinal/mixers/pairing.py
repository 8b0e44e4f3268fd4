"""Who is mixed with whom: a value that a mixer takes, and that says nothing of how they are mixed.

`LabelKernel`, which pairs by the distance of labels, and `SameCluster`, which pairs by clusters of
the samples, have files of their own.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.target import ClassTarget, SoftTarget

if TYPE_CHECKING:
    from typing_extensions import Self


class Pairing(ABC):
    """Draws a partner for every sample of a batch.

    Which one a sample meets depends on the sample's own draws and on the rows to choose from, not
    on the order that these came in, unless the pairing says so.
    """

    @property
    def pooled(self) -> bool:
        """Whether partners may be any of the training rows: the batch's pool has to hold them."""
        return False

    @property
    def unfitted(self) -> bool:
        """Whether `fit` has to see the training rows first."""
        return False

    def fit(self, data: Batch) -> Pairing:
        """The same pairing, knowing the training rows. data: all of them."""
        return self

    @abstractmethod
    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        """A partner for every sample. Returns (B,) int64, rows of the dataset."""


@dataclass(frozen=True)
class Permutation(Pairing):
    """A random permutation of the batch: every sample is the partner of one, perhaps of itself."""

    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        return batch.index.index_select(0, draws.permutation("partner"))


#: What mixers pair by where nothing else is said.
PERMUTATION = Permutation()


@dataclass(frozen=True)
class Reversed(Pairing):
    """The batch backwards: the first sample meets the last. Nothing is drawn.

    Who meets whom depends on the order that the samples came in, as in timm, which relies on a
    loader that shuffles.
    """

    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        return batch.index.flip(0)


@dataclass(frozen=True)
class SameClass(Pairing):
    """Any sample of the batch with the same class, each as likely, the sample itself among them.

    The class of a mixed label is the one with the largest weight.

    Raises:
        TypeError: when it pairs: the targets are no classes.
        ValueError: when it pairs: the batch has no targets.
    """

    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        return from_same_group(classes_of(batch), batch.index, draws)


@dataclass(frozen=True)
class AnotherClass(Pairing):
    """Any sample of the batch with another class, each as likely.

    In a batch of one class every sample meets itself. The class of a mixed label is the one with
    the largest weight.

    Raises:
        TypeError: when it pairs: the targets are no classes.
        ValueError: when it pairs: the batch has no targets.
    """

    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        return from_another_group(classes_of(batch), batch.index, draws)


def from_same_group(group: Tensor, rows: Tensor, draws: Draws) -> Tensor:
    """A partner of the same group for every sample, each as likely, itself among them.

    Args:
        group: (B,) integers.
        rows: (B,) int64, rows of the dataset.
        draws: of these rows.

    Returns:
        (B,) int64, rows of the dataset.
    """
    ordered, start, size = _by_group(group, rows, draws)
    return ordered[start + draws.below("partner", size)]


def from_another_group(group: Tensor, rows: Tensor, draws: Draws) -> Tensor:
    """A partner of another group for every sample, each as likely; where all are of one, itself.

    Args:
        group: (B,) integers.
        rows: (B,) int64, rows of the dataset.
        draws: of these rows.

    Returns:
        (B,) int64, rows of the dataset.
    """
    ordered, start, size = _by_group(group, rows, draws)
    others = len(rows) - size
    place = draws.below("partner", others.clamp(min=1))
    place = torch.where(place < start, place, place + size)  # over the own group
    return torch.where(others > 0, ordered[place.clamp(max=len(rows) - 1)], rows)


def _by_group(group: Tensor, rows: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
    """The rows group by group, and where each sample's group is among them.

    Returns:
        rows, start and size, each (B,) int64: the rows of the dataset, ordered by group, and for
        every sample the place of the first of its group and their number.
    """
    # By keys of the rows' own first, so that the order they came in leaves no trace.
    order = draws.keys("partner/order").argsort(stable=True)
    order = order[group[order].argsort(stable=True)]
    ordered = group[order]
    start = torch.searchsorted(ordered, group)
    size = torch.searchsorted(ordered, group, right=True) - start
    return rows[order], start, size


def classes_of(batch: Batch) -> Tensor:
    """The class of every sample, the heaviest of several. Returns (B,) int64.

    Raises:
        ValueError: the batch has no targets.
        TypeError: its targets are no classes.
    """
    target = batch.target
    if target is None:
        raise ValueError("pairing by class needs a batch with targets")
    if isinstance(target, SoftTarget):
        return target.probabilities.argmax(dim=1)
    if not isinstance(target, ClassTarget):
        raise TypeError(f"pairing by class needs classes as targets, got {target.kind}")
    if target.weights is None:
        return target.labels[:, 0].contiguous()
    merged = target.merged()
    assert merged.weights is not None
    return merged.labels.gather(1, merged.weights.argmax(dim=1, keepdim=True))[:, 0]


class PairMixer(Mixer):
    """A mixer of two samples, which leaves it to a pairing who they are.

    Args:
        pairing: draws the partners; a permutation of the batch by default.

    Raises:
        TypeError: the pairing is none.
    """

    def __init__(self, pairing: Pairing = PERMUTATION) -> None:
        if not isinstance(pairing, Pairing):
            raise TypeError(f"pairing must be a Pairing, got {pairing!r}")
        self.pairing = pairing
        self.pooled = pairing.pooled
        self.unfitted = pairing.unfitted

    def fit(self, data: Batch) -> Self:
        fitted = copy.copy(self)
        PairMixer.__init__(fitted, self.pairing.fit(data))
        return fitted
